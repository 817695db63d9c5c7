#include "upstream/push/schema1/schema1.h"

#include "base/mem.h"
#include "image/manifest.h"
#include "store/batch.h"
#include "store/references.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ALWAYS 1000000
#define TAG "/v2/team/app/manifests/1"

/* A push of a schema2 image, and what schema1 says of it. */
struct fallback {
    struct push_test *test;
    struct fake_registry *fake;
    struct descriptor manifest;
    struct buf canonical;
};

static void put_schema2(struct fallback *fallback, const struct made_image *image,
                        struct descriptor *layer)
{
    struct error err = ERROR_INIT;
    autofree char *config = NULL;
    autobuf struct buf text = BUF_INIT(1 << 16);
    struct descriptor of_config = {.media_type = MEDIA_DOCKER_CONFIG, .digest = image->config};
    *layer = (struct descriptor){
        .media_type = MEDIA_DOCKER_LAYER_GZIP, .digest = image->layers[0], .size = 1000};
    struct batch *batch = batch_begin(fallback->test->store, BATCH_VOLATILE);
    assert_int_equal(
        batch_read_all(batch, &image->config, 1 << 16, "config", &config, &of_config.size, &err),
        ERR_OK);
    manifest_build_schema2(&of_config, layer, 1, &text);
    fallback->manifest =
        (struct descriptor){.media_type = MEDIA_DOCKER_MANIFEST, .size = text.size};
    assert_int_equal(batch_put_blob(batch, text.data, text.size, &fallback->manifest.digest, &err),
                     ERR_OK);
    assert_int_equal(batch_commit(batch, &err), ERR_OK);

    const struct schema1_image source = {.name = "team/app",
                                         .tag = "1",
                                         .config = config,
                                         .config_size = of_config.size,
                                         .layers = layer,
                                         .layer_count = 1};
    bool needs_empty = true;
    assert_int_equal(schema1_build(&source, &fallback->canonical, &needs_empty, &err), ERR_OK);
    assert_false(needs_empty);
}

/* The registry takes no schema2: its first two answers to the tag are 415. */
static void setup_with(struct fallback *fallback, struct fake_rule refusal)
{
    *fallback = (struct fallback){.canonical = BUF_INIT(1 << 16)};
    fallback->test = push_test_new(NULL);
    fallback->fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(fallback->test, "a", 1000);
    struct descriptor layer;
    put_schema2(fallback, &image, &layer);
    fake_registry_rule(fallback->fake, refusal);
}

static void setup(struct fallback *fallback)
{
    setup_with(fallback, (struct fake_rule){"PUT", TAG, 2, .status = 415});
}

static void teardown(struct fallback *fallback)
{
    fake_registry_stop(fallback->fake);
    push_test_free(fallback->test);
    buf_deinit(&fallback->canonical);
}

static void expect(struct fallback *fallback, enum errc want)
{
    const char *host = fake_registry_host(fallback->fake);
    enum errc code = push_test_push(fallback->test, &fallback->manifest, host);
    push_test_expect(fallback->test, code, want);
}

static void expect_schema1(struct fallback *fallback)
{
    const struct push_target *result = &fallback->test->result;
    struct digest digest =
        digest_of(DIGEST_SHA256, fallback->canonical.data, fallback->canonical.size);
    expect(fallback, ERR_OK);
    assert_true(digest_equal(&result->digest, &digest));
    assert_int_equal(result->size, fallback->canonical.size);
    assert_string_equal(result->media_type, MEDIA_DOCKER_SCHEMA1_SIGNED);

    /* The digest is recorded as a name of what the store holds. */
    struct push_request by_digest =
        push_test_request(&fallback->manifest, fake_registry_host(fallback->fake), "team/app");
    by_digest.target.digest = digest;
    struct named_manifest named;
    struct error err = ERROR_INIT;
    bool found = false;
    assert_int_equal(references_get(fallback->test->store, &by_digest.target, &found, &named, &err),
                     ERR_OK);
    assert_true(found);
    assert_true(digest_equal(&named.manifest, &fallback->manifest.digest));
}

static void test_a_registry_that_names_the_digest(void **state)
{
    (void)state;
    struct fallback fallback;
    setup(&fallback);
    char text[DIGEST_TEXT_MAX];
    struct digest digest =
        digest_of(DIGEST_SHA256, fallback.canonical.data, fallback.canonical.size);
    autofree char *headers = xasprintf("Docker-Content-Digest: %s\r\n", digest_text(&digest, text));
    fake_registry_rule(fallback.fake,
                       (struct fake_rule){"PUT", TAG, 1, .effect = true, .headers = headers});
    expect_schema1(&fallback);
    assert_int_equal(http_double_count(fake_registry_http(fallback.fake), "PUT " TAG), 3);
    teardown(&fallback);
}

/* Then its bytes are looked at: before their signatures, they are what was sent. */
static void test_a_registry_that_names_none(void **state)
{
    (void)state;
    struct fallback fallback;
    setup(&fallback);
    fake_registry_rule(fallback.fake, (struct fake_rule){"PUT", TAG, 1, .effect = true,
                                                         .headers = "X-Nothing: here\r\n"});
    fake_registry_rule(fallback.fake,
                       (struct fake_rule){"GET", TAG, ALWAYS, .headers = "X-Nothing: here\r\n",
                                          .body = buf_cstr(&fallback.canonical)});
    expect_schema1(&fallback);
    teardown(&fallback);
}

static void test_a_registry_that_serves_something_else(void **state)
{
    (void)state;
    struct fallback fallback;
    setup(&fallback);
    autofree char *other = xstrdup(buf_cstr(&fallback.canonical));
    other[strlen(other) - 4] = 'x';
    fake_registry_rule(fallback.fake, (struct fake_rule){"PUT", TAG, 1, .effect = true,
                                                         .headers = "X-Nothing: here\r\n"});
    fake_registry_rule(
        fallback.fake,
        (struct fake_rule){"GET", TAG, ALWAYS, .headers = "X-Nothing: here\r\n", .body = other});
    /* The first refusal is told, what became of the second try is in the log. */
    expect(&fallback, ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(fallback.test->result.error.status, 415);
    teardown(&fallback);
}

/* A single refusal is no reason: the image keeps its digest. */
static void test_a_registry_that_refuses_once(void **state)
{
    (void)state;
    static const struct fake_rule refusals[] = {
        {"PUT", TAG, 1, .status = 415},
        {"PUT", TAG, 1, .status = 405},
        {"PUT", TAG, 1, .status = 400, .body = "{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}"},
        {"PUT", TAG, 1, .status = 400, .body = "{\"errors\":[{\"code\":\"UNSUPPORTED\"}]}"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct fallback fallback;
        setup_with(&fallback, refusals[i]);
        expect(&fallback, ERR_OK);
        assert_string_equal(fallback.test->result.media_type, MEDIA_DOCKER_MANIFEST);
        assert_true(digest_equal(&fallback.test->result.digest, &fallback.manifest.digest));
        assert_int_equal(fallback.test->result.attempts, 2);
        teardown(&fallback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_registry_that_names_the_digest),
        cmocka_unit_test(test_a_registry_that_refuses_once),
        cmocka_unit_test(test_a_registry_that_names_none),
        cmocka_unit_test(test_a_registry_that_serves_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
