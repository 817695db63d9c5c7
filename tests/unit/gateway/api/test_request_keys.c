#include "gateway/api/request_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct outcome {
    enum push_state state;
    bool stored;
    enum errc error;
    bool answered;
};

/* A failure is an answer, and what nobody was answered is none. */
static void what_counts_as_an_answer(void **state)
{
    static const struct outcome outcomes[] = {
        {PUSH_PUSHED, false, ERR_OK, true},
        {PUSH_SUPERSEDED, false, ERR_OK, true},
        {PUSH_FAILED, false, ERR_CONNECT, true},
        {PUSH_FAILED, false, ERR_PUSH_TIME, true},
        {PUSH_CANCELLED, false, ERR_CANCELLED, true},
        {PUSH_FAILED, false, ERR_STOPPING, false},
        {PUSH_FAILED, false, ERR_CANCELLED, false},
        {PUSH_QUEUED, false, ERR_OK, false},
        {PUSH_QUEUED, true, ERR_OK, true},
        {PUSH_WAITING, true, ERR_CONNECT, true},
        {PUSH_EXPIRED, true, ERR_CONNECT, true},
    };
    const struct request_key one = {.pushes = 1};
    const struct request_key two = {.pushes = 2};
    (void)state;
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        struct push_target targets[2] = {
            {.state = PUSH_PUSHED},
            {.state = outcomes[i].state,
             .stored = outcomes[i].stored,
             .error = {.code = outcomes[i].error}},
        };
        const struct push push = {.targets = targets, .target_count = 2};
        assert_int_equal(request_key_answered(&one, &push, 1), outcomes[i].answered);
        assert_false(request_key_answered(&two, &push, 1));
        assert_false(request_key_answered(&one, NULL, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_counts_as_an_answer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
