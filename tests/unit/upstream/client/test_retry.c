#include "upstream/client/retry.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_waits_grow(void **state)
{
    (void)state;
    int64_t longest_ms = 0;
    for (unsigned failed = 1; failed < RETRY_ATTEMPTS; failed++) {
        int64_t least_ms = retry_wait_ms(RETRY_WAIT_MS, failed, 0);
        assert_int_equal(least_ms, 5000 * failed);
        assert_true(least_ms > longest_ms);
        longest_ms = retry_wait_ms(RETRY_WAIT_MS, failed, UINT32_MAX);
        assert_int_equal(longest_ms, 6250 * failed);
        assert_in_range(retry_wait_ms(RETRY_WAIT_MS, failed, UINT32_MAX / 2), least_ms, longest_ms);
    }
}

/* --- attempts --- */

struct work {
    struct gate gate;
    struct cancel cancel;
    struct stop stop;
    struct retry retry;
    unsigned calls;
    unsigned fail_first; /* so many attempts fail */
    enum errc fails_with;
    unsigned told;
    char first_words[64];
    char last_words[64];
    bool cancel_when_told;
};

static enum errc attempt(void *self, struct error *err)
{
    struct work *work = self;
    assert_int_equal(err->code, ERR_OK);
    if (++work->calls > work->fail_first)
        return ERR_OK;
    return (fail)(err, work->fails_with, 0, "attempt %u", work->calls);
}

static void tell(void *self, const char *words)
{
    struct work *work = self;
    if (work->told++ == 0)
        strcpy(work->first_words, words);
    strcpy(work->last_words, words);
    if (work->cancel_when_told)
        cancel_request(&work->cancel);
}

static void work_init(struct work *work, unsigned fail_first, enum errc fails_with)
{
    *work = (struct work){.fail_first = fail_first, .fails_with = fails_with};
    gate_init(&work->gate, 5, 10);
    cancel_init(&work->cancel);
    stop_init(&work->stop, &work->cancel);
    work->retry = (struct retry){
        .what = "test",
        .gate = &work->gate,
        .base_ms = 4,
        .stop = &work->stop,
        .attempt = attempt,
        .tell = tell,
        .self = work,
    };
}

static void work_deinit(struct work *work)
{
    cancel_deinit(&work->cancel);
    gate_deinit(&work->gate);
}

static void test_attempts(void **state)
{
    (void)state;
    for (unsigned failing = 0; failing <= RETRY_ATTEMPTS + 1; failing++) {
        struct work work;
        struct error err = ERROR_INIT;
        unsigned attempts = 0;
        work_init(&work, failing, ERR_CONNECTION_LOST);
        bool succeeds = failing < RETRY_ATTEMPTS;
        assert_int_equal(retry_run(&work.retry, &attempts, &err),
                         succeeds ? ERR_OK : ERR_CONNECTION_LOST);
        assert_int_equal(attempts, succeeds ? failing + 1 : RETRY_ATTEMPTS);
        assert_int_equal(work.calls, attempts);
        assert_int_equal(err.code, succeeds ? ERR_OK : ERR_CONNECTION_LOST);
        if (!succeeds)
            assert_string_equal(err.text, "5 attempts: attempt 5");
        work_deinit(&work);
    }
}

static void test_errors_that_are_not_retried(void **state)
{
    (void)state;
    const enum errc final[] = {
        ERR_UNAUTHORIZED,     ERR_DENIED,          ERR_REGISTRY_UNSUPPORTED, ERR_NOT_A_REGISTRY,
        ERR_NO_SPACE,         ERR_CANCELLED,       ERR_BLOB_CORRUPT,         ERR_BLOB_UNKNOWN,
        ERR_NAME_UNKNOWN,     ERR_PUSHED_DIGEST,   ERR_CERTIFICATE,          ERR_MANIFEST_UNKNOWN,
        ERR_MANIFEST_REFUSED, ERR_ADDRESS_REFUSED,
    };
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
        struct work work;
        struct error err = ERROR_INIT;
        unsigned attempts = 0;
        work_init(&work, 1, final[i]);
        assert_int_equal(retry_run(&work.retry, &attempts, &err), final[i]);
        assert_int_equal(attempts, 1);
        assert_int_equal(work.told, 0);
        assert_string_equal(err.text, "attempt 1");
        work_deinit(&work);
    }
}

static void test_errors_that_are_retried(void **state)
{
    (void)state;
    const enum errc passing[] = {
        ERR_TOO_MANY_REQUESTS,
        ERR_REGISTRY_FAULT,
        ERR_REGISTRY_REFUSED,
        ERR_REGISTRY_ANSWER,
        ERR_UPLOAD_UNKNOWN,
        ERR_BLOB_NOT_THERE,
        ERR_CONNECT,
        ERR_HOST_UNKNOWN,
        ERR_TIMEOUT,
        ERR_CONNECTION_LOST,
        ERR_IO,
    };
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        struct work work;
        struct error err = ERROR_INIT;
        unsigned attempts = 0;
        work_init(&work, 1, passing[i]);
        assert_int_equal(retry_run(&work.retry, &attempts, &err), ERR_OK);
        assert_int_equal(attempts, 2);
        assert_string_equal(work.first_words, "Retrying in 1 second");
        work_deinit(&work);
    }
}

static void test_told_second_by_second(void **state)
{
    (void)state;
    struct work work;
    struct error err = ERROR_INIT;
    unsigned attempts = 0;
    work_init(&work, 1, ERR_TIMEOUT);
    work.retry.base_ms = 2001; /* up to 2501 */
    int64_t start_ms = clock_ms();
    assert_int_equal(retry_run(&work.retry, &attempts, &err), ERR_OK);
    assert_in_range(clock_ms() - start_ms, 2001, 4000);
    assert_int_equal(work.told, 3);
    assert_string_equal(work.first_words, "Retrying in 3 seconds");
    assert_string_equal(work.last_words, "Retrying in 1 second");
    work_deinit(&work);
}

static void test_cancelled_wait_ends_at_once(void **state)
{
    (void)state;
    struct work work;
    struct error err = ERROR_INIT;
    unsigned attempts = 0;
    work_init(&work, 1, ERR_TIMEOUT);
    work.retry.base_ms = 60000;
    work.cancel_when_told = true;
    int64_t start_ms = clock_ms();
    assert_int_equal(retry_run(&work.retry, &attempts, &err), ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(work.calls, 1);
    assert_int_equal(attempts, 1);
    work_deinit(&work);
}

static void test_the_registry_may_ask_for_longer(void **state)
{
    (void)state;
    struct work work;
    struct error err = ERROR_INIT;
    unsigned attempts = 0;
    work_init(&work, 1, ERR_TOO_MANY_REQUESTS);
    gate_back_off(&work.gate, 400);
    int64_t start_ms = clock_ms();
    assert_int_equal(retry_run(&work.retry, &attempts, &err), ERR_OK);
    assert_in_range(clock_ms() - start_ms, 390, 3000);
    work_deinit(&work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_grow),
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_errors_that_are_not_retried),
        cmocka_unit_test(test_errors_that_are_retried),
        cmocka_unit_test(test_told_second_by_second),
        cmocka_unit_test(test_cancelled_wait_ends_at_once),
        cmocka_unit_test(test_the_registry_may_ask_for_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
