/* Registries that are away for a while, with and without a second endpoint, and what was believed
 * of a registry and is wrong. */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/auth/auth.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define NAME "r.example.com"
#define NOBODY "http://127.0.0.1:1"
#define UPLOADS "/v2/team/app/blobs/uploads/"
#define LOST ((struct fake_rule){"GET", "/v2/", 1000, .drop = true})

/* A registry that wants a password, so that each push begins with a request, behind endpoints of
 * one host. */
struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct registry_host *host;
    struct made_image image;
    struct push_request request;
    struct push_target result;
    bool counted_down;
    struct cancel *cancelled; /* when a wait is told; NULL: nothing is */
};

static enum errc find_credentials(void *self, const char *host, const char *path,
                                  const struct credentials_refusal *refused,
                                  struct registry_credentials *out, struct error *err)
{
    (void)refused;
    (void)self;
    (void)host;
    (void)path;
    (void)err;
    *out = (struct registry_credentials){.username = xstrdup("ci"), .password = xstrdup("s3cret")};
    return ERR_OK;
}

/* `endpoints`: NULL stands for the registry's. */
static void make_upstream(struct scene *scene, const char *const endpoints[], size_t count)
{
    struct error err = ERROR_INIT;
    autofree char *fake = xasprintf("http://%s", fake_registry_host(scene->fake));
    const char *bases[ENDPOINTS_MAX];
    for (size_t i = 0; i < count; i++)
        bases[i] = endpoints[i] ? endpoints[i] : fake;
    const struct registry_options registry = {
        .host = NAME, .endpoints = bases, .endpoint_count = count, .retry_wait_ms = 10};
    const struct upstream_options options = {
        .store = scene->test->store,
        .executor = scene->test->executor,
        .registries = {.registries = &registry,
                       .registry_count = 1,
                       .credentials = {.find = find_credentials}},
    };
    struct upstream **upstream = &scene->test->upstream;
    if (upstream_new(&options, upstream, &err) != ERR_OK ||
        registries_host((*upstream)->registries, NAME, &scene->host, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static struct scene *scene_new(enum fake_auth auth, const char *const endpoints[], size_t count)
{
    struct scene *scene = xcalloc(1, sizeof *scene);
    scene->test = push_test_new(NULL);
    scene->fake = fake_registry_start(auth);
    make_upstream(scene, endpoints, count);
    scene->image = push_test_image(scene->test, "ab", LAYER_BYTES);
    scene->request = push_test_request(&scene->image.manifest, NAME, "team/app:1");
    return scene;
}

static void scene_free(struct scene *scene)
{
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
    free(scene);
}

static size_t requests(const struct scene *scene, const char *prefix)
{
    return http_double_count(fake_registry_http(scene->fake), prefix);
}

static void note(void *self, const struct progress_event *event)
{
    struct scene *scene = self;
    if (event->kind != PROGRESS_COUNTDOWN)
        return;
    assert_null(event->id);
    assert_non_null(strstr(event->status, "Retrying in "));
    scene->counted_down = true;
    if (scene->cancelled)
        cancel_request(scene->cancelled);
}

/* Returns how long it took. */
static int64_t push(struct scene *scene, enum errc want)
{
    const struct progress progress = {.emit = note, .self = scene};
    int64_t start_ms = clock_ms();
    enum errc code = push_test_one(scene->test, &scene->request, &progress, &scene->test->cancel,
                                   &scene->result);
    if (code != want)
        fail_msg("%s instead of %s: %s", error_name(code), error_name(want),
                 scene->result.error.text);
    return clock_ms() - start_ms;
}

/* --- away --- */

static const char *const first[] = {NULL, NOBODY};
static const char *const second[] = {NOBODY, NULL};

/* Its twin never answered: that there is one more endpoint is no reason not to wait. */
static void a_registry_that_is_away_for_a_moment_is_waited_for(void **state)
{
    (void)state;
    for (size_t twins = 0; twins < 3; twins++) {
        struct scene *scene =
            scene_new(FAKE_BASIC, twins == 2 ? second : first, twins == 0 ? 1 : 2);
        push(scene, ERR_OK);
        assert_false(scene->counted_down);
        /* A kept connection that drops is tried once more at once. */
        struct fake_rule away = LOST;
        away.times = 4;
        fake_registry_rule(scene->fake, away);
        push(scene, ERR_OK);
        assert_in_range(scene->result.attempts, 2, 5);
        assert_true(scene->counted_down);
        assert_int_equal(scene->result.layers.existed, 2);
        scene_free(scene);
    }
}

static void expect_away(struct scene *scene, enum errc want)
{
    int64_t took_ms = push(scene, want);
    assert_in_range(took_ms, 10 + 20 + 30 + 40, 10000);
    assert_int_equal(scene->result.attempts, 5);
    assert_non_null(strstr(scene->result.error.text, "5 attempts: "));
    assert_true(scene->counted_down);
}

static void it_is_asked_five_times(void **state)
{
    (void)state;
    for (size_t twins = 0; twins < 3; twins++) {
        struct scene *scene =
            scene_new(FAKE_BASIC, twins == 2 ? second : first, twins == 0 ? 1 : 2);
        push(scene, ERR_OK);
        fake_registry_rule(scene->fake, LOST);
        size_t before = requests(scene, "GET /v2/");
        expect_away(scene, ERR_CONNECTION_LOST);
        /* Once more at once where a kept connection drops. */
        assert_in_range(requests(scene, "GET /v2/") - before, 5, 10);
        scene_free(scene);
    }
}

/* What answers there is no registry: the one that is known is away all the same. */
static void a_twin_that_is_something_else(void **state)
{
    (void)state;
    struct fake_registry *other = fake_registry_start(FAKE_OPEN);
    const struct fake_rule page = {"GET", "/v2/", 1000, .status = 404, .body = "no such page"};
    autofree char *base = xasprintf("http://%s", fake_registry_host(other));
    const char *const endpoints[] = {NULL, base};
    struct scene *scene = scene_new(FAKE_BASIC, endpoints, 2);
    fake_registry_rule(other, page);
    push(scene, ERR_OK);
    fake_registry_rule(scene->fake, LOST);
    expect_away(scene, ERR_CONNECTION_LOST);
    assert_int_equal(http_double_count(fake_registry_http(other), "GET /v2/"), 5);
    fake_registry_stop(other);
    scene_free(scene);
}

/* A twin that is left out, because the host has spoken TLS, counts for nothing. */
static void a_twin_that_may_not_be_used(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"https://127.0.0.1:1", "http://127.0.0.1:2"};
    struct scene *scene = scene_new(FAKE_BASIC, endpoints, 2);
    autoresponse struct http_response challenge = HTTP_RESPONSE_INIT;
    static const char field[] = "WWW-Authenticate: Basic realm=\"r\"";
    buf_append(&challenge.headers, field, sizeof field);
    assert_true(auth_learn(scene->host->endpoints[0].auth, &challenge, NULL));
    endpoint_answered(&scene->host->endpoints[0]);
    endpoint_was_tried(&scene->host->endpoints[0], true);
    expect_away(scene, ERR_CONNECT);
    assert_non_null(strstr(scene->result.error.text, "https://127.0.0.1:1/"));
    scene_free(scene);
}

/* Where no registry has ever answered there may be none: nothing is waited for. */
static void nobody_is_not_waited_for(void **state)
{
    (void)state;
    static const char *const endpoints[] = {NOBODY, "http://127.0.0.1:2"};
    struct scene *scene = scene_new(FAKE_BASIC, endpoints, 2);
    scene->host->back_off.base_ms = 60000;
    assert_in_range(push(scene, ERR_CONNECT), 0, 5000);
    assert_int_equal(scene->result.attempts, 1);
    assert_false(scene->counted_down);
    scene_free(scene);
}

/* The second endpoint is no further attempt, and it is enough. */
static void the_other_endpoint_is_there(void **state)
{
    (void)state;
    struct fake_registry *other = fake_registry_start(FAKE_BASIC);
    autofree char *base = xasprintf("http://%s", fake_registry_host(other));
    const char *const endpoints[] = {NULL, base};
    struct scene *scene = scene_new(FAKE_BASIC, endpoints, 2);
    push(scene, ERR_OK);
    fake_registry_rule(scene->fake, LOST);
    scene->host->back_off.base_ms = 60000;
    push(scene, ERR_OK);
    assert_int_equal(scene->result.attempts, 1);
    assert_false(scene->counted_down);
    assert_true(fake_registry_has(other, "manifests/1"));
    fake_registry_stop(other);
    scene_free(scene);
}

static void cancelled_while_it_is_away(void **state)
{
    (void)state;
    struct scene *scene = scene_new(FAKE_BASIC, first, 2);
    push(scene, ERR_OK);
    fake_registry_rule(scene->fake, LOST);
    scene->host->back_off.base_ms = 60000;
    scene->cancelled = &scene->test->cancel;
    assert_in_range(push(scene, ERR_CANCELLED), 0, 1000);
    scene_free(scene);
}

/* --- what was believed --- */

static const char *const only[] = {NULL};

#define GONE                                                                                       \
    .status = 404, .body = "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"?\"}]}"

static struct known_blobs *remember(struct scene *scene, const struct digest *digest)
{
    struct repository_memory *memory = scene->test->upstream->memory;
    struct known_blobs *known = repository_memory_hold(memory, &scene->request.target, clock_ms());
    known_blobs_add(known, &scene->host->endpoints[0], digest);
    return known;
}

/* It is brought there after all, by the same push: that costs a round, no attempts and no wait. */
static void expect_one_more_round(struct scene *scene, const struct digest *wrong, bool layer)
{
    struct repository_memory *memory = scene->test->upstream->memory;
    struct known_blobs *known = remember(scene, wrong);
    char text[DIGEST_TEXT_MAX];
    scene->request.remembers = true;
    scene->host->back_off.base_ms = 10000;
    fake_registry_rule(scene->fake, (struct fake_rule){"PUT", "/manifests/", 1, GONE});
    assert_in_range(push(scene, ERR_OK), 0, 1000);
    assert_false(scene->counted_down);
    assert_int_equal(scene->result.attempts, 1);
    assert_true(fake_registry_has(scene->fake, digest_text(wrong, text)));
    assert_true(fake_registry_has(scene->fake, "manifests/1"));
    /* Each layer counts once, as the last round found it; what was sent was sent. */
    assert_int_equal(scene->result.layers.existed, layer ? 1 : 2);
    assert_int_equal(scene->result.layers.uploaded, layer ? 1 : 0);
    assert_true(scene->result.bytes_uploaded > 2 * LAYER_BYTES);
    assert_true(scene->result.bytes_uploaded < 3 * LAYER_BYTES);
    assert_int_equal(requests(scene, "PUT " UPLOADS), 3);
    assert_int_equal(requests(scene, "PUT /v2/team/app/manifests/"), 2);
    repository_memory_release(memory, known);

    /* What was sent is known, truly now. */
    known = repository_memory_hold(memory, &scene->request.target, clock_ms());
    assert_true(known_blobs_has(known, &scene->host->endpoints[0], wrong));
    repository_memory_release(memory, known);
}

static void a_layer_that_was_believed_there_is_brought(void **state)
{
    (void)state;
    struct scene *scene = scene_new(FAKE_OPEN, only, 1);
    expect_one_more_round(scene, &scene->image.layers[0], true);
    scene_free(scene);
}

static void a_config_that_was_believed_there_is_brought(void **state)
{
    (void)state;
    struct scene *scene = scene_new(FAKE_OPEN, only, 1);
    expect_one_more_round(scene, &scene->image.config, false);
    scene_free(scene);
}

/* The tags of a push believe each other. */
static void a_tag_that_believed_another_one(void **state)
{
    (void)state;
    struct scene *scene = scene_new(FAKE_OPEN, only, 1);
    struct push_request both[] = {scene->request, scene->request};
    struct push_target results[2];
    strcpy(both[1].target.tag, "2");
    scene->host->back_off.base_ms = 10000;
    fake_registry_rule(scene->fake, (struct fake_rule){"PUT", "/manifests/2", 1, GONE});
    int64_t start_ms = clock_ms();
    push_test_all(scene->test, both, 2, NULL, &scene->test->cancel, results);
    assert_in_range(clock_ms() - start_ms, 0, 2000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(results[i].state, PUSH_PUSHED);
        assert_int_equal(results[i].attempts, 1);
    }
    assert_int_equal(results[1].layers.existed, 2);
    assert_true(fake_registry_has(scene->fake, "manifests/2"));
    /* In the second round it asked for itself. */
    assert_int_equal(requests(scene, "HEAD /v2/team/app/blobs/"), 3 + 3);
    scene_free(scene);
}

/* Once nothing is believed any more, a blob that is missing is waited for as ever. */
static void there_is_one_more_round_and_no_other(void **state)
{
    (void)state;
    struct scene *scene = scene_new(FAKE_OPEN, only, 1);
    struct known_blobs *known = remember(scene, &scene->image.layers[0]);
    scene->request.remembers = true;
    fake_registry_rule(scene->fake, (struct fake_rule){"PUT", "/manifests/", 1000, GONE});
    push(scene, ERR_BLOB_NOT_THERE);
    assert_int_equal(scene->result.attempts, 5);
    assert_int_equal(requests(scene, "PUT /v2/team/app/manifests/"), 1 + 5);
    repository_memory_release(scene->test->upstream->memory, known);
    scene_free(scene);
}

/* The registry says that it has the config, and refuses the manifest for the lack of it. */
static void expect_sent_after_all(struct scene *scene, const char *before, const char *after,
                                  bool named, int times)
{
    char text[DIGEST_TEXT_MAX];
    digest_text(&scene->image.config, text);
    autofree char *body =
        xasprintf("{\"errors\":[{\"code\":\"%s%s%s\"}]}", before, named ? text : "", after);
    fake_registry_put(scene->fake, text, "1");
    fake_registry_rule(
        scene->fake, (struct fake_rule){"PUT", "/manifests/", times, .status = 400, .body = body});
    push(scene, ERR_OK);
    assert_int_equal(scene->result.attempts, times);
    assert_int_equal(requests(scene, "PUT " UPLOADS), 3);
    assert_int_equal(requests(scene, "PUT /v2/team/app/manifests/"), times + 1);
    assert_int_equal(scene->result.layers.uploaded + scene->result.layers.existed, 2);
    assert_true(scene->result.bytes_uploaded > 2 * LAYER_BYTES);
}

static void what_a_registry_says_it_has_is_sent_when_it_has_not(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *after;
        bool named;
        int times;
    } cases[] = {
        {"MANIFEST_BLOB_UNKNOWN\",\"detail\":\"", "", true, 1},
        {"BLOB_UNKNOWN\",\"detail\":{\"Digest\":\"", "\"},\"x\":\"", true, 1},
        {"MANIFEST_INVALID\",\"message\":\"no blob ", " here", true, 1},
        /* named by nobody: only when waiting did not help */
        {"MANIFEST_BLOB_UNKNOWN", "", false, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene *scene = scene_new(FAKE_OPEN, only, 1);
        expect_sent_after_all(scene, cases[i].before, cases[i].after, cases[i].named,
                              cases[i].times);
        scene_free(scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registry_that_is_away_for_a_moment_is_waited_for),
        cmocka_unit_test(it_is_asked_five_times),
        cmocka_unit_test(a_twin_that_is_something_else),
        cmocka_unit_test(a_twin_that_may_not_be_used),
        cmocka_unit_test(nobody_is_not_waited_for),
        cmocka_unit_test(the_other_endpoint_is_there),
        cmocka_unit_test(cancelled_while_it_is_away),
        cmocka_unit_test(a_layer_that_was_believed_there_is_brought),
        cmocka_unit_test(a_config_that_was_believed_there_is_brought),
        cmocka_unit_test(a_tag_that_believed_another_one),
        cmocka_unit_test(there_is_one_more_round_and_no_other),
        cmocka_unit_test(what_a_registry_says_it_has_is_sent_when_it_has_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
