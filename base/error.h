/*
 * Errors as values.
 *
 * Every function that can fail for a reason outside the program (a client, a registry, a disk, a
 * clock) takes a `struct error *` as its last parameter, never NULL, and returns its code. ERR_OK
 * leaves the error untouched. On failure the function has filled the error and its other outputs
 * are untouched. The struct holds no pointers: it can be copied between threads and stored.
 *
 *     if (fd < 0)
 *         return fail(err, ERR_IO, errno, "create blob %s", name);
 *     if (blob_open(store, &digest, &source, err) != ERR_OK)
 *         return error_wrap(err, "layer %zu of %s", i, name);
 *
 * Who handles an error logs it; who passes it on adds context and does not log.
 *
 * Texts quote what strangers sent. Whatever that was, the text is one line of valid UTF-8 without
 * control characters (base/utf8.h says which), so it can go into JSON, a header or a terminal as it
 * is: control characters become spaces, other invalid bytes (a character cut by the truncation too)
 * question marks. No URL in it has userinfo (base/net.h).
 *
 * One table gives each code its name on the wire (the `code` of an API error), the HTTP status with
 * which the gateway answers, whether doing the same again can help, and the party at fault.
 */
#ifndef SLIPWAY_BASE_ERROR_H
#define SLIPWAY_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* Who has to act so that the same request works. */
enum party {
    PARTY_NONE,
    PARTY_CLIENT,
    PARTY_GATEWAY,
    PARTY_REGISTRY,
    PARTY_NETWORK,
    PARTY_OPERATOR
};

/* clang-format off */
/*        code                     name on the wire        status retry  party */
#define ERROR_TABLE(X)                                                                             \
    X(ERR_OK,                    "OK",                     200, false, PARTY_NONE)                 \
    /* what the client sent: the request */                                                        \
    X(ERR_BAD_REQUEST,           "BAD_REQUEST",            400, false, PARTY_CLIENT)               \
    X(ERR_NOT_FOUND,             "NOT_FOUND",              404, false, PARTY_CLIENT)               \
    X(ERR_METHOD,                "METHOD_NOT_ALLOWED",     405, false, PARTY_CLIENT)               \
    X(ERR_MEDIA_TYPE,            "UNSUPPORTED_MEDIA_TYPE", 415, false, PARTY_CLIENT)               \
    X(ERR_REFERENCE_INVALID,     "REFERENCE_INVALID",      400, false, PARTY_CLIENT)               \
    X(ERR_DIGEST_REFERENCE,      "DIGEST_REFERENCE",       400, false, PARTY_CLIENT)               \
    X(ERR_DIGEST_INVALID,        "DIGEST_INVALID",         400, false, PARTY_CLIENT)               \
    X(ERR_NO_TARGET,             "NO_TARGET",              422, false, PARTY_CLIENT)               \
    X(ERR_NO_TAG,                "NO_TAG",                 422, false, PARTY_CLIENT)               \
    X(ERR_AMBIGUOUS_IMAGE,       "AMBIGUOUS_IMAGE",        422, false, PARTY_CLIENT)               \
    X(ERR_IMAGE_UNKNOWN,         "IMAGE_UNKNOWN",          422, false, PARTY_CLIENT)               \
    X(ERR_PLATFORM_UNKNOWN,      "PLATFORM_UNKNOWN",       422, false, PARTY_CLIENT)               \
    X(ERR_CLIENT_GONE,           "CLIENT_GONE",            400, true,  PARTY_CLIENT)               \
    X(ERR_CLIENT_STALLED,        "CLIENT_STALLED",         408, true,  PARTY_CLIENT)               \
    X(ERR_ALREADY_RUNS,          "ALREADY_RUNNING",        409, true,  PARTY_CLIENT)               \
    X(ERR_KEY_IN_USE,            "IDEMPOTENCY_KEY_IN_USE", 409, true,  PARTY_CLIENT)               \
    X(ERR_KEY_REUSED,            "IDEMPOTENCY_KEY_REUSED", 422, false, PARTY_CLIENT)               \
    /* what the client sent: the archive */                                                        \
    X(ERR_ARCHIVE_EMPTY,         "ARCHIVE_EMPTY",          400, false, PARTY_CLIENT)               \
    X(ERR_ARCHIVE_UNRECOGNISED,  "ARCHIVE_UNRECOGNISED",   400, false, PARTY_CLIENT)               \
    X(ERR_ARCHIVE_TRUNCATED,     "ARCHIVE_TRUNCATED",      400, true,  PARTY_CLIENT)               \
    X(ERR_ARCHIVE_CORRUPT,       "ARCHIVE_CORRUPT",        400, false, PARTY_CLIENT)               \
    X(ERR_ARCHIVE_TOO_LARGE,     "ARCHIVE_TOO_LARGE",      413, false, PARTY_CLIENT)               \
    X(ERR_ENTRY_NAME,            "ENTRY_NAME_INVALID",     422, false, PARTY_CLIENT)               \
    X(ERR_ENTRY_DUPLICATE,       "ENTRY_DUPLICATE",        422, false, PARTY_CLIENT)               \
    X(ERR_ENTRY_UNSUPPORTED,     "ENTRY_UNSUPPORTED",      422, false, PARTY_CLIENT)               \
    X(ERR_LINK_INVALID,          "LINK_INVALID",           422, false, PARTY_CLIENT)               \
    X(ERR_NOT_AN_IMAGE,          "NOT_AN_IMAGE",           422, false, PARTY_CLIENT)               \
    X(ERR_LAYER_MISSING,         "LAYER_MISSING",          422, false, PARTY_CLIENT)               \
    X(ERR_CONFIG_MISSING,        "CONFIG_MISSING",         422, false, PARTY_CLIENT)               \
    X(ERR_BLOB_MISSING,          "BLOB_MISSING",           422, false, PARTY_CLIENT)               \
    X(ERR_DIFFID_MISMATCH,       "DIFFID_MISMATCH",        422, false, PARTY_CLIENT)               \
    X(ERR_DIGEST_MISMATCH,       "DIGEST_MISMATCH",        422, false, PARTY_CLIENT)               \
    X(ERR_CONFIG_INVALID,        "CONFIG_INVALID",         422, false, PARTY_CLIENT)               \
    X(ERR_MANIFEST_INVALID,      "MANIFEST_INVALID",       422, false, PARTY_CLIENT)               \
    X(ERR_JSON_INVALID,          "JSON_INVALID",           422, false, PARTY_CLIENT)               \
    X(ERR_JSON_TOO_LARGE,        "JSON_TOO_LARGE",         413, false, PARTY_CLIENT)               \
    X(ERR_LAYER_UNKNOWN,         "LAYER_UNKNOWN",          409, false, PARTY_CLIENT)               \
    X(ERR_COLLECTING,            "COLLECTION_RUNNING",     409, true,  PARTY_CLIENT)               \
    /* what a registry client asked for: distribution-spec, "Error Codes" */                       \
    X(ERR_NAME_INVALID,          "NAME_INVALID",           400, false, PARTY_CLIENT)               \
    X(ERR_TAG_INVALID,           "TAG_INVALID",            400, false, PARTY_CLIENT)               \
    X(ERR_TAGS_TOO_MANY,         "TAG_INVALID",            414, false, PARTY_CLIENT)               \
    X(ERR_SIZE_INVALID,          "SIZE_INVALID",           400, false, PARTY_CLIENT)               \
    X(ERR_MANIFEST_BLOB_UNKNOWN, "MANIFEST_BLOB_UNKNOWN",  404, false, PARTY_CLIENT)               \
    X(ERR_UPLOAD_INVALID,        "BLOB_UPLOAD_INVALID",    400, false, PARTY_CLIENT)               \
    X(ERR_UPLOAD_RANGE,          "BLOB_UPLOAD_INVALID",    416, true,  PARTY_CLIENT)               \
    X(ERR_UPLOAD_BUSY,           "BLOB_UPLOAD_INVALID",    409, true,  PARTY_CLIENT)               \
    X(ERR_NO_UPLOAD,             "BLOB_UPLOAD_UNKNOWN",    404, false, PARTY_CLIENT)               \
    X(ERR_TOO_MANY,              "TOOMANYREQUESTS",        429, true,  PARTY_CLIENT)               \
    /* slipway itself and the machine it runs on */                                                \
    X(ERR_SETTINGS,              "SETTINGS_INVALID",       500, false, PARTY_GATEWAY)              \
    X(ERR_CREDENTIALS,           "CREDENTIALS_UNREADABLE", 500, false, PARTY_GATEWAY)              \
    X(ERR_IO,                    "IO_ERROR",               500, true,  PARTY_GATEWAY)              \
    X(ERR_NO_SPACE,              "NO_SPACE",               507, false, PARTY_GATEWAY)              \
    X(ERR_SYNC,                  "SYNC_FAILED",            503, true,  PARTY_GATEWAY)              \
    X(ERR_MEMORY,                "OUT_OF_MEMORY",          503, true,  PARTY_GATEWAY)              \
    X(ERR_STORE,                 "STORE_ERROR",            500, false, PARTY_GATEWAY)              \
    X(ERR_STORE_LOCKED,          "STORE_LOCKED",           503, true,  PARTY_GATEWAY)              \
    X(ERR_STORE_FULL,            "STORE_FULL",             507, false, PARTY_GATEWAY)              \
    X(ERR_BLOB_UNKNOWN,          "BLOB_UNKNOWN",           404, false, PARTY_GATEWAY)              \
    X(ERR_BLOB_CORRUPT,          "BLOB_CORRUPT",           500, false, PARTY_GATEWAY)              \
    X(ERR_BUSY,                  "TOO_MANY_UPLOADS",       503, true,  PARTY_GATEWAY)              \
    X(ERR_STOPPING,              "STOPPING",               503, true,  PARTY_GATEWAY)              \
    X(ERR_CANCELLED,             "CANCELLED",              503, false, PARTY_CLIENT)               \
    X(ERR_UNSUPPORTED,           "UNSUPPORTED",            501, false, PARTY_CLIENT)               \
    X(ERR_INTERNAL,              "INTERNAL",               500, false, PARTY_GATEWAY)              \
    /* what an operator has ordered */                                                             \
    X(ERR_TARGET_PAUSED,         "TARGET_PAUSED",          503, false, PARTY_OPERATOR)             \
    /* what a registry answered */                                                                 \
    X(ERR_UNAUTHORIZED,          "UNAUTHORIZED",           502, false, PARTY_REGISTRY)             \
    X(ERR_DENIED,                "DENIED",                 502, false, PARTY_REGISTRY)             \
    X(ERR_NAME_UNKNOWN,          "NAME_UNKNOWN",           502, false, PARTY_REGISTRY)             \
    X(ERR_NOT_A_REGISTRY,        "NOT_A_REGISTRY",         502, false, PARTY_REGISTRY)             \
    X(ERR_TOO_MANY_REQUESTS,     "TOO_MANY_REQUESTS",      502, true,  PARTY_REGISTRY)             \
    X(ERR_REGISTRY_UNSUPPORTED,  "REGISTRY_UNSUPPORTED",   502, false, PARTY_REGISTRY)             \
    X(ERR_REGISTRY_REFUSED,      "REGISTRY_REFUSED",       502, false,  PARTY_REGISTRY)             \
    X(ERR_REGISTRY_FAULT,        "REGISTRY_FAULT",         502, true,  PARTY_REGISTRY)             \
    X(ERR_REGISTRY_ANSWER,       "REGISTRY_ANSWER",        502, true,  PARTY_REGISTRY)             \
    X(ERR_MANIFEST_REFUSED,      "MANIFEST_REFUSED",       502, false, PARTY_REGISTRY)             \
    X(ERR_MANIFEST_UNKNOWN,      "MANIFEST_UNKNOWN",       502, false, PARTY_REGISTRY)             \
    X(ERR_BLOB_NOT_THERE,        "BLOB_NOT_THERE",         502, true,  PARTY_REGISTRY)             \
    X(ERR_UPLOAD_UNKNOWN,        "UPLOAD_UNKNOWN",         502, true,  PARTY_REGISTRY)             \
    X(ERR_PUSH_TIME,             "PUSH_TIMEOUT",           504, true,  PARTY_REGISTRY)             \
    X(ERR_NO_ANSWER,             "NO_ANSWER",              504, true,  PARTY_REGISTRY)             \
    X(ERR_PUSHED_DIGEST,         "PUSHED_DIGEST_MISMATCH", 502, false, PARTY_REGISTRY)             \
    X(ERR_TAG_DRIFTED,           "TAG_DRIFTED",            409, false, PARTY_REGISTRY)             \
    X(ERR_TAG_IMMUTABLE,         "TAG_IMMUTABLE",          409, false, PARTY_REGISTRY)             \
    /* what the gateway itself does not have, where a registry may lack it, too */                 \
    X(ERR_REPOSITORY_NOT_HELD,   "NAME_UNKNOWN",           404, false, PARTY_CLIENT)               \
    X(ERR_MANIFEST_NOT_HELD,     "MANIFEST_UNKNOWN",       404, false, PARTY_CLIENT)               \
    X(ERR_BLOB_NOT_HELD,         "BLOB_UNKNOWN",           404, false, PARTY_CLIENT)               \
    X(ERR_LOOP,                  "LOOP_DETECTED",          508, false, PARTY_GATEWAY)              \
    X(ERR_FORBIDDEN,             "DENIED",                 403, false, PARTY_CLIENT)               \
    X(ERR_UNAUTHENTICATED,       "UNAUTHORIZED",           401, false, PARTY_CLIENT)               \
    /* the way there */                                                                            \
    X(ERR_HOST_UNKNOWN,          "HOST_UNKNOWN",           502, true,  PARTY_NETWORK)              \
    X(ERR_CONNECT,               "CONNECT_FAILED",         502, true,  PARTY_NETWORK)              \
    X(ERR_CONNECTION_LOST,       "CONNECTION_LOST",        502, true,  PARTY_NETWORK)              \
    X(ERR_TIMEOUT,               "TIMEOUT",                504, true,  PARTY_NETWORK)              \
    X(ERR_PROXY,                 "PROXY_REFUSED",          502, false, PARTY_NETWORK)              \
    X(ERR_TLS,                   "TLS_FAILED",             502, false, PARTY_NETWORK)              \
    X(ERR_CERTIFICATE,           "CERTIFICATE_REFUSED",    502, false, PARTY_NETWORK)              \
    X(ERR_ADDRESS_REFUSED,       "ADDRESS_REFUSED",        502, false, PARTY_NETWORK)
/* clang-format on */

enum errc {
#define X(code, name, status, retry, party) code,
    ERROR_TABLE(X)
#undef X
        ERR_COUNT_
};

#define ERROR_TEXT_MAX 1024

struct error {
    enum errc code;
    int sys;                   /* errno at the failure, 0 when there is none */
    int status;                /* HTTP status that a registry answered, 0 when none was received */
    unsigned hints;            /* what may follow from that answer: upstream/auth/verdict.h */
    char text[ERROR_TEXT_MAX]; /* one line for a person; truncated, never overrun; no secrets */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        .code = ERR_OK                                                                             \
    }

/* Fill `err` and return `code`. `sys` is an errno whose description is appended, or 0. ENOSPC and
 * EDQUOT turn ERR_IO into ERR_NO_SPACE, ENOMEM into ERR_MEMORY: callers need not look. */
enum errc fail(struct error *err, enum errc code, int sys, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " before the text and return the code. `err` must hold a failure. */
enum errc error_wrap(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forget a failure that was handled. */
void error_clear(struct error *err);

const char *error_name(enum errc code);
/* The code of a name on the wire, the first where several share it; ERR_INTERNAL for a name that is
 * none of ours. */
enum errc error_by_name(const char *name);
int error_http_status(enum errc code);
bool error_retriable(enum errc code);
enum party error_party(enum errc code);
const char *party_name(enum party party);

#endif
