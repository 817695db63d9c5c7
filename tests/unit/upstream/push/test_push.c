#include "tests/support/push_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/references.h"
#include "tests/support/fake_registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define ALWAYS 1000

/* --- helpers of these tests --- */

static bool has_digest(struct fake_registry *fake, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    return fake_registry_has(fake, digest_text(digest, text));
}

static size_t layer_events(struct push_test *test, const struct digest *diff_id, const char *words)
{
    char id[DIGEST_SHORT_MAX];
    autofree char *event = xasprintf("%s %s", digest_short(diff_id, id), words);
    return push_test_events(test, event);
}

#define UPLOADS "/v2/team/app/blobs/uploads/"

/* --- the plain way --- */

static void test_first_and_second_push(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct http_double *http = fake_registry_http(fake);
    struct made_image image = push_test_image(test, "abc", LAYER_BYTES);

    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    push_test_expect_layers(test, 0, 3, 0);
    assert_true(digest_equal(&test->result.digest, &image.manifest.digest));
    assert_int_equal(test->result.size, image.manifest.size);
    assert_string_equal(test->result.media_type, MEDIA_OCI_MANIFEST);
    assert_int_equal(test->result.attempts, 1);
    assert_true(test->result.bytes_uploaded > 3 * LAYER_BYTES);
    assert_true(has_digest(fake, &image.layers[0]) && has_digest(fake, &image.config));
    assert_true(fake_registry_has(fake, "manifests/1"));
    assert_int_equal(http_double_count(http, "POST " UPLOADS), 4);
    assert_int_equal(http_double_count(http, "PATCH"), 0);
    assert_int_equal(http_double_count(http, "DELETE"), 0);
    assert_int_equal(layer_events(test, &image.diff_ids[1], "Preparing"), 1);
    assert_int_equal(layer_events(test, &image.diff_ids[1], "Pushed"), 1);
    assert_true(test->byte_events >= 3);
    assert_int_equal(test->last_current, LAYER_BYTES);

    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    push_test_expect_layers(test, 3, 0, 0);
    assert_int_equal(test->result.bytes_uploaded, 0);
    assert_int_equal(http_double_count(http, "POST " UPLOADS), 4);
    assert_int_equal(layer_events(test, &image.diff_ids[2], "Layer already exists"), 1);
    /* The ping of the first push is remembered. */
    assert_int_equal(http_double_count(http, "GET /v2/"), 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_words_and_record(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);

    char digest[DIGEST_TEXT_MAX];
    autofree char *first =
        xasprintf("- The push refers to repository [%s/team/app]\n", fake_registry_host(fake));
    autofree char *last =
        xasprintf("\n- 1: digest: %s size: %llu\n", digest_text(&image.manifest.digest, digest),
                  (unsigned long long)image.manifest.size);
    assert_ptr_equal(strstr(test->events, first), test->events);
    assert_non_null(strstr(test->events, last));

    struct push_request by_digest =
        push_test_request(&image.manifest, fake_registry_host(fake), "team/app");
    by_digest.target.digest = image.manifest.digest;
    struct named_manifest named;
    struct error err = ERROR_INIT;
    bool found = false;
    assert_int_equal(references_get(test->store, &by_digest.target, &found, &named, &err), ERR_OK);
    assert_true(found);
    assert_string_equal(named.media_type, MEDIA_OCI_MANIFEST);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- round trips --- */

/* So many requests of a kind are under way together in a round trip, which ends when all are. */
struct trip {
    unsigned number; /* from 0 */
    const char *method;
    const char *part; /* the path begins with it */
    int count;
    int status; /* 0: as usual */
};

struct trips_push {
    struct push_test *test;
    struct push_request request;
    enum errc code;
};

static void *push_for_trips(void *arg)
{
    struct trips_push *push = arg;
    push->code =
        push_test_one(push->test, &push->request, NULL, &push->test->cancel, &push->test->result);
    return NULL;
}

static size_t count_of(struct fake_registry *fake, const struct trip *trip, size_t want)
{
    autofree char *prefix = xasprintf("%s %s", trip->method, trip->part);
    struct http_double *http = fake_registry_http(fake);
    return want ? http_double_await(http, prefix, want) : http_double_count(http, prefix);
}

/* A push sends these and no others, each round trip's before an answer to any of them. */
static void expect_trips(struct push_test *test, struct fake_registry *fake,
                         const struct made_image *image, const char *rest, const struct trip *trips,
                         size_t count)
{
    struct trips_push push = {.test = test};
    size_t before[16];
    size_t all = http_double_count(fake_registry_http(fake), "");
    pthread_t thread;
    push.request = push_test_request(&image->manifest, fake_registry_host(fake), rest);
    push_test_upstream(test, fake_registry_host(fake));
    for (size_t i = 0; i < count; i++) {
        before[i] = count_of(fake, &trips[i], 0);
        fake_registry_rule(fake, (struct fake_rule){trips[i].method, trips[i].part, trips[i].count,
                                                    .effect = trips[i].status == 0,
                                                    .status = trips[i].status, .hold = true,
                                                    .releases = trips[i].number});
    }
    pthread_create(&thread, NULL, push_for_trips, &push);
    for (size_t i = 0; i < count; i++) {
        size_t want = before[i];
        for (size_t j = 0; j <= i; j++)
            want += strcmp(trips[j].method, trips[i].method) == 0 &&
                            strcmp(trips[j].part, trips[i].part) == 0
                        ? (size_t)trips[j].count
                        : 0;
        assert_int_equal(count_of(fake, &trips[i], want), want);
        all += (size_t)trips[i].count;
        if (i + 1 == count || trips[i + 1].number != trips[i].number)
            fake_registry_release(fake);
    }
    pthread_join(thread, NULL);
    push_test_expect(test, push.code, ERR_OK);
    assert_int_equal(http_double_count(fake_registry_http(fake), ""), all);
}

#define APP "/v2/team/app/"
#define LIB "/v2/team/lib/"

/* Twelve layers of a size that is not known, and a config: five round trips for the first time, two
 * again, and four where the layers can be mounted. */
static void test_few_round_trips(void **state)
{
    (void)state;
    static const struct trip first[] = {
        {0, "GET", "/v2/", 1, 0},
        {1, "HEAD", APP "blobs/", 13, 0},
        {2, "POST", APP "blobs/uploads/", 13, 0},
        {3, "PUT", APP "blobs/uploads/", 13, 0},
        {4, "PUT", APP "manifests/", 1, 0},
    };
    static const struct trip again[] = {{0, "HEAD", APP "blobs/", 13, 0},
                                        {1, "PUT", APP "manifests/", 1, 0}};
    static const struct trip mounts[] = {
        {0, "POST", LIB "blobs/uploads/", 12, 201},
        {0, "HEAD", LIB "blobs/", 1, 0}, /* the double has one place for all repositories */
        {1, "PUT", LIB "manifests/", 1, 0},
    };
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "abcdefghijkl", LAYER_BYTES);
    expect_trips(test, fake, &image, "team/app:1", first, sizeof first / sizeof first[0]);
    push_test_expect_layers(test, 0, 12, 0);
    expect_trips(test, fake, &image, "team/app:1", again, sizeof again / sizeof again[0]);
    push_test_expect_layers(test, 12, 0, 0);
    expect_trips(test, fake, &image, "team/lib:1", mounts, sizeof mounts / sizeof mounts[0]);
    assert_int_equal(test->result.layers.mounted, 12);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_repeated_and_foreign_layers(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "abFaa", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    push_test_expect_layers(test, 2, 2, 1);
    assert_int_equal(http_double_count(fake_registry_http(fake), "POST " UPLOADS), 3);
    assert_int_equal(layer_events(test, &image.diff_ids[2], "Skipped foreign layer"), 1);
    assert_false(has_digest(fake, &image.layers[2]));
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_index_comes_after_its_children(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct http_double *http = fake_registry_http(fake);
    const struct made_image images[] = {
        push_test_image(test, "ab", LAYER_BYTES),
        push_test_image(test, "ac", LAYER_BYTES),
    };
    struct descriptor index = push_test_index(test, images, 2);
    push_test_expect(test, push_test_push(test, &index, fake_registry_host(fake)), ERR_OK);
    push_test_expect_layers(test, 1, 3, 0);
    assert_string_equal(test->result.media_type, MEDIA_OCI_INDEX);
    long positions[3];
    for (size_t i = 0; i < 2; i++) {
        char digest[DIGEST_TEXT_MAX];
        autofree char *line = xasprintf("PUT /v2/team/app/manifests/%s",
                                        digest_text(&images[i].manifest.digest, digest));
        positions[i] = http_double_position(http, line);
    }
    positions[2] = http_double_position(http, "PUT /v2/team/app/manifests/1");
    assert_true(positions[0] >= 0 && positions[0] < positions[1] && positions[1] < positions[2]);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* Indexes that name one member many times, each within the other, are put once each: without that,
 * four documents of 100 KB make a registry take 10^12 of them. */
static void test_members_that_repeat_are_put_once(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "ab", LAYER_BYTES);
    struct descriptor index = image.manifest;
    for (int level = 0; level < 3; level++) {
        const struct made_image same = {.manifest = index};
        struct made_image members[40];
        for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
            members[i] = same;
        index = push_test_index(test, members, sizeof members / sizeof members[0]);
    }
    push_test_expect(test, push_test_push(test, &index, fake_registry_host(fake)), ERR_OK);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT /v2/team/app/manifests/"), 4);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_many_targets(void **state)
{
    (void)state;
    enum { TARGETS = 4 };
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "abcdefghij", LAYER_BYTES);
    struct push_request requests[TARGETS];
    struct push_target results[TARGETS];
    for (int i = 0; i < TARGETS; i++) {
        autofree char *rest = xasprintf("team/app-%d:1", i);
        requests[i] = push_test_request(&image.manifest, fake_registry_host(fake), rest);
    }
    requests[2] = push_test_request(&image.manifest, "127.0.0.1:1", "team/app:1");
    push_test_upstream(test, fake_registry_host(fake));
    push_test_all(test, requests, TARGETS, NULL, &test->cancel, results);
    for (int i = 0; i < TARGETS; i++) {
        assert_int_equal(results[i].state, i == 2 ? PUSH_FAILED : PUSH_PUSHED);
        assert_true(reference_same_name(&results[i].reference, &requests[i].target));
    }
    assert_int_equal(results[2].error.code, ERR_CONNECT);
    /* Sixteen small blobs, and beside them a request of each push. */
    assert_in_range(http_double_most_at_once(fake_registry_http(fake)), 1, 16 + 3);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- refusals before anything is sent --- */

static void test_refused_targets(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    struct push_request request = push_test_request(&image.manifest, "127.0.0.1:1", "a");
    push_test_upstream(test, "127.0.0.1:1");
    assert_int_equal(push_test_one(test, &request, NULL, &test->cancel, &test->result), ERR_NO_TAG);
    request.target.digest = image.config;
    assert_int_equal(push_test_one(test, &request, NULL, &test->cancel, &test->result),
                     ERR_DIGEST_REFERENCE);
    assert_non_null(strstr(test->result.error.text, "cannot push a digest reference"));
    push_test_free(test);
}

static void test_settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool plain_http;
        enum errc want;
    } cases[] = {
        {"http://r.example.com", false, ERR_SETTINGS},
        {"http://r.example.com", true, ERR_OK},
        {"http://127.0.0.1:5000/", false, ERR_OK},
        {"https://r.example.com/nexus", false, ERR_OK},
        {"r.example.com", false, ERR_SETTINGS},
        {"https://u:p@r.example.com", true, ERR_SETTINGS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct registry_options registry = {
            .host = "r.example.com",
            .endpoints = &cases[i].endpoint,
            .endpoint_count = 1,
            .plain_http = cases[i].plain_http,
        };
        const struct registries_options options = {.registries = &registry, .registry_count = 1};
        struct registries *registries = NULL;
        struct error err = ERROR_INIT;
        if (registries_new(&options, &registries, &err) != cases[i].want)
            fail_msg("%s: %s", cases[i].endpoint, err.text);
        registries_free(registries);
    }
}

/* --- what comes between --- */

static void *cancel_when_sending(void *arg)
{
    struct push_test *test = arg;
    for (;;) {
        pthread_mutex_lock(&test->lock);
        bool sending = test->byte_events > 0;
        pthread_mutex_unlock(&test->lock);
        if (sending || cancel_wait(&test->cancel, 5))
            break;
    }
    cancel_request(&test->cancel);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    http_double_stall(fake_registry_http(fake), "PUT");
    struct made_image image = push_test_image(test, "abc", 8 << 20);
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_when_sending, test);
    int64_t start_ms = clock_ms();
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)),
                     ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 3000);
    pthread_join(thread, NULL);
    struct http_double *http = fake_registry_http(fake);
    size_t opened = http_double_count(http, "POST " UPLOADS);
    assert_true(opened > 0);
    assert_int_equal(http_double_await(http, "DELETE " UPLOADS, opened), opened);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_sessions_elsewhere_get_no_credentials(void **state)
{
    (void)state;
    struct push_test *test = push_test_new("s3cret");
    struct fake_registry *fake = fake_registry_start(FAKE_BASIC);
    struct fake_registry *storage = fake_registry_start(FAKE_OPEN);
    autofree char *origin = xasprintf("http://%s", fake_registry_host(storage));
    fake_registry_sessions_at(fake, origin);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    struct http_double *http = fake_registry_http(storage);
    assert_int_equal(http_double_count(http, "PUT " UPLOADS), 2);
    assert_int_equal(http_double_count(http, "PUT " UPLOADS "1 auth"), 0);
    assert_int_equal(http_double_count(http, "PUT " UPLOADS "2 auth"), 0);
    fake_registry_stop(storage);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_redirected_head(void **state)
{
    (void)state;
    struct push_test *test = push_test_new("s3cret");
    struct fake_registry *fake = fake_registry_start(FAKE_BASIC);
    struct fake_registry *storage = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    char text[DIGEST_TEXT_MAX];
    digest_text(&image.layers[0], text);
    fake_registry_put(storage, text, "5000");
    autofree char *location =
        xasprintf("Location: http://%s/v2/x/blobs/%s?sig=1\r\n", fake_registry_host(storage), text);
    fake_registry_rule(
        fake, (struct fake_rule){"HEAD", text, ALWAYS, .status = 307, .headers = location});
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    push_test_expect_layers(test, 1, 0, 0);
    autofree char *with_auth = xasprintf("HEAD /v2/x/blobs/%s auth", text);
    assert_int_equal(http_double_count(fake_registry_http(storage), "HEAD /v2/x/"), 1);
    assert_int_equal(http_double_count(fake_registry_http(storage), with_auth), 0);
    fake_registry_stop(storage);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- credentials --- */

static void test_one_token_for_all_layers(void **state)
{
    (void)state;
    struct push_test *test = push_test_new("s3cret");
    struct fake_registry *fake = fake_registry_start(FAKE_BEARER);
    struct made_image image = push_test_image(test, "abcdefgh", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    assert_int_equal(fake_registry_tokens(fake), 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_refused_token_is_replaced(void **state)
{
    (void)state;
    struct push_test *test = push_test_new("s3cret");
    struct fake_registry *fake = fake_registry_start(FAKE_BEARER);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    fake_registry_revoke(fake, 1);
    struct made_image other = push_test_image(test, "bcdefgh", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &other.manifest, fake_registry_host(fake)), ERR_OK);
    assert_in_range(fake_registry_tokens(fake), 2, 6);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_insufficient_scope(void **state)
{
    (void)state;
    struct push_test *test = push_test_new("s3cret");
    struct fake_registry *fake = fake_registry_start(FAKE_BEARER);
    fake_registry_want_scope(fake, "registry");
    struct made_image image = push_test_image(test, "abc", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    assert_in_range(fake_registry_tokens(fake), 1, 2);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void expect_unauthorized(enum fake_auth auth, const char *password)
{
    struct push_test *test = push_test_new(password);
    struct fake_registry *fake = fake_registry_start(auth);
    struct made_image image = push_test_image(test, "abcdef", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)),
                     ERR_UNAUTHORIZED);
    const char *text = test->result.error.text;
    assert_int_equal(test->result.error.status, 401);
    assert_non_null(strstr(text, fake_registry_host(fake)));
    assert_int_equal(strstr(text, "docker login") == NULL, password != NULL);
    assert_non_null(strstr(text, password ? "user \"ci\"" : "none are known"));
    assert_true(password == NULL || strstr(text, password) == NULL);
    /* A wrong password is offered once, not by every layer: accounts get locked. */
    struct http_double *http = fake_registry_http(fake);
    size_t offered =
        http_double_count(http, "GET /token auth") + http_double_count(http, "GET /v2/ auth");
    assert_int_equal(offered, password ? 1 : 0);
    assert_int_equal(http_double_count(http, "HEAD"), 0);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_unauthorized(void **state)
{
    (void)state;
    expect_unauthorized(FAKE_BASIC, "wr0ng");
    expect_unauthorized(FAKE_BASIC, NULL);
    expect_unauthorized(FAKE_BEARER, "wr0ng");
    expect_unauthorized(FAKE_BEARER, NULL);
}

static void test_store_lacks_a_layer(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "-", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)),
                     ERR_BLOB_UNKNOWN);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT /v2/team/app/manifests"), 0);
    fake_registry_stop(fake);
    push_test_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_and_second_push),
        cmocka_unit_test(test_few_round_trips),
        cmocka_unit_test(test_words_and_record),
        cmocka_unit_test(test_repeated_and_foreign_layers),
        cmocka_unit_test(test_index_comes_after_its_children),
        cmocka_unit_test(test_members_that_repeat_are_put_once),
        cmocka_unit_test(test_many_targets),
        cmocka_unit_test(test_refused_targets),
        cmocka_unit_test(test_settings_are_checked),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_sessions_elsewhere_get_no_credentials),
        cmocka_unit_test(test_redirected_head),
        cmocka_unit_test(test_one_token_for_all_layers),
        cmocka_unit_test(test_refused_token_is_replaced),
        cmocka_unit_test(test_insufficient_scope),
        cmocka_unit_test(test_unauthorized),
        cmocka_unit_test(test_store_lacks_a_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
