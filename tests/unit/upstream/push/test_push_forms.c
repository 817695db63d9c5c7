/*
 * Forms of a push beside a tag and an image of a known kind: under a digest, with blobs named by
 * SHA-512, of any media type.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/batch.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"
#include "upstream/push/known_blobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define FOREIGN_TYPE "application/vnd.example.thing.v1+json"
#define MANIFESTS "/v2/team/app/manifests/"
#define UPLOADS "/v2/team/app/blobs/uploads/"

static struct descriptor put(struct push_test *test, enum digest_algorithm algorithm,
                             const char *type, const char *content)
{
    struct error err = ERROR_INIT;
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    struct blob_writer *writer = NULL;
    struct descriptor made = {.size = strlen(content)};
    made.digest = digest_of(algorithm, content, strlen(content));
    snprintf(made.media_type, sizeof made.media_type, "%s", type);
    if (blob_writer_open(batch, &writer, &err) != ERR_OK ||
        blob_writer_write(writer, content, strlen(content), &err) != ERR_OK ||
        blob_writer_commit(writer, &made.digest, &err) != ERR_OK ||
        batch_commit(batch, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return made;
}

static void put_descriptor(struct buf *out, const struct descriptor *of)
{
    char digest[DIGEST_TEXT_MAX];
    buf_format(out, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", of->media_type,
               digest_text(&of->digest, digest), (unsigned long long)of->size);
}

/* An image of one layer, all of it named by `algorithm`. */
struct small_image {
    struct descriptor config, layer, manifest;
};

static struct small_image put_image(struct push_test *test, enum digest_algorithm algorithm,
                                    const char *type)
{
    autobuf struct buf text = BUF_INIT(1 << 16);
    struct small_image image = {
        .config = put(test, algorithm, MEDIA_OCI_EMPTY, "{}"),
        .layer = put(test, algorithm, "application/x-data", "some data"),
    };
    buf_format(&text, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":", type);
    put_descriptor(&text, &image.config);
    buf_text(&text, ",\"layers\":[");
    put_descriptor(&text, &image.layer);
    buf_text(&text, "]}");
    image.manifest = put(test, algorithm, type, buf_cstr(&text));
    return image;
}

static bool has(struct fake_registry *fake, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    return fake_registry_has(fake, digest_text(digest, text));
}

static size_t puts_under_digest(struct fake_registry *fake, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *line = xasprintf("PUT " MANIFESTS "%s", digest_text(digest, text));
    return http_double_count(fake_registry_http(fake), line);
}

static struct push_request by_digest(const struct descriptor *manifest, const char *host)
{
    struct push_request request = push_test_request(manifest, host, "team/app");
    request.target.digest = manifest->digest;
    return request;
}

static enum errc push(struct push_test *test, struct fake_registry *fake,
                      const struct push_request *request)
{
    push_test_upstream(test, fake_registry_host(fake));
    return push_test_one(test, request, NULL, &test->cancel, &test->result);
}

/* --- under a digest --- */

static void test_under_its_own_digest(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "ab", LAYER_BYTES);
    struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    assert_int_equal(puts_under_digest(fake, &image.manifest.digest), 1);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT " MANIFESTS), 1);
    assert_true(digest_equal(&test->result.digest, &image.manifest.digest));
    assert_true(digest_equal(&test->result.reference.digest, &image.manifest.digest));
    assert_string_equal(test->result.reference.tag, "");
    assert_int_equal(test->result.layers.uploaded, 2);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_another_digest_is_refused(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    request.target.digest = image.config;
    push_test_expect(test, push(test, fake, &request), ERR_DIGEST_REFERENCE);
    request = by_digest(&image.manifest, fake_registry_host(fake));
    strcpy(request.target.tag, "1");
    push_test_expect(test, push(test, fake, &request), ERR_DIGEST_REFERENCE);
    assert_int_equal(http_double_count(fake_registry_http(fake), ""), 0);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_referrers_follow_a_digest(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    struct made_image signature = push_test_image(test, "b", LAYER_BYTES);
    const struct push_referrer referrer = {.manifest = signature.manifest, .tag = "sig"};
    struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    request.referrers = &referrer;
    request.referrer_count = 1;
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    struct http_double *http = fake_registry_http(fake);
    assert_int_equal(puts_under_digest(fake, &image.manifest.digest), 1);
    assert_int_equal(http_double_count(http, "PUT " MANIFESTS), 2);
    assert_true(http_double_position(http, "PUT " MANIFESTS "sha256:") <
                http_double_position(http, "PUT " MANIFESTS "sig"));
    fake_registry_stop(fake);
    push_test_free(test);
}

/* A digest that was asked for cannot be that of a schema1 manifest. */
static void test_no_other_kind_under_a_digest(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct small_image image = put_image(test, DIGEST_SHA256, MEDIA_DOCKER_MANIFEST);
    fake_registry_rule(
        fake, (struct fake_rule){"PUT", "/manifests/", 10, .status = 400,
                                 .body = "{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}"});
    struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    push_test_expect(test, push(test, fake, &request), ERR_MANIFEST_REFUSED);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT " MANIFESTS), 2);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_a_digest_is_confirmed(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    const struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    struct fake_rule nameless = {"PUT", "/manifests/", 1, .status = 201, .headers = "X: y\r\n"};
    fake_registry_rule(fake, nameless);
    push_test_expect(test, push(test, fake, &request), ERR_PUSHED_DIGEST);
    nameless.effect = true;
    fake_registry_rule(fake, nameless);
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- kinds --- */

static void test_a_manifest_of_an_unknown_kind_goes_alone(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    const struct descriptor manifest =
        put(test, DIGEST_SHA256, FOREIGN_TYPE, "{\"mediaType\":\"" FOREIGN_TYPE "\",\"a\":[1]}");
    push_test_expect(test, push_test_push(test, &manifest, fake_registry_host(fake)), ERR_OK);
    assert_string_equal(test->result.media_type, FOREIGN_TYPE);
    assert_true(digest_equal(&test->result.digest, &manifest.digest));
    assert_int_equal(http_double_count(fake_registry_http(fake), "POST"), 0);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT"), 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_an_unknown_type_with_the_shape_of_an_image(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct small_image image = put_image(test, DIGEST_SHA256, FOREIGN_TYPE);
    push_test_expect(test, push_test_push(test, &image.manifest, fake_registry_host(fake)), ERR_OK);
    assert_string_equal(test->result.media_type, FOREIGN_TYPE);
    assert_true(has(fake, &image.config.digest) && has(fake, &image.layer.digest));
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_sha512(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct small_image image = put_image(test, DIGEST_SHA512, MEDIA_OCI_MANIFEST);
    struct push_request request = by_digest(&image.manifest, fake_registry_host(fake));
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    assert_int_equal(test->result.digest.algorithm, DIGEST_SHA512);
    assert_true(digest_equal(&test->result.digest, &image.manifest.digest));
    assert_int_equal(puts_under_digest(fake, &image.manifest.digest), 1);
    assert_true(has(fake, &image.config.digest) && has(fake, &image.layer.digest));
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT " UPLOADS), 2);

    /* Under a tag the registry names it by its own algorithm; nothing is sent again. */
    request = push_test_request(&image.manifest, fake_registry_host(fake), "team/app:1");
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    assert_int_equal(test->result.digest.algorithm, DIGEST_SHA512);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT " UPLOADS), 2);

    /* The same when the answer got lost. */
    fake_registry_rule(fake, (struct fake_rule){"PUT", "/manifests/1", 1, .status = 500});
    push_test_expect(test, push(test, fake, &request), ERR_OK);
    assert_int_equal(test->result.attempts, 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- what is known beforehand --- */

static void test_what_is_remembered_is_used(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "ab", LAYER_BYTES);
    const char *host = fake_registry_host(fake);
    struct upstream *upstream = push_test_upstream(test, host);
    struct registry_host *known_host = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(registries_host(upstream->registries, host, &known_host, &err), ERR_OK);
    struct push_request requests[] = {
        push_test_request(&image.manifest, host, "team/app:1"),
        push_test_request(&image.manifest, host, "team/app:2"),
    };
    struct known_blobs *known =
        repository_memory_hold(upstream->memory, &requests[0].target, clock_ms());
    known_blobs_add(known, &known_host->endpoints[0], &image.layers[0]);

    struct push_target results[2];
    requests[0].remembers = true;
    push_test_all(test, requests, 2, NULL, &test->cancel, results);
    assert_int_equal(results[0].state, PUSH_PUSHED);
    assert_int_equal(results[1].state, PUSH_PUSHED);
    assert_int_equal(results[0].layers.existed, 1);
    assert_int_equal(results[0].layers.uploaded, 1);
    assert_int_equal(results[1].layers.existed, 2);
    /* One layer and the config, each once. */
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT " UPLOADS), 2);
    assert_int_equal(http_double_count(fake_registry_http(fake), "HEAD "), 2);
    assert_true(known_blobs_has(known, &known_host->endpoints[0], &image.layers[1]));
    assert_true(known_blobs_has(known, &known_host->endpoints[0], &image.config));

    /* A push that does not remember asks. */
    requests[0].remembers = false;
    assert_int_equal(push_test_one(test, &requests[0], NULL, &test->cancel, &results[0]), ERR_OK);
    assert_int_equal(http_double_count(fake_registry_http(fake), "HEAD "), 5);
    repository_memory_release(upstream->memory, known);
    fake_registry_stop(fake);
    push_test_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_under_its_own_digest),
        cmocka_unit_test(test_another_digest_is_refused),
        cmocka_unit_test(test_referrers_follow_a_digest),
        cmocka_unit_test(test_no_other_kind_under_a_digest),
        cmocka_unit_test(test_a_digest_is_confirmed),
        cmocka_unit_test(test_a_manifest_of_an_unknown_kind_goes_alone),
        cmocka_unit_test(test_an_unknown_type_with_the_shape_of_an_image),
        cmocka_unit_test(test_sha512),
        cmocka_unit_test(test_what_is_remembered_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
