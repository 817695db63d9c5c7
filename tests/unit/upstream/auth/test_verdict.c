#include "upstream/auth/verdict.h"

#include "image/manifest.h"
#include "upstream/auth/answer.h"

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
#define CODE(code) "{\"errors\":[{\"code\":\"" code "\"}]}"
#define PAGE "<html><head><title>400 Bad Request</title></head></html>"
#define SCHEMA1 "application/vnd.docker.distribution.manifest.v1+prettyjws"

#define BUSY (HINT_WHO | HINT_BUSY | HINT_KEEP)
#define GONE (HINT_SESSION | HINT_LOOK)
#define BROKE (HINT_LOOK | HINT_RESUME)
#define AWAY (HINT_ENDPOINT | HINT_LOOK | HINT_RESUME)

/* "" and 0 where it makes no difference. `passes`: the same may be answered otherwise later. */
static const struct {
    enum asked asked;
    int status;
    const char *body;
    const char *reference;
    enum errc code;
    unsigned hints;
    bool passes;
    const char *words;
} table[] = {
#define FINAL false
#define PASSES true
    /* what was hoped for */
    {ASKED_PING, 200, "{}", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_TOKEN, 200, "{}", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_BLOB, 200, "", SHA256, ERR_OK, 0, FINAL, NULL},
    {ASKED_MOUNT, 201, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_MOUNT, 202, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_MOUNT, 200, "", "", ERR_REGISTRY_ANSWER, 0, PASSES, NULL},
    {ASKED_SESSION, 200, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_SESSION, 202, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_SESSION, 203, "", "", ERR_REGISTRY_ANSWER, 0, PASSES, NULL},
    {ASKED_OFFSET, 200, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_OFFSET, 204, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_CHUNK, 202, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_CHUNK, 204, "", "", ERR_OK, 0, FINAL, NULL},
    {ASKED_CHUNK, 200, "", "", ERR_REGISTRY_ANSWER, 0, PASSES, NULL},
    {ASKED_COMMIT, 200, "", SHA256, ERR_OK, 0, FINAL, NULL},
    {ASKED_COMMIT, 201, "", SHA256, ERR_OK, 0, FINAL, NULL},
    {ASKED_COMMIT, 204, "", SHA256, ERR_OK, 0, FINAL, NULL},
    {ASKED_POST_BLOB, 201, "", SHA256, ERR_OK, 0, FINAL, NULL},
    {ASKED_POST_BLOB, 202, "", SHA256, ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, "in one POST"},
    {ASKED_MANIFEST, 200, "{}", TAG, ERR_OK, 0, FINAL, NULL},
    {ASKED_MANIFEST, 404, CODE("NAME_UNKNOWN"), TAG, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 200, "", TAG, ERR_OK, 0, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 204, "", TAG, ERR_OK, 0, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 205, "", TAG, ERR_REGISTRY_ANSWER, 0, PASSES, NULL},

    /* is it there? Only an upload tells, but for patience that is asked for */
    {ASKED_BLOB, 204, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 308, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 403, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 404, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 408, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 429, "", SHA256, ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_BLOB, 451, "", SHA256, ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_BLOB, 501, "", SHA256, ERR_REGISTRY_FAULT, HINT_ABSENT, PASSES, NULL},
    {ASKED_BLOB, 503, "", SHA256, ERR_REGISTRY_FAULT, HINT_ABSENT, PASSES, NULL},
    {ASKED_OFFSET, 404, CODE("BLOB_UPLOAD_UNKNOWN"), "", ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_OFFSET, 403, "", "", ERR_OK, HINT_ABSENT, FINAL, NULL},
    {ASKED_OFFSET, 408, "", "", ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_OFFSET, 429, "", "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_OFFSET, 500, "", "", ERR_REGISTRY_FAULT, BROKE, PASSES, NULL},

    /* not now, whatever was asked */
    {ASKED_ANYTHING, 429, CODE("DENIED"), "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_COMMIT, 403, CODE("TOOMANYREQUESTS"), "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_SESSION, 503, CODE("toomanyrequests"), "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_CHUNK, 408, "", "", ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_CHUNK, 499, CODE("UNKNOWN"), "", ERR_CONNECTION_LOST, 0, PASSES, NULL},
    {ASKED_COMMIT, 499, CODE("UNKNOWN"), "", ERR_CONNECTION_LOST, 0, PASSES, NULL},
    {ASKED_SESSION, 421, "", "", ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_COMMIT, 423, "", "", ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_PUT_MANIFEST, 425, "", TAG, ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_PUT_MANIFEST, 408, "media type", TAG, ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_PING, 429, PAGE, "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},
    {ASKED_PING, 425, "", "", ERR_REGISTRY_FAULT, HINT_KEEP, PASSES, NULL},
    {ASKED_TOKEN, 429, "", "", ERR_TOO_MANY_REQUESTS, BUSY, PASSES, NULL},

    /* is it a registry? */
    {ASKED_PING, 401, CODE("DENIED"), "", ERR_UNAUTHORIZED, HINT_WHO, FINAL, NULL},
    {ASKED_PING, 403, PAGE, "", ERR_DENIED, 0, FINAL, NULL},
    {ASKED_PING, 204, "", "", ERR_NOT_A_REGISTRY, 0, FINAL, NULL},
    {ASKED_PING, 302, "", "", ERR_NOT_A_REGISTRY, 0, FINAL, NULL},
    {ASKED_PING, 404, CODE("NAME_UNKNOWN"), "", ERR_NOT_A_REGISTRY, 0, FINAL, NULL},
    {ASKED_PING, 451, PAGE, "", ERR_NOT_A_REGISTRY, 0, FINAL, NULL},
    {ASKED_PING, 502, PAGE, "", ERR_REGISTRY_FAULT, AWAY, PASSES, NULL},
    {ASKED_PING, 511, PAGE, "", ERR_REGISTRY_REFUSED, 0, FINAL, "wants a login first"},

    /* a token server that knows no POST */
    {ASKED_TOKEN, 303, "", "", ERR_REGISTRY_ANSWER, HINT_METHOD, PASSES, NULL},
    {ASKED_TOKEN, 400, "{\"error\":\"invalid_grant\"}", "", ERR_REGISTRY_REFUSED, HINT_METHOD,
     FINAL, NULL},
    {ASKED_TOKEN, 400, CODE("UNAUTHORIZED"), "", ERR_UNAUTHORIZED, HINT_METHOD, FINAL, NULL},
    {ASKED_TOKEN, 401, CODE("DENIED"), "", ERR_DENIED, HINT_METHOD, FINAL, NULL},
    {ASKED_TOKEN, 401, "", "", ERR_UNAUTHORIZED, HINT_METHOD, FINAL, NULL},
    {ASKED_TOKEN, 403, "", "", ERR_DENIED, 0, FINAL, NULL},
    {ASKED_TOKEN, 404, PAGE, "", ERR_REGISTRY_REFUSED, HINT_METHOD, FINAL, NULL},
    {ASKED_TOKEN, 405, "", "", ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, NULL},
    {ASKED_TOKEN, 410, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},

    /* who asks, and where */
    {ASKED_COMMIT, 401, "", SHA256, ERR_UNAUTHORIZED, HINT_WHO, FINAL, NULL},
    {ASKED_SESSION, 401, CODE("DENIED"), "", ERR_DENIED, 0, FINAL, NULL},
    {ASKED_SESSION, 404, CODE("UNAUTHORIZED"), "", ERR_UNAUTHORIZED, HINT_WHO, FINAL, NULL},
    {ASKED_CHUNK, 403, PAGE, "", ERR_DENIED, 0, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 400, CODE("DENIED"), TAG, ERR_DENIED, 0, FINAL, NULL},
    {ASKED_SESSION, 400, CODE("NAME_INVALID"), "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_CHUNK, 404, CODE("NAME_UNKNOWN"), "", ERR_NAME_UNKNOWN, 0, FINAL, NULL},
    {ASKED_MANIFEST, 403, "", TAG, ERR_DENIED, 0, FINAL, NULL},

    /* bodies of blobs: the way, the upload, the bytes */
    {ASKED_COMMIT, 405, "", SHA256, ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, NULL},
    {ASKED_CHUNK, 415, "", "", ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, NULL},
    {ASKED_CHUNK, 501, "", "", ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, NULL},
    {ASKED_CHUNK, 400, CODE("UNSUPPORTED"), "", ERR_REGISTRY_UNSUPPORTED, HINT_METHOD, FINAL, NULL},
    {ASKED_COMMIT, 413, PAGE, SHA256, ERR_REGISTRY_REFUSED, HINT_METHOD | HINT_SMALLER, FINAL,
     "limits the size"},
    {ASKED_CHUNK, 413, CODE("SIZE_INVALID"), "", ERR_REGISTRY_REFUSED, HINT_METHOD | HINT_SMALLER,
     FINAL, "limits the size"},
    {ASKED_CHUNK, 416, CODE("BLOB_UPLOAD_INVALID"), "", ERR_REGISTRY_FAULT,
     HINT_OFFSET | HINT_RESUME, PASSES, NULL},
    {ASKED_COMMIT, 404, "", SHA256, ERR_UPLOAD_UNKNOWN, GONE | HINT_UNTRIED, PASSES, NULL},
    {ASKED_POST_BLOB, 404, PAGE, SHA256, ERR_UPLOAD_UNKNOWN, GONE | HINT_UNTRIED, PASSES, NULL},
    {ASKED_CHUNK, 404, "", "", ERR_UPLOAD_UNKNOWN, GONE, PASSES, NULL},
    {ASKED_CHUNK, 410, "", "", ERR_UPLOAD_UNKNOWN, GONE, PASSES, NULL},
    {ASKED_COMMIT, 404, CODE("BLOB_UPLOAD_UNKNOWN"), SHA256, ERR_UPLOAD_UNKNOWN, GONE, PASSES,
     NULL},
    {ASKED_COMMIT, 400, CODE("DIGEST_INVALID"), SHA256, ERR_REGISTRY_FAULT,
     HINT_UNTRIED | HINT_BYTES, PASSES, NULL},
    {ASKED_COMMIT, 400, CODE("DIGEST_INVALID"), SHA512, ERR_REGISTRY_UNSUPPORTED,
     HINT_UNTRIED | HINT_BYTES, FINAL, "not sha256"},
    {ASKED_POST_BLOB, 400, CODE("DIGEST_INVALID"), SHA512, ERR_REGISTRY_UNSUPPORTED, HINT_BYTES,
     FINAL, "not sha256"},
    {ASKED_COMMIT, 400, CODE("SIZE_INVALID"), SHA256, ERR_REGISTRY_FAULT, HINT_UNTRIED | HINT_BYTES,
     PASSES, NULL},
    {ASKED_COMMIT, 422, "", SHA256, ERR_REGISTRY_FAULT, HINT_UNTRIED | HINT_BYTES, PASSES, NULL},
    {ASKED_COMMIT, 500, CODE("UNKNOWN"), SHA256, ERR_REGISTRY_FAULT, HINT_UNTRIED | BROKE, PASSES,
     NULL},
    {ASKED_CHUNK, 400, CODE("BLOB_UPLOAD_INVALID"), "", ERR_REGISTRY_FAULT, HINT_BYTES, PASSES,
     NULL},
    {ASKED_CHUNK, 400, PAGE, "", ERR_REGISTRY_FAULT, HINT_BYTES, PASSES, NULL},
    {ASKED_POST_BLOB, 422, "", SHA256, ERR_REGISTRY_FAULT, HINT_BYTES, PASSES, NULL},
    {ASKED_COMMIT, 409, "", SHA256, ERR_REGISTRY_FAULT, 0, PASSES, NULL},
    {ASKED_CHUNK, 500, "", "", ERR_REGISTRY_FAULT, BROKE, PASSES, NULL},

    /* the code alone */
    {ASKED_SESSION, 400, CODE("UNSUPPORTED"), "", ERR_REGISTRY_UNSUPPORTED, 0, FINAL, NULL},
    {ASKED_SESSION, 404, CODE("BLOB_UPLOAD_UNKNOWN"), "", ERR_UPLOAD_UNKNOWN, 0, PASSES, NULL},
    {ASKED_MOUNT, 404, CODE("BLOB_UNKNOWN"), "", ERR_BLOB_NOT_THERE, HINT_BLOBS, PASSES, NULL},
    {ASKED_MANIFEST, 400, CODE("MANIFEST_UNKNOWN"), TAG, ERR_MANIFEST_UNKNOWN, HINT_BLOBS, FINAL,
     NULL},
    {ASKED_PUT_MANIFEST, 422, CODE("MANIFEST_INVALID"), TAG, ERR_MANIFEST_REFUSED, HINT_BLOBS,
     FINAL, NULL},
    {ASKED_PUT_MANIFEST, 400, CODE("MANIFEST_UNVERIFIED"), TAG, ERR_MANIFEST_REFUSED, 0, FINAL,
     NULL},
    {ASKED_PUT_MANIFEST, 400, CODE("TAG_INVALID"), TAG, ERR_MANIFEST_REFUSED, 0, FINAL, NULL},
    {ASKED_MANIFEST, 400, CODE("DIGEST_INVALID"), SHA256, ERR_REGISTRY_FAULT, 0, PASSES, NULL},

    /* the status alone */
    {ASKED_SESSION, 400, PAGE, "", ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    {ASKED_SESSION, 402, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_SESSION, 404, "", "", ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    {ASKED_SESSION, 405, "", "", ERR_REGISTRY_UNSUPPORTED, 0, FINAL, NULL},
    {ASKED_SESSION, 409, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_MOUNT, 415, "", "", ERR_REGISTRY_UNSUPPORTED, 0, FINAL, NULL},
    {ASKED_MOUNT, 501, "", "", ERR_REGISTRY_UNSUPPORTED, 0, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 404, "", TAG, ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 409, "", TAG, ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_PUT_MANIFEST, 413, PAGE, TAG, ERR_REGISTRY_REFUSED, 0, FINAL, "limits the size"},
    {ASKED_PUT_MANIFEST, 422, "", TAG, ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    {ASKED_COMMIT, 412, "", SHA256, ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_COMMIT, 451, "", SHA256, ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_CHUNK, 431, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_ANYTHING, 498, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_ANYTHING, 499, "", "", ERR_CONNECTION_LOST, 0, PASSES, NULL},
    {ASKED_SESSION, 500, "", "", ERR_REGISTRY_FAULT, BROKE, PASSES, NULL},
    {ASKED_SESSION, 502, PAGE, "", ERR_REGISTRY_FAULT, AWAY, PASSES, NULL},
    {ASKED_COMMIT, 503, "", SHA256, ERR_REGISTRY_FAULT, AWAY | HINT_BUSY, PASSES, NULL},
    {ASKED_PUT_MANIFEST, 504, "", TAG, ERR_REGISTRY_FAULT, AWAY, PASSES, NULL},
    {ASKED_SESSION, 505, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_COMMIT, 507, "", SHA256, ERR_REGISTRY_FAULT, HINT_LOOK, PASSES, "no room left"},
    {ASKED_SESSION, 508, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_SESSION, 508, CODE("LOOP_DETECTED"), "", ERR_LOOP, 0, FINAL, NULL},
    {ASKED_CHUNK, 509, "", "", ERR_REGISTRY_FAULT, BROKE, PASSES, NULL},
    {ASKED_SESSION, 510, "", "", ERR_REGISTRY_REFUSED, 0, FINAL, NULL},
    {ASKED_CHUNK, 522, PAGE, "", ERR_REGISTRY_FAULT, AWAY, PASSES, NULL},
    {ASKED_CHUNK, 525, PAGE, "", ERR_REGISTRY_FAULT, BROKE, PASSES, NULL},
    {ASKED_SESSION, 302, "", "", ERR_ADDRESS_REFUSED, 0, FINAL, "does not follow"},
    {ASKED_PUT_MANIFEST, 308, "", TAG, ERR_ADDRESS_REFUSED, 0, FINAL, "does not follow"},
    {ASKED_SESSION, 206, "", "", ERR_REGISTRY_ANSWER, 0, PASSES, NULL},
    {ASKED_SESSION, 666, "", "", ERR_REGISTRY_ANSWER, 0, PASSES, NULL},

/* manifests; docker-registry 2.8 and 3 know them by sha256 only. */
#define PUT ASKED_PUT_MANIFEST
#define FOR_GOOD(hints, words) ERR_MANIFEST_REFUSED, hints, FINAL, words
#define FAULT(hints) ERR_REGISTRY_FAULT, hints, PASSES, NULL
#define NOT_THERE ERR_BLOB_NOT_THERE, HINT_BLOBS, PASSES, NULL
    {PUT, 400, ERROR("DIGEST_INVALID", "did not match", ""), SHA512, FOR_GOOD(0, "not sha256")},
    {PUT, 400, CODE("DIGEST_INVALID"), SHA512 "?tag=a", FOR_GOOD(0, "not sha256")},
    {PUT, 404, CODE("digest_invalid"), SHA512, FOR_GOOD(0, "not sha256")},
    /* Given a manifest twice at once it says the same. */
    {PUT, 400, ERROR("DIGEST_INVALID", "did not match", ""), SHA256, FAULT(HINT_BLOBS)},
    {PUT, 400, CODE("DIGEST_INVALID"), TAG, FAULT(HINT_BLOBS)},
    {PUT, 400, CODE("MANIFEST_INVALID"), SHA512,
     FOR_GOOD(HINT_KIND | HINT_DOUBT | HINT_BLOBS, NULL)},
    /* A layer that was never to be sent; one that was, which may turn up. */
    {PUT, 400, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" C), TAG,
     FOR_GOOD(0, "to be distributed")},
    {PUT, 404, ERROR("MANIFEST_BLOB_UNKNOWN", "sha256:" C, ""), TAG,
     FOR_GOOD(0, "to be distributed")},
    {PUT, 400, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" A), TAG, NOT_THERE},
    {PUT, 400, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" B), TAG, NOT_THERE},
    {PUT, 500, ERROR("UNKNOWN", "unknown error", "sha256:" B), TAG,
     FOR_GOOD(0, "to be distributed")},
    {PUT, 500, ERROR("UNKNOWN", "unknown error", "sha256:" A), TAG, FAULT(BROKE)},
    {PUT, 400, ERROR("MANIFEST_BLOB_UNKNOWN", "blob unknown", "sha256:" D), TAG, NOT_THERE},
    {PUT, 400, CODE("MANIFEST_BLOB_UNKNOWN"), TAG, NOT_THERE},
    /* As docker-registry says that the layer's URLs are none that it allows. */
    {PUT, 500,
     "{\"errors\":[" UNKNOWN "," UNKNOWN ",{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"\","
     "\"detail\":\"sha256:" C "\"}]}",
     TAG, FOR_GOOD(0, "to be distributed")},
    {PUT, 500, "{\"errors\":[" UNKNOWN "]}", TAG, FAULT(BROKE)},
    /* What it is, in the words of many. */
    {PUT, 500, ERROR("UNKNOWN", "unsupported manifest media type", ""), TAG,
     FOR_GOOD(0, "media type")},
    {PUT, 400, ERROR("UNKNOWN", "", "mediaType is not allowed"), SHA256, FOR_GOOD(0, "media type")},
    {PUT, 422, "Invalid Content Type", TAG, FOR_GOOD(0, "media type")},
    {PUT, 400, ERROR("UNSUPPORTED", "media type", ""), TAG,
     FOR_GOOD(HINT_KIND | HINT_DOUBT, "media type")},
    {PUT, 400, ERROR("MANIFEST_INVALID", "media type", ""), TAG,
     FOR_GOOD(HINT_KIND | HINT_DOUBT, "media type")},
    {PUT, 405, "media type", TAG, FOR_GOOD(HINT_KIND, "media type")},
    {PUT, 415, "media type", TAG, FOR_GOOD(HINT_KIND, "media type")},
    {PUT, 400, CODE("UNSUPPORTED"), TAG, ERR_REGISTRY_UNSUPPORTED, HINT_KIND | HINT_DOUBT, FINAL,
     NULL},
    {PUT, 405, "", TAG, ERR_REGISTRY_UNSUPPORTED, HINT_KIND, FINAL, NULL},
    {PUT, 415, "", TAG, ERR_REGISTRY_UNSUPPORTED, HINT_KIND, FINAL, NULL},
    {PUT, 400, ERROR("UNKNOWN", "no", ""), TAG, ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    {PUT, 400, "", TAG, ERR_REGISTRY_REFUSED, HINT_BLOBS, FINAL, NULL},
    /* About who asks, how often, and when: nothing about the manifest. */
    {PUT, 401, CODE("DIGEST_INVALID"), SHA512, ERR_UNAUTHORIZED, HINT_WHO, FINAL, NULL},
    {PUT, 403, ERROR("DENIED", "media type", ""), TAG, ERR_DENIED, 0, FINAL, NULL},
    {PUT, 429, ERROR("TOOMANYREQUESTS", "media type", ""), TAG, ERR_TOO_MANY_REQUESTS, BUSY, PASSES,
     NULL},
    {PUT, 502, ERROR("UNKNOWN", "media type", ""), TAG, FAULT(AWAY)},
    {PUT, 503, ERROR("MANIFEST_BLOB_UNKNOWN", "", "sha256:" B), TAG, NOT_THERE},
};

static struct http_response made(int status, const char *body)
{
    struct http_response response = HTTP_RESPONSE_INIT;
    response.status = status;
    response.body = (struct buf)BUF_INIT(ANSWER_LIMIT_BYTES);
    buf_text(&response.body, body);
    return response;
}

static void every_row_means_what_it_says(void **state)
{
    (void)state;
    bool seen[256] = {false};
    assert_true(verdict_rows() < sizeof seen);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct question question = {.what = table[i].asked,
                                          .reference = table[i].reference,
                                          .manifest = image,
                                          .manifest_size = strlen(image)};
        autoresponse struct http_response response = made(table[i].status, table[i].body);
        const struct verdict verdict = verdict_of(&question, &response);
        const char *words = verdict.words ? verdict.words : "";
        if (verdict.code != table[i].code || verdict.hints != table[i].hints ||
            error_retriable(verdict.code) != table[i].passes ||
            (words[0] != '\0') != (table[i].words != NULL) ||
            strstr(words, table[i].words ? table[i].words : "") == NULL)
            fail_msg("%d of %zu: asked %d, status %d, %s: %s %x \"%s\"", (int)i,
                     sizeof table / sizeof table[0], (int)table[i].asked, table[i].status,
                     table[i].body, error_name(verdict.code), verdict.hints, words);
        seen[verdict.row] = true;
    }
    const struct question signed_one = {.what = ASKED_PUT_MANIFEST, .media_type = SCHEMA1};
    autoresponse struct http_response fault = made(500, "");
    const struct verdict refused = verdict_of(&signed_one, &fault);
    assert_int_equal(refused.code, ERR_REGISTRY_REFUSED);
    seen[refused.row] = true;
    for (size_t row = 0; row < verdict_rows(); row++)
        if (!seen[row])
            fail_msg("row %zu is not tested, or never reached", row);
}

static void patience_is_asked_for_by_any_answer(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        bool busy;
    } cases[] = {
        {429, "", true},  {503, "", true},  {403, CODE("TOOMANYREQUESTS"), true},
        {500, "", false}, {403, "", false}, {200, CODE("TOOMANYREQUESTS"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autoresponse struct http_response response = made(cases[i].status, cases[i].body);
        assert_int_equal(verdict_is_busy(&response), cases[i].busy);
    }
}

static void what_is_no_image_has_no_layers(void **state)
{
    (void)state;
    static const char *const documents[] = {"", "{}", "[",
                                            "{\"schemaVersion\":2,\"manifests\":[]}"};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        const struct question question = {.what = ASKED_PUT_MANIFEST,
                                          .reference = TAG,
                                          .manifest = documents[i],
                                          .manifest_size = strlen(documents[i])};
        autoresponse struct http_response response = made(400, "sha256:" B);
        assert_null(verdict_of(&question, &response).words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_means_what_it_says),
        cmocka_unit_test(patience_is_asked_for_by_any_answer),
        cmocka_unit_test(what_is_no_image_has_no_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
