#include "gateway/push/behind_lanes.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct reference parsed(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    if (reference_parse(text, &ref, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return ref;
}

/* Targets are separated by spaces. */
static struct promise *add(struct lanes *lanes, const char *id, const char *targets)
{
    struct push_record_target list[8] = {0};
    struct push_record record = {.targets = list};
    autofree char *text = xstrdup(targets);
    snprintf(record.id, sizeof record.id, "%s", id);
    for (char *at = strtok(text, " "); at; at = strtok(NULL, " ")) {
        list[record.target_count].target = parsed(at);
        list[record.target_count++].state = PUSH_RECORD_WAITING;
    }
    return lanes_add(lanes, &record);
}

static struct lane_host *host(struct lanes *lanes, const char *name)
{
    for (struct lane_host *at = lanes->hosts; at; at = at->next)
        if (strcmp(at->name, name) == 0)
            return at;
    fail_msg("no host %s", name);
    return NULL;
}

static struct errand *take(struct lanes *lanes, const char *name, const char *id,
                           const char *target, bool left_out)
{
    char text[REFERENCE_TEXT_MAX];
    struct errand *errand = lanes_take(host(lanes, name));
    assert_non_null(errand);
    assert_string_equal(errand->promise->record.id, id);
    assert_string_equal(reference_text(&errand_target(errand)->target, text), target);
    assert_int_equal(errand->left_out, left_out);
    return errand;
}

static void one_repository_takes_one_at_a_time(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    add(&lanes, "1", "r.x/a:1");
    add(&lanes, "2", "r.x/a:2 r.x/b:2");
    struct errand *first = take(&lanes, "r.x", "1", "r.x/a:1", false);
    struct errand *other = take(&lanes, "r.x", "2", "r.x/b:2", false);
    assert_null(lanes_take(host(&lanes, "r.x")));
    lanes_end(first, PUSH_RECORD_PUSHED);
    struct errand *second = take(&lanes, "r.x", "2", "r.x/a:2", false);
    struct promise *promise = second->promise;
    lanes_end(other, PUSH_RECORD_FAILED);
    assert_int_equal(promise->open, 1);
    lanes_end(second, PUSH_RECORD_PUSHED);
    assert_int_equal(promise->open, 0);
    assert_int_equal(promise->record.targets[0].state, PUSH_RECORD_PUSHED);
    assert_int_equal(promise->record.targets[1].state, PUSH_RECORD_FAILED);
    assert_null(lanes.all); /* a lane without errands is gone */
    lanes_drop(&lanes, promise);
    lanes_deinit(&lanes);
}

static void registries_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    add(&lanes, "1", "r.x/a:1 s.x/a:1");
    struct errand *slow = take(&lanes, "r.x", "1", "r.x/a:1", false);
    struct errand *fast = take(&lanes, "s.x", "1", "s.x/a:1", false);
    lanes_end(fast, PUSH_RECORD_PUSHED);
    add(&lanes, "2", "r.x/a:2 s.x/a:2");
    lanes_end(take(&lanes, "s.x", "2", "s.x/a:2", false), PUSH_RECORD_PUSHED);
    assert_null(lanes_take(host(&lanes, "r.x")));
    lanes_end(slow, PUSH_RECORD_PUSHED);
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:2", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void the_younger_of_one_tag_stays(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    add(&lanes, "1", "r.x/a:1");
    add(&lanes, "2", "r.x/a:1 r.x/a:2");
    add(&lanes, "3", "r.x/a:1");
    lanes_end(take(&lanes, "r.x", "1", "r.x/a:1", true), PUSH_RECORD_FAILED);
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:2", false), PUSH_RECORD_PUSHED);
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:1", true), PUSH_RECORD_FAILED);
    lanes_end(take(&lanes, "r.x", "3", "r.x/a:1", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

/* By the time of their making, in whatever order they come. */
static void an_older_one_that_comes_late_goes_first(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    add(&lanes, "1", "r.x/a:1");
    struct errand *busy = take(&lanes, "r.x", "1", "r.x/a:1", false);
    add(&lanes, "3", "r.x/a:3");
    add(&lanes, "2", "r.x/a:2");
    lanes_end(busy, PUSH_RECORD_PUSHED);
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:2", false), PUSH_RECORD_PUSHED);
    lanes_end(take(&lanes, "r.x", "3", "r.x/a:3", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void digests_do_not_overwrite_each_other(void **state)
{
    (void)state;
    const char *target =
        "r.x/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct lanes lanes = {0};
    add(&lanes, "1", target);
    add(&lanes, "2", target);
    lanes_end(take(&lanes, "r.x", "1", target, false), PUSH_RECORD_PUSHED);
    lanes_end(take(&lanes, "r.x", "2", target, false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void what_is_parked_is_not_taken_again(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    struct promise *promise = add(&lanes, "1", "r.x/a:1");
    assert_true(lanes_park(take(&lanes, "r.x", "1", "r.x/a:1", false)));
    assert_null(lanes_take(host(&lanes, "r.x")));
    assert_int_equal(promise->open, 1);
    assert_int_equal(promise->record.targets[0].state, PUSH_RECORD_WAITING);
    /* Another tag of the repository goes on. */
    add(&lanes, "2", "r.x/a:2");
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:2", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void what_is_parked_gives_way_to_a_younger(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    add(&lanes, "1", "r.x/a:1");
    assert_true(lanes_park(take(&lanes, "r.x", "1", "r.x/a:1", false)));
    add(&lanes, "2", "r.x/a:1");
    lanes_end(take(&lanes, "r.x", "1", "r.x/a:1", true), PUSH_RECORD_FAILED);
    struct errand *second = take(&lanes, "r.x", "2", "r.x/a:1", false);
    add(&lanes, "3", "r.x/a:1");
    struct promise *promise = second->promise;
    assert_false(lanes_park(second));
    assert_int_equal(promise->open, 0);
    lanes_end(take(&lanes, "r.x", "3", "r.x/a:1", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void another_way_overtakes(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    struct reference target = parsed("r.x/a:1");
    struct reference elsewhere = parsed("s.x/a:1");
    lanes_overtake(&lanes, &target, NULL);
    add(&lanes, "1", "r.x/a:1");
    assert_true(lanes_park(take(&lanes, "r.x", "1", "r.x/a:1", false)));
    add(&lanes, "2", "r.x/a:2");
    lanes_overtake(&lanes, &elsewhere, NULL);
    lanes_overtake(&lanes, &target, NULL);
    lanes_end(take(&lanes, "r.x", "1", "r.x/a:1", true), PUSH_RECORD_FAILED);
    lanes_end(take(&lanes, "r.x", "2", "r.x/a:2", false), PUSH_RECORD_PUSHED);
    lanes_deinit(&lanes);
}

static void ended_targets_are_not_made_again(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    struct push_record_target targets[] = {
        {.target = parsed("r.x/a:1"), .state = PUSH_RECORD_PUSHED},
        {.target = parsed("r.x/b:1"), .state = PUSH_RECORD_WAITING},
        {.target = parsed("r.x/c:1"), .state = PUSH_RECORD_FAILED},
    };
    struct push_record record = {.id = "1", .targets = targets, .target_count = 3};
    struct promise *promise = lanes_add(&lanes, &record);
    assert_int_equal(promise->open, 1);
    lanes_end(take(&lanes, "r.x", "1", "r.x/b:1", false), PUSH_RECORD_PUSHED);
    lanes_drop(&lanes, promise);
    targets[1].state = PUSH_RECORD_PUSHED;
    promise = lanes_add(&lanes, &record);
    assert_int_equal(promise->open, 0);
    lanes_drop(&lanes, promise);
    lanes_deinit(&lanes);
}

static void threads_are_as_many_as_lanes(void **state)
{
    (void)state;
    struct lanes lanes = {0};
    assert_null(lanes_short_of_threads(&lanes, 2));
    add(&lanes, "1", "r.x/a:1 r.x/a:2 r.x/b:1 r.x/c:1");
    struct lane_host *here = host(&lanes, "r.x");
    for (unsigned i = 0; i < 2; i++) {
        assert_ptr_equal(lanes_short_of_threads(&lanes, 2), here);
        here->threads++;
    }
    assert_null(lanes_short_of_threads(&lanes, 2));
    assert_ptr_equal(lanes_short_of_threads(&lanes, 4), here);
    here->threads++;
    assert_null(lanes_short_of_threads(&lanes, 4)); /* three repositories */
    lanes_end(lanes_take(here), PUSH_RECORD_PUSHED);
    assert_null(lanes_short_of_threads(&lanes, 4));
    lanes_deinit(&lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_repository_takes_one_at_a_time),
        cmocka_unit_test(registries_do_not_wait_for_each_other),
        cmocka_unit_test(the_younger_of_one_tag_stays),
        cmocka_unit_test(an_older_one_that_comes_late_goes_first),
        cmocka_unit_test(digests_do_not_overwrite_each_other),
        cmocka_unit_test(what_is_parked_is_not_taken_again),
        cmocka_unit_test(what_is_parked_gives_way_to_a_younger),
        cmocka_unit_test(another_way_overtakes),
        cmocka_unit_test(ended_targets_are_not_made_again),
        cmocka_unit_test(threads_are_as_many_as_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
