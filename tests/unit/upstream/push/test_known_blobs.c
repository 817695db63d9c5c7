#include "upstream/push/known_blobs.h"

#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_blob_is_known_at_one_endpoint(void **state)
{
    (void)state;
    struct known_blobs *known = known_blobs_new();
    struct endpoint endpoints[2];
    struct digest a = digest_of(DIGEST_SHA256, "a", 1);
    struct digest b = digest_of(DIGEST_SHA256, "b", 1);
    assert_false(known_blobs_has(known, &endpoints[0], &a));
    known_blobs_add(known, &endpoints[0], &a);
    known_blobs_add(known, &endpoints[0], &a);
    known_blobs_add(known, &endpoints[1], &b);
    assert_true(known_blobs_has(known, &endpoints[0], &a));
    assert_false(known_blobs_has(known, &endpoints[0], &b));
    assert_false(known_blobs_has(known, &endpoints[1], &a));
    assert_true(known_blobs_has(known, &endpoints[1], &b));
    known_blobs_free(known);
    known_blobs_free(NULL);
}

static void what_was_brought_ahead_is_counted_once(void **state)
{
    (void)state;
    struct known_blobs *known = known_blobs_new();
    struct endpoint endpoints[2];
    const struct digest a = digest_of(DIGEST_SHA256, "a", 1);
    const struct digest b = digest_of(DIGEST_SHA256, "b", 1);
    const struct layer_outcome sent = {.end = LAYER_UPLOADED, .sent_bytes = 7};
    const struct layer_outcome mounted = {.end = LAYER_MOUNTED, .source = "r/other"};
    struct layer_outcome how = {.end = LAYER_EXISTED};
    assert_false(known_blobs_claim(known, &endpoints[0], &a, &how));
    known_blobs_add(known, &endpoints[0], &a);
    assert_false(known_blobs_claim(known, &endpoints[0], &a, &how));
    known_blobs_add_brought(known, &endpoints[0], &a, &mounted);
    known_blobs_add_brought(known, &endpoints[0], &a, &sent);
    known_blobs_add_brought(known, &endpoints[0], &b, &mounted);
    known_blobs_add(known, &endpoints[0], &b);
    assert_true(known_blobs_has(known, &endpoints[0], &b));
    assert_false(known_blobs_claim(known, &endpoints[1], &a, &how));
    assert_int_equal(how.end, LAYER_EXISTED);
    assert_true(known_blobs_claim(known, &endpoints[0], &a, &how));
    assert_int_equal(how.end, LAYER_UPLOADED);
    assert_int_equal(how.sent_bytes, 7);
    assert_false(known_blobs_claim(known, &endpoints[0], &a, &how));
    assert_true(known_blobs_has(known, &endpoints[0], &a));
    assert_true(known_blobs_claim(known, &endpoints[0], &b, &how));
    assert_int_equal(how.end, LAYER_MOUNTED);
    assert_string_equal(how.source, "r/other");
    known_blobs_add_brought(known, &endpoints[1], &a, &sent); /* nobody claims it */
    known_blobs_free(known);
}

static void tags_pushed_together_ask_once(void **state)
{
    (void)state;
    enum { TAGS = 3 };
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct http_double *http = fake_registry_http(fake);
    const char *host = fake_registry_host(fake);
    struct made_image image = push_test_image(test, "abc", 5000);
    static const char *const names[TAGS] = {"team/app:1", "team/app:1.0", "team/app:latest"};
    struct push_request requests[TAGS];
    struct push_target results[TAGS];
    for (size_t i = 0; i < TAGS; i++)
        requests[i] = push_test_request(&image.manifest, host, names[i]);
    push_test_upstream(test, host);
    push_test_all(test, requests, TAGS, NULL, &test->cancel, results);
    for (size_t i = 0; i < TAGS; i++) {
        assert_int_equal(results[i].state, PUSH_PUSHED);
        assert_int_equal(results[i].layers.uploaded, i == 0 ? 3 : 0);
        assert_int_equal(results[i].layers.existed, i == 0 ? 0 : 3);
    }
    assert_int_equal(http_double_count(http, "HEAD /v2/team/app/blobs/"), 4);
    assert_int_equal(http_double_count(http, "POST /v2/team/app/blobs/"), 4);
    fake_registry_stop(fake);
    push_test_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_is_known_at_one_endpoint),
        cmocka_unit_test(what_was_brought_ahead_is_counted_once),
        cmocka_unit_test(tags_pushed_together_ask_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
