#include "upstream/auth/tokens.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/auth/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 8

/* A token server in a box: counts fetches and can be held until all threads wait. */
struct box {
    struct tokens *tokens;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;
    int fetches;
    int64_t lifetime_ms;
    enum errc fails;
    struct cancel cancel;
};

static enum errc fetch(void *self, struct token *out, struct error *err)
{
    struct box *box = self;
    pthread_mutex_lock(&box->lock);
    int number = ++box->fetches;
    pthread_cond_broadcast(&box->changed);
    while (box->hold)
        pthread_cond_wait(&box->changed, &box->lock);
    pthread_mutex_unlock(&box->lock);
    if (box->fails != ERR_OK)
        return (fail)(err, box->fails, 0, "fetch %d failed", number);
    out->text = xasprintf("token-%d", number);
    out->expires_at_ms = clock_ms() + box->lifetime_ms;
    return ERR_OK;
}

static struct box *box_new(void)
{
    struct box *box = xcalloc(1, sizeof *box);
    box->tokens = tokens_new();
    pthread_mutex_init(&box->lock, NULL);
    pthread_cond_init(&box->changed, NULL);
    box->lifetime_ms = 60000;
    cancel_init(&box->cancel);
    return box;
}

static void box_free(struct box *box)
{
    tokens_free(box->tokens);
    cancel_deinit(&box->cancel);
    pthread_cond_destroy(&box->changed);
    pthread_mutex_destroy(&box->lock);
    free(box);
}

static enum errc get(struct box *box, const char *key, int64_t least_ms, char **text,
                     struct error *err)
{
    const struct token_fetch how = {.run = fetch, .self = box};
    return tokens_get(box->tokens, key, least_ms, &box->cancel, &how, text, err);
}

static void expect(struct box *box, const char *key, int64_t least_ms, const char *want)
{
    struct error err = ERROR_INIT;
    char *text = NULL;
    assert_int_equal(get(box, key, least_ms, &text, &err), ERR_OK);
    assert_string_equal(text, want);
    secret_free(text);
}

static void test_kept_by_key(void **state)
{
    (void)state;
    struct box *box = box_new();
    expect(box, "a", 0, "token-1");
    expect(box, "a", 30000, "token-1");
    expect(box, "b", 0, "token-2");
    expect(box, "a", 0, "token-1");
    box_free(box);
}

static void test_fetched_again_before_it_expires(void **state)
{
    (void)state;
    struct box *box = box_new();
    expect(box, "a", 0, "token-1");
    expect(box, "a", 61000, "token-2");
    box_free(box);
}

static void test_drop(void **state)
{
    (void)state;
    struct box *box = box_new();
    expect(box, "a", 0, "token-1");
    tokens_drop(box->tokens, "a", "another");
    expect(box, "a", 0, "token-1");
    tokens_drop(box->tokens, "b", "token-1");
    tokens_drop(box->tokens, "a", "token-1");
    expect(box, "a", 0, "token-2");
    box_free(box);
}

static void test_failure_is_not_kept(void **state)
{
    (void)state;
    struct box *box = box_new();
    struct error err = ERROR_INIT;
    char *text = NULL;
    box->fails = ERR_UNAUTHORIZED;
    assert_int_equal(get(box, "a", 0, &text, &err), ERR_UNAUTHORIZED);
    assert_null(text);
    box->fails = ERR_OK;
    expect(box, "a", 0, "token-2");
    box_free(box);
}

static void test_bounded(void **state)
{
    (void)state;
    struct box *box = box_new();
    char key[32];
    for (int i = 0; i <= TOKENS_MAX; i++) {
        snprintf(key, sizeof key, "%d", i);
        box->lifetime_ms = 60000 + i * 1000;
        char want[32];
        snprintf(want, sizeof want, "token-%d", i + 1);
        expect(box, key, 0, want);
    }
    /* The first to expire made room; the second is still held. */
    expect(box, "1", 0, "token-2");
    char want[32];
    snprintf(want, sizeof want, "token-%d", TOKENS_MAX + 2);
    expect(box, "0", 0, want);
    box_free(box);
}

struct caller {
    struct box *box;
    pthread_t thread;
    enum errc code;
    char *text;
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    struct error err = ERROR_INIT;
    caller->code = get(caller->box, "a", 0, &caller->text, &err);
    return NULL;
}

static void release(struct box *box)
{
    pthread_mutex_lock(&box->lock);
    box->hold = false;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->lock);
}

static void wait_for_fetch(struct box *box)
{
    pthread_mutex_lock(&box->lock);
    while (box->fetches == 0)
        pthread_cond_wait(&box->changed, &box->lock);
    pthread_mutex_unlock(&box->lock);
}

/* One thread is fetching; the others come and then it is let go. */
static void run_flight(struct box *box, struct caller callers[THREADS])
{
    box->hold = true;
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.box = box};
        pthread_create(&callers[i].thread, NULL, call, &callers[i]);
        if (i == 0)
            wait_for_fetch(box);
    }
}

static void join(struct caller callers[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(callers[i].thread, NULL);
}

static void test_single_flight(void **state)
{
    (void)state;
    struct box *box = box_new();
    struct caller callers[THREADS];
    run_flight(box, callers);
    release(box);
    join(callers);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(callers[i].code, ERR_OK);
        assert_string_equal(callers[i].text, "token-1");
        secret_free(callers[i].text);
    }
    assert_int_equal(box->fetches, 1);
    box_free(box);
}

static void test_waiting_ends_with_the_cancel(void **state)
{
    (void)state;
    struct box *box = box_new();
    struct caller callers[THREADS];
    run_flight(box, callers);
    int64_t start_ms = clock_ms();
    cancel_request(&box->cancel);
    for (int i = 1; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].code, ERR_CANCELLED);
    }
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    release(box);
    pthread_join(callers[0].thread, NULL);
    assert_int_equal(callers[0].code, ERR_OK);
    secret_free(callers[0].text);
    box_free(box);
}

static void test_credentials_are_told_apart(void **state)
{
    (void)state;
    char a[] = "a", b[] = "b", ab[] = "ab", empty[] = "";
    const struct registry_credentials all[] = {
        {0},
        {.username = empty},
        {.username = a, .password = b},
        {.username = ab, .password = empty},
        {.password = ab},
        {.identity_token = ab},
        {.registry_token = ab},
    };
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++) {
            struct digest left = registry_credentials_digest(&all[i]);
            struct digest right = registry_credentials_digest(&all[j]);
            assert_int_equal(digest_equal(&left, &right), i == j);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_by_key),
        cmocka_unit_test(test_fetched_again_before_it_expires),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_failure_is_not_kept),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_single_flight),
        cmocka_unit_test(test_waiting_ends_with_the_cancel),
        cmocka_unit_test(test_credentials_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
