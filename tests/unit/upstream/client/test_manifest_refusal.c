#include "upstream/client/manifest_refusal.h"

#include "image/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

/* A layer to be sent, one of a type that is not distributed, one that is somewhere else. */
static const char image[] =
    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"sha256:" D
    "\",\"size\":2},\"layers\":["
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:" A
    "\",\"size\":1},"
    "{\"mediaType\":\"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip\","
    "\"digest\":\"sha256:" B "\",\"size\":1},"
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:" C
    "\",\"size\":1,\"urls\":[\"https://example.com/c\"]}]}";

#define TAG "1.0"
#define SHA256 "sha256:" A
#define SHA512 "sha512:" A B
#define ERROR(code, message, detail)                                                               \
    "{\"errors\":[{\"code\":\"" code "\",\"message\":\"" message "\",\"detail\":\"" detail "\"}]}"
#define UNKNOWN "{\"code\":\"UNKNOWN\",\"message\":\"unknown error\"}"

static const struct {
    int status;
    const char *reference;
    const char *body;
    const char *words; /* NULL: it may pass, or its code says that it does not */
} table[] = {
    /* docker-registry 2.8 and 3 know manifests by sha256 only. */
    {400, SHA512, ERROR("DIGEST_INVALID", "did not match", ""), "not sha256"},
    {400, SHA512 "?tag=a", ERROR("DIGEST_INVALID", "", ""), "not sha256"},
    {404, SHA512, ERROR("digest_invalid", "", ""), "not sha256"},
    /* Given a manifest twice at once it says the same. */
    {400, SHA256, ERROR("DIGEST_INVALID", "did not match", ""), NULL},
    {400, TAG, ERROR("DIGEST_INVALID", "did not match", ""), NULL},
    {400, SHA512, ERROR("MANIFEST_INVALID", "", ""), NULL},
    /* A layer that was never to be sent; one that was, which may turn up. */
    {400, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" C), "to be distributed"},
    {404, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "sha256:" C, ""), "to be distributed"},
    {400, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" A), NULL},
    {400, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" B), NULL},
    {500, TAG, ERROR("UNKNOWN", "unknown error", "sha256:" B), "to be distributed"},
    {500, TAG, ERROR("UNKNOWN", "unknown error", "sha256:" A), NULL},
    {400, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" D), NULL},
    {400, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", ""), NULL},
    /* As docker-registry says that the layer's URLs are none that it allows. */
    {500, TAG,
     "{\"errors\":[" UNKNOWN "," UNKNOWN ",{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"\","
     "\"detail\":\"sha256:" C "\"}]}",
     "to be distributed"},
    {500, TAG, "{\"errors\":[" UNKNOWN "]}", NULL},
    /* What it is, in the words of many. */
    {500, TAG, ERROR("UNKNOWN", "unsupported manifest media type", ""), "media type"},
    {400, SHA256, ERROR("UNKNOWN", "", "mediaType is not allowed"), "media type"},
    {422, TAG, "Invalid Content Type", "media type"},
    {400, TAG, ERROR("UNKNOWN", "no", ""), NULL},
    {400, TAG, "", NULL},
    /* About who asks, how often, and when: nothing about the manifest. */
    {401, SHA512, ERROR("DIGEST_INVALID", "", ""), NULL},
    {403, TAG, ERROR("DENIED", "media type", ""), NULL},
    {429, TAG, ERROR("TOOMANYREQUESTS", "media type", ""), NULL},
    {502, TAG, ERROR("UNKNOWN", "media type", ""), NULL},
    {503, TAG, ERROR("MANIFEST_BLOB_UNKNOWN", "", "sha256:" B), NULL},
};

static void final_ones_are_told_from_those_that_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct refused_manifest manifest = {table[i].reference, image, strlen(image)};
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        response.status = table[i].status;
        response.body = (struct buf)BUF_INIT(ANSWER_LIMIT_BYTES);
        buf_text(&response.body, table[i].body);
        const char *why = manifest_refusal_is_final(&manifest, &response);
        if ((why != NULL) != (table[i].words != NULL) || (why && !strstr(why, table[i].words)))
            fail_msg("%zu: %s", i, why ? why : "may pass");
    }
}

static void what_is_no_image_has_no_layers(void **state)
{
    (void)state;
    static const char *const documents[] = {"", "{}", "[",
                                            "{\"schemaVersion\":2,\"manifests\":[]}"};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        const struct refused_manifest manifest = {TAG, documents[i], strlen(documents[i])};
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        response.status = 400;
        response.body = (struct buf)BUF_INIT(ANSWER_LIMIT_BYTES);
        buf_text(&response.body, "sha256:" B);
        assert_null(manifest_refusal_is_final(&manifest, &response));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(final_ones_are_told_from_those_that_pass),
        cmocka_unit_test(what_is_no_image_has_no_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
