#include "gateway/push/delivery.h"

#include "base/mem.h"
#include "gateway/push/archive_push.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"

#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DEADLINE_MS 30000

/* A gateway in front of one registry double, with one mirror to two of its repositories. */
struct bench {
    struct fake_registry *registry;
    struct push_test *push;
    struct settings settings;
    struct mirror_setting mirror;
    struct mirror_target_setting targets[2];
    struct engine engine;
    struct gateway gateway;
    struct made_image image;
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    *state = bench;
    bench->registry = fake_registry_start(FAKE_OPEN);
    const char *host = fake_registry_host(bench->registry);
    bench->push = push_test_new(NULL);
    bench->image = push_test_image(bench->push, "ab", 1000);
    bench->targets[0].target = xasprintf("%s/one/*", host);
    bench->targets[1].target = xasprintf("%s/two/*", host);
    bench->targets[0].required = bench->targets[1].required = true;
    bench->mirror.match = "team/*";
    bench->mirror.targets = bench->targets;
    bench->mirror.target_count = 2;
    bench->settings.mirrors = &bench->mirror;
    bench->settings.mirror_count = 1;
    bench->settings.limits.pushes = 4;
    bench->settings.limits.pushes_per_registry = 2;
    bench->engine.settings = &bench->settings;
    bench->engine.store = bench->push->store;
    bench->engine.registries = push_test_registries(bench->push, host);
    bench->gateway.engine = &bench->engine;
    bench->gateway.ahead = ahead_new(bench->engine.store, bench->engine.registries);
    bench->gateway.behind = behind_new(&bench->engine, bench->gateway.ahead);
    return 0;
}

static void close_behind(struct bench *bench)
{
    behind_close(bench->gateway.behind);
    assert_true(behind_wait(bench->gateway.behind, DEADLINE_MS));
    behind_free(bench->gateway.behind);
    bench->gateway.behind = NULL;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    if (bench->gateway.behind)
        close_behind(bench);
    ahead_close(bench->gateway.ahead);
    ahead_free(bench->gateway.ahead);
    free(bench->targets[0].target);
    free(bench->targets[1].target);
    push_test_free(bench->push);
    fake_registry_stop(bench->registry);
    free(bench);
    return 0;
}

static struct delivery planned(struct bench *bench, const char *repository, const char *tag)
{
    struct error err = ERROR_INIT;
    struct delivery delivery;
    if (delivery_plan(&bench->gateway, repository, tag, &bench->image.manifest, &delivery, &err) !=
        ERR_OK)
        fail_msg("%s", err.text);
    return delivery;
}

static enum errc run(struct bench *bench, const struct delivery *delivery, struct error *err)
{
    return delivery_run(delivery, &bench->push->cancel, err);
}

/* The next PUTs whose path contains `part` are answered so, and nothing is found there that a lost
 * answer would explain: the double knows no repositories. */
static void answer_puts(struct bench *bench, const char *part, int times, int status,
                        const char *body)
{
    static const char *const asking[] = {"GET", "HEAD"};
    fake_registry_rule(
        bench->registry,
        (struct fake_rule){
            .method = "PUT", .part = part, .times = times, .status = status, .body = body});
    for (size_t i = 0; i < 2; i++)
        fake_registry_rule(
            bench->registry,
            (struct fake_rule){.method = asking[i], .part = part, .times = 1000, .status = 404});
}

static void refuse(struct bench *bench, const char *part)
{
    answer_puts(bench, part, 1000, 403,
                "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not today\"}]}");
}

static void keep_away(struct bench *bench, const char *part, int times)
{
    answer_puts(bench, part, times, 503, NULL);
}

/* How many records the store has; the targets of the first that wait. */
static size_t records(struct bench *bench, size_t *waiting)
{
    struct error err = ERROR_INIT;
    struct push_record *list = NULL;
    size_t count = 0;
    assert_int_equal(pushes_list(bench->engine.store, &list, &count, &err), ERR_OK);
    *waiting = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; i == 0 && j < list[i].target_count; j++)
            *waiting += list[i].targets[j].state == PUSH_RECORD_WAITING;
        push_record_deinit(&list[i]);
    }
    free(list);
    return count;
}

/* Write the promise as the front does. */
static void promise(struct bench *bench, const struct delivery *delivery)
{
    struct error err = ERROR_INIT;
    struct batch *batch = NULL;
    assert_int_equal(batch_begin(bench->engine.store, BATCH_DURABLE, &batch, &err), ERR_OK);
    delivery_record(delivery, batch);
    if (batch_commit(batch, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

/* Until nothing is left to do; behind is closed then. */
static void let_it_run(struct bench *bench)
{
    assert_true(behind_wait(bench->gateway.behind, DEADLINE_MS));
    close_behind(bench);
}

/* ---- deliveries ---- */

static void what_a_route_says(void **state)
{
    struct bench *bench = *state;
    struct delivery delivery = planned(bench, "other/app", "1");
    assert_true(delivery_goes_nowhere(&delivery));
    assert_false(delivery_waits(&delivery));
    delivery = planned(bench, "team/app", "1");
    assert_false(delivery_goes_nowhere(&delivery));
    assert_true(delivery_waits(&delivery));
    bench->mirror.acknowledge = SETTING_ACKNOWLEDGE_STORED;
    delivery = planned(bench, "team/app", "1");
    assert_false(delivery_goes_nowhere(&delivery));
    assert_false(delivery_waits(&delivery));
}

static void it_goes_to_every_target(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct delivery delivery = planned(bench, "team/app", "1");
    if (run(bench, &delivery, &err) != ERR_OK)
        fail_msg("%s", err.text);
    struct http_double *http = fake_registry_http(bench->registry);
    assert_int_equal(http_double_count(http, "PUT /v2/one/app/manifests/1"), 1);
    assert_int_equal(http_double_count(http, "PUT /v2/two/app/manifests/1"), 1);
}

static void without_a_tag_it_goes_under_its_digest(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    char digest[DIGEST_TEXT_MAX];
    struct delivery delivery = planned(bench, "team/app", "");
    if (run(bench, &delivery, &err) != ERR_OK)
        fail_msg("%s", err.text);
    autofree char *wanted = xasprintf("PUT /v2/two/app/manifests/%s",
                                      digest_text(&bench->image.manifest.digest, digest));
    assert_int_equal(http_double_count(fake_registry_http(bench->registry), wanted), 1);
}

static void a_failure_names_target_status_and_reason(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    refuse(bench, "/v2/two/app/manifests/");
    struct delivery delivery = planned(bench, "team/app", "1");
    assert_int_equal(run(bench, &delivery, &err), ERR_DENIED);
    autofree char *begin =
        xasprintf("%s/two/app:1: status 403: ", fake_registry_host(bench->registry));
    if (strncmp(err.text, begin, strlen(begin)) != 0 || strstr(err.text, "not today") == NULL)
        fail_msg("%s", err.text);
    assert_null(strstr(err.text, "more target"));
    assert_int_equal(err.status, 403);
}

static void further_failures_are_counted(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    refuse(bench, "/manifests/");
    bench->targets[0].required = false;
    struct delivery delivery = planned(bench, "team/app", "1");
    assert_int_equal(run(bench, &delivery, &err), ERR_DENIED);
    /* The first that is required, not the first. */
    assert_non_null(strstr(err.text, "/two/app:1: status 403: "));
    assert_non_null(strstr(err.text, "; 1 more target failed"));
}

static void optional_targets_may_fail(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    refuse(bench, "/manifests/");
    bench->targets[0].required = bench->targets[1].required = false;
    struct delivery delivery = planned(bench, "team/app", "1");
    assert_int_equal(run(bench, &delivery, &err), ERR_OK);
}

/* ---- behind ---- */

static void a_promise_is_kept_and_its_record_goes(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    struct delivery delivery = planned(bench, "team/app", "1");
    promise(bench, &delivery);
    assert_int_equal(records(bench, &waiting), 1);
    assert_int_equal(waiting, 2);
    delivery_start(&delivery);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 0);
    struct http_double *http = fake_registry_http(bench->registry);
    assert_int_equal(http_double_count(http, "PUT /v2/one/app/manifests/1"), 1);
    assert_int_equal(http_double_count(http, "PUT /v2/two/app/manifests/1"), 1);
}

static void a_start_goes_on_with_what_is_recorded(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    size_t waiting = 0;
    struct delivery older = planned(bench, "team/app", "1");
    struct delivery younger = planned(bench, "team/app", "1");
    memcpy(older.id, "1", 2);
    memcpy(younger.id, "2", 2);
    promise(bench, &younger);
    promise(bench, &older);
    assert_int_equal(records(bench, &waiting), 2);
    assert_int_equal(behind_restart(bench->gateway.behind, &err), ERR_OK);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 0);
    /* At most the one under way when the younger came, and the younger. */
    size_t puts =
        http_double_count(fake_registry_http(bench->registry), "PUT /v2/one/app/manifests");
    assert_in_range(puts, 1, 2);
}

static void a_refusal_ends_it(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    refuse(bench, "/manifests/");
    struct delivery delivery = planned(bench, "team/app", "1");
    promise(bench, &delivery);
    delivery_start(&delivery);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 0);
}

static void what_is_away_stays_recorded(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    size_t waiting = 0;
    keep_away(bench, "/v2/two/app/manifests/", 5);
    struct delivery delivery = planned(bench, "team/app", "1");
    promise(bench, &delivery);
    delivery_start(&delivery);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 1);
    assert_int_equal(waiting, 1);
    bench->gateway.behind = behind_new(&bench->engine, bench->gateway.ahead);
    assert_int_equal(behind_restart(bench->gateway.behind, &err), ERR_OK);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 0);
    struct http_double *http = fake_registry_http(bench->registry);
    assert_int_equal(http_double_count(http, "PUT /v2/one/app/manifests/1"), 1);
    assert_int_equal(http_double_count(http, "PUT /v2/two/app/manifests/1"), 6);
}

static void what_is_pushed_in_another_way_is_not_overwritten(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    size_t waiting = 0;
    keep_away(bench, "/manifests/", 10);
    struct delivery waits = planned(bench, "team/app", "1");
    promise(bench, &waits);
    delivery_start(&waits);
    assert_true(behind_wait(bench->gateway.behind, DEADLINE_MS));
    assert_int_equal(records(bench, &waiting), 1);
    struct delivery other = planned(bench, "team/app", "1");
    if (run(bench, &other, &err) != ERR_OK)
        fail_msg("%s", err.text);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 0);
}

/* What runs is broken off, and nothing of it is lost. */
static void closing_keeps_the_records(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    fake_registry_rule(
        bench->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 1000, .hold = true});
    struct delivery delivery = planned(bench, "team/app", "1");
    promise(bench, &delivery);
    delivery_start(&delivery);
    close_behind(bench);
    assert_int_equal(records(bench, &waiting), 1);
    assert_int_equal(waiting, 2);
    fake_registry_release(bench->registry);
}

static void nothing_starts_after_the_end(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    struct delivery delivery = planned(bench, "team/app", "1");
    promise(bench, &delivery);
    behind_close(bench->gateway.behind);
    delivery_start(&delivery);
    let_it_run(bench);
    assert_int_equal(records(bench, &waiting), 1);
    assert_int_equal(http_double_count(fake_registry_http(bench->registry), "PUT "), 0);
}

/* Many in a millisecond, and after one of a process whose clock was ahead. */
static void ids_sort_by_their_making(void **state)
{
    (void)state;
    char before[PUSH_ID_MAX], id[PUSH_ID_MAX];
    push_id_make(before);
    for (int i = 0; i < 5000; i++) {
        push_id_make(id);
        assert_true(strcmp(before, id) < 0);
        memcpy(before, id, sizeof before);
    }
    before[1] = '9';
    push_id_met(before);
    push_id_make(id);
    assert_true(strcmp(before, id) < 0);
    push_id_met("1");
    push_id_met("");
    memcpy(before, id, sizeof before);
    push_id_make(id);
    assert_true(strcmp(before, id) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_route_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_goes_to_every_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_tag_it_goes_under_its_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_names_target_status_and_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(further_failures_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(optional_targets_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_promise_is_kept_and_its_record_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_goes_on_with_what_is_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_away_stays_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_pushed_in_another_way_is_not_overwritten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(closing_keeps_the_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_starts_after_the_end, set_up, tear_down),
        cmocka_unit_test(ids_sort_by_their_making),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
