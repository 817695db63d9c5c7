/*
 * The places of transfers, what it costs to wait for one, and pushes that leave while they wait.
 */
#include "upstream/push/transfers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/transfer_box.h"
#include "tests/support/transfer_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- places --- */

/* The last run of an earlier test may be about to return, and holds its place so long. */
static void wait_for_places(void)
{
    int64_t until_ms = clock_ms() + TRANSFER_TEST_MS;
    while (!work_queue_has_place(transfer_test.host->small) && clock_ms() < until_ms)
        usleep(1000);
}

#define SMALL 16
#define LARGE 5

/* They are looked for as small ones. */
static void no_more_large_ones_at_a_time_than_the_queue_allows(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    transfer_box_reset(true);
    struct pusher *pushers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char content[] = {(char)('a' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        pushers[i]->blob.size = BLOB_SMALL_BYTES + 1;
        pusher_join(pushers[i]);
    }
    transfer_box_wait_calls(LARGE);
    int64_t until_ms = clock_ms() + TRANSFER_TEST_MS;
    while (work_queue_waiting(transfer_test.host->transfers) < COUNT - LARGE &&
           clock_ms() < until_ms)
        usleep(1000);
    pusher_leave(pushers[COUNT - 1]); /* it waits among the large ones, or is sent */
    pusher_expect_end(pushers[COUNT - 1], ERR_CANCELLED);
    transfer_box_release();
    for (int i = 0; i < COUNT; i++) {
        if (i < COUNT - 1) {
            pusher_expect_end(pushers[i], ERR_OK);
            assert_int_equal(pushers[i]->wait.attempts, 1);
        }
        pusher_free(pushers[i]);
    }
    assert_int_equal(transfer_box.most, LARGE);
    assert_int_equal(transfer_box_looks(), COUNT);
}

static void no_more_at_a_time_than_the_queue_allows(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    transfer_box_reset(true);
    struct pusher *pushers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char content[] = {(char)('!' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        if (i < SMALL)
            wait_for_places();
        pusher_join(pushers[i]);
        /* One more in a row may be after the others: all others wait when it ends. */
        assert_int_equal(pusher_was_told(pushers[i], "Waiting\n"), i >= SMALL);
    }
    transfer_box_wait_calls(SMALL);
    transfer_box_release();
    for (int i = 0; i < COUNT; i++) {
        pusher_expect_end(pushers[i], ERR_OK);
        pusher_free(pushers[i]);
    }
    assert_int_equal(transfer_box.most, SMALL);
    assert_int_equal(transfer_box.calls, COUNT);
}

/* What waits for a place or for its next attempt has no thread; what runs has one. */
static void waiting_costs_no_thread(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    int64_t usual_ms = transfer_test.host->back_off.base_ms;
    struct pusher **pushers = xcalloc(COUNT, sizeof(struct pusher *));
    transfer_box_reset(true);
    transfer_box.fail_first = UINT32_MAX;
    transfer_test.host->back_off.base_ms = 60000;
    for (int i = 0; i < COUNT; i++) {
        char content[8];
        snprintf(content, sizeof content, "%d", i);
        pushers[i] = pusher_new("a", "one", content);
        pusher_join(pushers[i]);
    }
    transfer_box_wait_calls(SMALL);
    assert_in_range(executor_threads(transfer_test.executor), SMALL, SMALL + 3);
    transfer_box_release();
    transfer_box_wait_calls(COUNT);
    for (int i = 0; i < COUNT; i++)
        pusher_wait_told(pushers[i], "Retrying in ");
    int64_t until_ms = clock_ms() + TRANSFER_TEST_MS;
    while (executor_threads(transfer_test.executor) > 1 && clock_ms() < until_ms)
        cancel_wait(&pushers[0]->cancel, 5);
    assert_int_equal(executor_threads(transfer_test.executor), 1);
    for (int i = 0; i < COUNT; i++)
        pusher_leave(pushers[i]);
    for (int i = 0; i < COUNT; i++) {
        pusher_expect_end(pushers[i], ERR_CANCELLED);
        pusher_free(pushers[i]);
    }
    assert_int_equal(transfer_box.calls, COUNT);
    assert_int_equal(transfer_box.most, SMALL);
    transfer_test.host->back_off.base_ms = usual_ms;
    free(pushers);
}

/* --- leaving --- */

static void leaving_does_not_hurt_the_other(void **state)
{
    (void)state;
    for (int leaving = 0; leaving < 2; leaving++) {
        transfer_box_reset(true);
        struct pusher *pushers[] = {pusher_new("a", "one", "x"), pusher_new("a", "two", "x")};
        for (int i = 0; i < 2; i++) {
            pusher_join(pushers[i]);
            pusher_wait_told(pushers[i], NULL);
        }
        pusher_leave(pushers[leaving]);
        assert_true(cancel_requested(&pushers[leaving]->ended)); /* at once */
        pusher_expect_end(pushers[leaving], ERR_CANCELLED);
        transfer_box_release();
        pusher_expect_end(pushers[!leaving], ERR_OK);
        assert_int_equal(transfer_box.calls, 1);
        assert_int_equal(transfer_box.cancelled, 0);
        assert_int_equal(pushers[leaving]->wait.outcome.end, LAYER_NONE);
        assert_false(target_push_knows(&pushers[leaving]->push, &pushers[leaving]->blob.digest));
        pusher_expect_outcome(pushers[!leaving], LAYER_UPLOADED, 1);
        pusher_free(pushers[0]);
        pusher_free(pushers[1]);
    }
}

static void the_last_one_to_leave_cancels_it(void **state)
{
    (void)state;
    transfer_box_reset(true);
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_join(first);
    pusher_join(second);
    transfer_box_wait_calls(1);
    int64_t start_ms = clock_ms();
    pusher_leave(first);
    pusher_leave(second);
    pusher_leave(second);
    pusher_expect_end(first, ERR_CANCELLED);
    pusher_expect_end(second, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(transfer_box.calls, 1);
    assert_int_equal(transfer_box.cancelled, 1);
    assert_int_equal(transfer_box.now, 0);
    pusher_free(first);
    pusher_free(second);
}

/* An attempt that takes its time to end. */
static struct cancel lingering;
static enum errc linger(struct target_push *push, const struct push_layer *layer,
                        struct unfinished_upload *upload, struct layer_outcome *outcome,
                        struct error *err)
{
    enum errc code = transfer_box_attempt(push, layer, upload, outcome, err);
    cancel_wait(&lingering, TRANSFER_TEST_MS);
    return code;
}

static void what_was_given_up_is_not_joined(void **state)
{
    (void)state;
    transfer_box_reset(true);
    cancel_init(&lingering);
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    transfers_join(transfer_test.upstream->transfers, &first->wait, linger);
    transfer_box_wait_calls(1);
    pusher_leave(first);
    assert_false(cancel_wait(&first->ended, 30)); /* when it has ended, not before */
    transfer_box_release();
    pusher_join(second);
    pusher_expect_end(second, ERR_OK);
    pusher_expect_outcome(second, LAYER_UPLOADED, 1);
    assert_int_equal(transfer_box_calls(), 2);
    cancel_request(&lingering);
    pusher_expect_end(first, ERR_CANCELLED);
    cancel_deinit(&lingering);
    pusher_free(first);
    pusher_free(second);
}

static void left_while_it_waits_for_another_attempt(void **state)
{
    (void)state;
    transfer_box_reset(false);
    transfer_box.fail_first = 1000;
    int64_t usual_ms = transfer_test.host->back_off.base_ms;
    transfer_test.host->back_off.base_ms = 60000;
    struct pusher *pusher = pusher_new("a", "one", "x");
    pusher_join(pusher);
    pusher_wait_told(pusher, "Retrying in ");
    int64_t start_ms = clock_ms();
    pusher_leave(pusher);
    pusher_expect_end(pusher, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(transfer_box.calls, 1);
    transfer_test.host->back_off.base_ms = usual_ms;
    pusher_free(pusher);
}

static void left_while_it_waits_for_a_place(void **state)
{
    (void)state;
    struct pusher *pushers[SMALL + 1];
    transfer_box_reset(true);
    for (int i = 0; i <= SMALL; i++) {
        char content[] = {(char)('a' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        pusher_join(pushers[i]);
    }
    transfer_box_wait_calls(SMALL);
    int64_t start_ms = clock_ms();
    pusher_leave(pushers[SMALL]);
    pusher_expect_end(pushers[SMALL], ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(transfer_box_calls(), SMALL);
    assert_int_equal(pushers[SMALL]->wait.attempts, 0);
    transfer_box_release();
    for (int i = 0; i < SMALL; i++)
        pusher_expect_end(pushers[i], ERR_OK);
    for (int i = 0; i <= SMALL; i++)
        pusher_free(pushers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_at_a_time_than_the_queue_allows),
        cmocka_unit_test(no_more_large_ones_at_a_time_than_the_queue_allows),
        cmocka_unit_test(waiting_costs_no_thread),
        cmocka_unit_test(leaving_does_not_hurt_the_other),
        cmocka_unit_test(the_last_one_to_leave_cancels_it),
        cmocka_unit_test(what_was_given_up_is_not_joined),
        cmocka_unit_test(left_while_it_waits_for_another_attempt),
        cmocka_unit_test(left_while_it_waits_for_a_place),
    };
    return cmocka_run_group_tests(tests, transfer_test_set_up, transfer_test_tear_down);
}
