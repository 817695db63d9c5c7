#include "base/json.h"
#include "gateway/registry/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The codes of distribution-spec 1.1.1, "Error Codes", and TAG_INVALID, which it allows. */
static const char *const codes[] = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "TAG_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
};

static bool is_specified(const char *code)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(codes[i], code) == 0)
            return true;
    return false;
}

static void refuse(enum errc errc, int *status, char code[64])
{
    struct error err = ERROR_INIT;
    struct error ignored = ERROR_INIT;
    struct reply reply = REPLY_INIT(200);
    autojson json_t *root = NULL;
    reply_header(&reply, "Left", "over");
    (fail)(&err, errc, 0, "why");
    v2_refuse(&reply, &err);
    *status = reply.status;
    assert_string_equal(reply.headers[0], "Content-Type: application/json");
    assert_int_equal(json_parse(reply.text, reply.text_size, 10000, "reply", &root, &ignored),
                     ERR_OK);
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    assert_string_equal(json_text(first, "message"), "why");
    strcpy(code, json_text(first, "code"));
    reply_deinit(&reply);
}

static void assert_form(enum errc errc, int status, const char *code)
{
    int got_status = 0;
    char got_code[64];
    refuse(errc, &got_status, got_code);
    assert_string_equal(got_code, code);
    assert_int_equal(got_status, status);
}

static void errors_have_the_form_of_the_specification(void **state)
{
    (void)state;
    assert_form(ERR_NAME_INVALID, 400, "NAME_INVALID");
    assert_form(ERR_TAG_INVALID, 400, "TAG_INVALID");
    assert_form(ERR_DIGEST_INVALID, 400, "DIGEST_INVALID");
    assert_form(ERR_DIGEST_MISMATCH, 400, "DIGEST_INVALID");
    assert_form(ERR_MANIFEST_INVALID, 400, "MANIFEST_INVALID");
    assert_form(ERR_JSON_INVALID, 400, "MANIFEST_INVALID");
    assert_form(ERR_JSON_TOO_LARGE, 413, "MANIFEST_INVALID");
    assert_form(ERR_ARCHIVE_TOO_LARGE, 413, "SIZE_INVALID");
    assert_form(ERR_SIZE_INVALID, 400, "SIZE_INVALID");
    assert_form(ERR_MANIFEST_BLOB_UNKNOWN, 404, "MANIFEST_BLOB_UNKNOWN");
    assert_form(ERR_UPLOAD_INVALID, 400, "BLOB_UPLOAD_INVALID");
    assert_form(ERR_UPLOAD_RANGE, 416, "BLOB_UPLOAD_INVALID");
    assert_form(ERR_UPLOAD_BUSY, 409, "BLOB_UPLOAD_INVALID");
    assert_form(ERR_NO_UPLOAD, 404, "BLOB_UPLOAD_UNKNOWN");
    assert_form(ERR_CLIENT_GONE, 400, "BLOB_UPLOAD_INVALID");
    assert_form(ERR_CLIENT_STALLED, 408, "BLOB_UPLOAD_INVALID");
    assert_form(ERR_BLOB_UNKNOWN, 404, "BLOB_UNKNOWN");
    assert_form(ERR_MANIFEST_NOT_HELD, 404, "MANIFEST_UNKNOWN");
    assert_form(ERR_REPOSITORY_NOT_HELD, 404, "NAME_UNKNOWN");
    assert_form(ERR_BAD_REQUEST, 400, "UNSUPPORTED");
    assert_form(ERR_NOT_FOUND, 404, "UNSUPPORTED");
    assert_form(ERR_METHOD, 405, "UNSUPPORTED");
}

static void assert_target_form(enum errc errc, int registry_status, int status)
{
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(0);
    (fail)(&err, errc, 0, "r.example.com/app:1: why");
    err.status = registry_status;
    v2_refuse(&reply, &err);
    assert_int_equal(reply.status, status);
    assert_non_null(strstr(reply.text, "\"DENIED\""));
    assert_non_null(strstr(reply.text, "r.example.com/app:1: why"));
    assert_non_null(strstr(reply.text, party_name(error_party(errc))));
    reply_deinit(&reply);
}

static void failed_targets_are_shown_by_clients(void **state)
{
    (void)state;
    assert_target_form(ERR_DENIED, 403, 403);
    assert_target_form(ERR_UNAUTHORIZED, 401, 403);
    assert_target_form(ERR_MANIFEST_REFUSED, 400, 403);
    assert_target_form(ERR_TOO_MANY_REQUESTS, 429, 424);
    assert_target_form(ERR_REGISTRY_FAULT, 503, 424);
    assert_target_form(ERR_CONNECT, 0, 424);
    assert_target_form(ERR_TIMEOUT, 0, 424);
}

static void others_keep_theirs(void **state)
{
    (void)state;
    assert_form(ERR_NO_SPACE, 507, "NO_SPACE");
}

/* What a handler of the front can say of a client, whichever part of slipway said it first. */
static void below_500_all_codes_are_specified(void **state)
{
    (void)state;
    static const enum errc met[] = {
        ERR_BAD_REQUEST,       ERR_NOT_FOUND,         ERR_METHOD,
        ERR_REFERENCE_INVALID, ERR_DIGEST_INVALID,    ERR_CLIENT_GONE,
        ERR_CLIENT_STALLED,    ERR_ARCHIVE_TOO_LARGE, ERR_DIGEST_MISMATCH,
        ERR_CONFIG_INVALID,    ERR_MANIFEST_INVALID,  ERR_JSON_INVALID,
        ERR_JSON_TOO_LARGE,    ERR_NAME_INVALID,      ERR_TAG_INVALID,
        ERR_SIZE_INVALID,      ERR_UPLOAD_INVALID,    ERR_MANIFEST_BLOB_UNKNOWN,
        ERR_UPLOAD_RANGE,      ERR_UPLOAD_BUSY,       ERR_NO_UPLOAD,
        ERR_BLOB_UNKNOWN,      ERR_MANIFEST_NOT_HELD, ERR_REPOSITORY_NOT_HELD,
    };
    for (size_t i = 0; i < sizeof met / sizeof met[0]; i++) {
        int status = 0;
        char code[64];
        refuse(met[i], &status, code);
        assert_in_range(status, 400, 499);
        if (!is_specified(code))
            fail_msg("%s is answered as %s", error_name(met[i]), code);
    }
}

static void busy_says_when(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(0);
    (fail)(&err, ERR_STOPPING, 0, "why");
    v2_refuse(&reply, &err);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.headers[1], "Retry-After: 5");
    reply_deinit(&reply);
}

static void digests_in_headers(void **state)
{
    (void)state;
    struct reply reply = REPLY_INIT(201);
    const struct digest digest = digest_of(DIGEST_SHA256, "abc", 3);
    v2_digest_header(&reply, "OCI-Subject", &digest);
    v2_location(&reply, "localhost:5000/a/b", "blobs", &digest);
    assert_string_equal(
        reply.headers[0],
        "OCI-Subject: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(reply.headers[1],
                        "Location: /v2/localhost:5000/a/b/blobs/"
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    reply_deinit(&reply);
}

static enum errc query_digest(const char *text, struct digest *out)
{
    struct query query = {.count = 0};
    struct error err = ERROR_INIT;
    assert_int_equal(query_parse(text, &query, &err), ERR_OK);
    enum errc rc = v2_query_digest(&query, "digest", out, &err);
    query_deinit(&query);
    return rc;
}

static void digests_in_queries(void **state)
{
    (void)state;
#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    struct digest digest = {.algorithm = DIGEST_NONE};
    assert_int_equal(query_digest("digest=sha256%3A" HEX, &digest), ERR_OK);
    assert_int_equal(digest.algorithm, DIGEST_SHA256);
    assert_int_equal(query_digest("digest=sha256:" HEX "&x=1", &digest), ERR_OK);
    assert_int_equal(query_digest("", &digest), ERR_DIGEST_INVALID);
    assert_int_equal(query_digest("digest=", &digest), ERR_DIGEST_INVALID);
    assert_int_equal(query_digest("digest=sha384:" HEX, &digest), ERR_DIGEST_INVALID);
    assert_int_equal(query_digest("digest=sha256:" HEX "0", &digest), ERR_DIGEST_INVALID);
    assert_int_equal(query_digest("digest=sha256:" HEX "&digest=sha256:" HEX, &digest),
                     ERR_DIGEST_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_the_form_of_the_specification),
        cmocka_unit_test(failed_targets_are_shown_by_clients),
        cmocka_unit_test(others_keep_theirs),
        cmocka_unit_test(below_500_all_codes_are_specified),
        cmocka_unit_test(busy_says_when),
        cmocka_unit_test(digests_in_headers),
        cmocka_unit_test(digests_in_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
