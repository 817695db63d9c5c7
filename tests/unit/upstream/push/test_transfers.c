/*
 * Transfers of blobs that several pushes wait for: what they share, whose attempts these are, and
 * many that come and go.
 */
#include "upstream/push/transfers.h"

#include "base/mem.h"
#include "tests/support/transfer_box.h"
#include "tests/support/transfer_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- sharing --- */

static void two_share_one(void **state)
{
    (void)state;
    transfer_box_reset(true);
    struct pusher *first = pusher_new("team/app", "one", "x");
    struct pusher *second = pusher_new("team/app", "two", "x");
    pusher_join(first);
    pusher_wait_told(first, NULL);
    pusher_join(second);
    assert_true(pusher_was_told(second, NULL)); /* at once, of what was told before it came */
    assert_false(cancel_requested(&first->ended) || cancel_requested(&second->ended));
    transfer_box_release();
    pusher_expect_end(first, ERR_OK);
    pusher_expect_end(second, ERR_OK);
    assert_int_equal(transfer_box.calls, 1);
    pusher_expect_outcome(first, LAYER_UPLOADED, 1);
    pusher_expect_outcome(second, LAYER_EXISTED, 1);
    assert_true(target_push_knows(&first->push, &first->blob.digest));
    assert_true(target_push_knows(&second->push, &second->blob.digest));
    pusher_free(first);
    pusher_free(second);
}

/* What was mounted or found is so for the one that is credited alone, too. */
static void the_first_one_hears_how(void **state)
{
    (void)state;
    static const enum layer_end ends[] = {LAYER_EXISTED, LAYER_MOUNTED, LAYER_UPLOADED};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        transfer_box_reset(true);
        transfer_box.end = ends[i];
        struct pusher *first = pusher_new("a", "one", "x");
        struct pusher *second = pusher_new("a", "two", "x");
        pusher_join(first);
        pusher_join(second);
        transfer_box_release();
        pusher_expect_end(first, ERR_OK);
        pusher_expect_end(second, ERR_OK);
        assert_int_equal(first->wait.outcome.end, ends[i]);
        assert_int_equal(second->wait.outcome.end, LAYER_EXISTED);
        assert_int_equal(second->wait.outcome.sent_bytes, 0);
        pusher_free(first);
        pusher_free(second);
    }
}

static void what_is_not_the_same(void **state)
{
    (void)state;
    transfer_box_reset(true);
    struct pusher *pushers[] = {
        pusher_new("a", "one", "x"), pusher_new("a", "blob", "y"), pusher_new("a", "user", "x"),
        pusher_new("b", "path", "x"), /* goes when the first one has gone */
    };
    enum { COUNT = sizeof pushers / sizeof pushers[0] };
    pushers[2]->credentials.username = xstrdup("somebody");
    for (int i = 0; i < COUNT; i++)
        pusher_join(pushers[i]);
    transfer_box_wait_calls(COUNT - 1);
    transfer_box_release();
    for (int i = 0; i < COUNT; i++) {
        pusher_expect_end(pushers[i], ERR_OK);
        pusher_expect_outcome(pushers[i], LAYER_UPLOADED, 1);
        pusher_free(pushers[i]);
    }
    assert_int_equal(transfer_box.calls, COUNT);
}

/* One layer into several repositories: there is nothing to mount from before the first one has it.
 */
static void one_repository_goes_first(void **state)
{
    (void)state;
    transfer_box_reset(true);
    struct pusher *pushers[] = {pusher_new("a", "one", "x"), pusher_new("b", "two", "x"),
                                pusher_new("c", "three", "x"), pusher_new("d", "four", "x")};
    for (int i = 0; i < 4; i++)
        pusher_join(pushers[i]);
    transfer_box_wait_calls(1);
    pusher_leave(pushers[2]);
    pusher_expect_end(pushers[2], ERR_CANCELLED);
    cancel_wait(&pushers[0]->cancel, 20);
    assert_int_equal(transfer_box_calls(), 1);
    transfer_box_release();
    for (int i = 0; i < 4; i++) {
        if (i != 2)
            pusher_expect_end(pushers[i], ERR_OK);
        pusher_free(pushers[i]);
    }
    assert_int_equal(transfer_box.calls, 3);
}

/* Who follows is not kept waiting by the trouble of the first one, which may be its repository's.
 */
static void nobody_waits_for_trouble(void **state)
{
    (void)state;
    transfer_box_reset(false);
    transfer_box.fail_first = 1;
    transfer_test.host->back_off.base_ms = 60000;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("b", "two", "x");
    struct pusher *third = pusher_new("c", "three", "x");
    pusher_join(first);
    pusher_join(second);
    pusher_join(third);
    pusher_expect_end(second, ERR_OK);
    pusher_expect_end(third, ERR_OK);
    assert_false(cancel_requested(&first->ended));
    pusher_leave(first);
    pusher_expect_end(first, ERR_CANCELLED);
    transfer_test.host->back_off.base_ms = 10;
    pusher_free(first);
    pusher_free(second);
    pusher_free(third);
}

/* A blob without a name is no layer to its push, whatever it is to the transfer. */
static void expect_nameless(enum layer_end end)
{
    transfer_box_reset(true);
    transfer_box.end = end;
    struct pusher *nameless = pusher_new("a", "one", "x");
    struct pusher *layer = pusher_new("a", "two", "x");
    nameless->layer.id[0] = '\0';
    pusher_join(nameless);
    transfer_box_wait_calls(1);
    pusher_join(layer);
    transfer_box_release();
    pusher_expect_end(nameless, ERR_OK);
    pusher_expect_end(layer, ERR_OK);
    assert_int_equal(transfer_box.calls, 1);
    assert_int_equal(nameless->wait.outcome.end, LAYER_NONE);
    assert_int_equal(nameless->wait.outcome.sent_bytes, TRANSFER_BOX_BYTES);
    assert_string_equal(nameless->events, "");
    assert_int_equal(nameless->byte_events, 0);
    pusher_expect_outcome(layer, LAYER_EXISTED, 1);
    pusher_free(nameless);
    pusher_free(layer);
}

static void a_config_shares_its_transfer(void **state)
{
    (void)state;
    expect_nameless(LAYER_UPLOADED);
    expect_nameless(LAYER_NONE); /* as the attempt of a config leaves it */
}

/* --- attempts --- */

static void attempts_are_shared(void **state)
{
    (void)state;
    transfer_box_reset(true);
    transfer_box.fail_first = 2;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_join(first);
    pusher_join(second);
    pusher_wait_told(first, NULL);
    pusher_wait_told(second, NULL);
    transfer_box_release();
    pusher_expect_end(first, ERR_OK);
    pusher_expect_end(second, ERR_OK);
    assert_int_equal(transfer_box.calls, 3);
    pusher_expect_outcome(first, LAYER_UPLOADED, 3);
    pusher_expect_outcome(second, LAYER_EXISTED, 3);
    assert_true(pusher_was_told(first, "Retrying in 1 second\n"));
    assert_true(pusher_was_told(second, "Retrying in 1 second\n"));
    pusher_free(first);
    pusher_free(second);
}

static void expect_failure(enum errc code, unsigned calls)
{
    transfer_box_reset(true);
    transfer_box.fail_first = 1000;
    transfer_box.fails_with = code;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_join(first);
    pusher_join(second);
    transfer_box_release();
    pusher_expect_end(first, code);
    pusher_expect_end(second, code);
    assert_int_equal(transfer_box.calls, calls);
    assert_int_equal(first->wait.attempts, calls);
    assert_int_equal(second->wait.attempts, calls);
    assert_string_equal(first->wait.error.text, second->wait.error.text);
    assert_false(target_push_knows(&first->push, &first->blob.digest));
    assert_false(target_push_knows(&second->push, &second->blob.digest));
    pusher_free(first);
    pusher_free(second);

    /* It is over: the next one begins anew. */
    transfer_box_reset(false);
    struct pusher *third = pusher_new("a", "three", "x");
    pusher_join(third);
    pusher_expect_end(third, ERR_OK);
    pusher_expect_outcome(third, LAYER_UPLOADED, 1);
    pusher_free(third);
}

static void failures(void **state)
{
    (void)state;
    expect_failure(ERR_DENIED, 1);
    expect_failure(ERR_CONNECTION_LOST, 5);
}

/* Of the last thing that was told, a wait for another attempt, say. */
static void a_late_one_hears_what_it_waits_for(void **state)
{
    (void)state;
    int64_t usual_ms = transfer_test.host->back_off.base_ms;
    transfer_box_reset(false);
    transfer_box.fail_first = 1;
    transfer_test.host->back_off.base_ms = 60000;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_join(first);
    pusher_wait_told(first, "Retrying in ");
    pusher_join(second);
    assert_true(pusher_was_told(second, "Retrying in "));
    pusher_leave(first);
    pusher_leave(second);
    pusher_expect_end(first, ERR_CANCELLED);
    pusher_expect_end(second, ERR_CANCELLED);
    transfer_test.host->back_off.base_ms = usual_ms;
    pusher_free(first);
    pusher_free(second);
}

/* --- many come and go; the sanitizers look --- */

struct crowd {
    int number;
    pthread_t thread;
};

static void *come_and_go(void *arg)
{
    enum { ROUNDS = 20, COUNT = 6 };
    const struct crowd *crowd = arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct pusher *pushers[COUNT];
        for (int i = 0; i < COUNT; i++) {
            char content[] = {(char)('a' + i % 3), (char)('a' + round), '\0'};
            pushers[i] = pusher_new("a", "one", content);
            pusher_join(pushers[i]);
        }
        for (int i = 0; i < COUNT; i++)
            if ((round + i) % 4 == crowd->number)
                pusher_leave(pushers[i]);
        for (int i = 0; i < COUNT; i++) {
            assert_true(cancel_wait(&pushers[i]->ended, TRANSFER_TEST_MS));
            bool left = (round + i) % 4 == crowd->number;
            enum errc code = pushers[i]->wait.error.code;
            assert_true(code == ERR_OK || (left && code == ERR_CANCELLED));
            pusher_free(pushers[i]);
        }
    }
    return NULL;
}

static void a_crowd(void **state)
{
    (void)state;
    struct crowd crowds[4];
    transfer_box_reset(false);
    for (int i = 0; i < 4; i++) {
        crowds[i].number = i;
        pthread_create(&crowds[i].thread, NULL, come_and_go, &crowds[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(crowds[i].thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_share_one),
        cmocka_unit_test(the_first_one_hears_how),
        cmocka_unit_test(what_is_not_the_same),
        cmocka_unit_test(one_repository_goes_first),
        cmocka_unit_test(nobody_waits_for_trouble),
        cmocka_unit_test(a_config_shares_its_transfer),
        cmocka_unit_test(attempts_are_shared),
        cmocka_unit_test(failures),
        cmocka_unit_test(a_late_one_hears_what_it_waits_for),
        cmocka_unit_test(a_crowd),
    };
    return cmocka_run_group_tests(tests, transfer_test_set_up, transfer_test_tear_down);
}
