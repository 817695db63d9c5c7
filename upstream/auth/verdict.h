/*
 * What an answer of a registry means: one table, by what was asked, the status, the code of its
 * error document and what the refusal is about. Whoever sends a request consults it, by itself
 * (verdict_of()) or through the error that verdict_fail() made of it; nobody else interprets a
 * status. Pure functions.
 *
 * Whether the same request may be answered otherwise later is said by the error's code
 * (error_retriable()): ERR_REGISTRY_REFUSED and the like are final, ERR_REGISTRY_FAULT passes. What
 * else may help is said by hints, bits of struct error.
 *
 * OCI distribution-spec, "Error Codes"; RFC 9110 section 15, RFC 6585, RFC 4918 section 11.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_VERDICT_H
#define SLIPWAY_UPSTREAM_AUTH_VERDICT_H

#include "base/error.h"
#include "net/transport.h"
#include "net/url.h"

enum asked {
    ASKED_ANYTHING,     /* when it does not matter */
    ASKED_PING,         /* GET /v2/ */
    ASKED_TOKEN,        /* of a token server */
    ASKED_BLOB,         /* HEAD: is it there? */
    ASKED_MOUNT,        /* POST with mount and from */
    ASKED_SESSION,      /* POST that opens an upload */
    ASKED_OFFSET,       /* GET of an upload: how much is there? */
    ASKED_CHUNK,        /* PATCH */
    ASKED_COMMIT,       /* PUT that makes a blob complete, with or without bytes of it */
    ASKED_POST_BLOB,    /* POST with all of a blob */
    ASKED_MANIFEST,     /* GET */
    ASKED_PUT_MANIFEST, /* PUT */
};

/* Borrowed throughout; what is not known is NULL. */
struct question {
    enum asked what;
    const char *method;
    const char *reference; /* the blob's digest; what the manifest is put under */
    const char *media_type;
    const void *manifest;
    size_t manifest_size;
};

enum hint {
    HINT_ABSENT = 1 << 0,    /* what was asked for is not there, or not to be found out */
    HINT_METHOD = 1 << 1,    /* not this way: another one may do (a token: GET, not POST) */
    HINT_UNTRIED = 1 << 2,   /* the same, of a way that has never worked */
    HINT_SMALLER = 1 << 3,   /* a smaller body may do */
    HINT_SESSION = 1 << 4,   /* the upload is gone: a new one may do */
    HINT_OFFSET = 1 << 5,    /* the body does not begin where the registry's bytes end */
    HINT_RESUME = 1 << 6,    /* the upload may go on where the registry says */
    HINT_KEEP = 1 << 7,      /* nothing is said against the upload or the bytes in it */
    HINT_LOOK = 1 << 8,      /* the blob may have arrived all the same */
    HINT_BYTES = 1 << 9,     /* the bytes, or their number, are refused */
    HINT_WHO = 1 << 10,      /* about who asks, or how often, and nothing else */
    HINT_BUSY = 1 << 11,     /* all requests to the registry should wait */
    HINT_ENDPOINT = 1 << 12, /* what stands before the registry does not reach it */
    HINT_KIND = 1 << 13,     /* no manifests of this kind */
    HINT_DOUBT = 1 << 14,    /* said once it may be the word of a replica that lags */
    HINT_BLOBS = 1 << 15,    /* a blob of the manifest that is named may not be there */
    HINT_LOGIN = 1 << 16,    /* ERR_DENIED: the credentials open nothing there, GET /v2/ neither */
};

struct verdict {
    enum errc code;    /* ERR_OK: it is done; with HINT_ABSENT: it was answered "no" */
    unsigned hints;    /* enum hint */
    const char *words; /* why, in front of what the registry said; NULL: that says enough */
    size_t row;        /* which of the table's */
};

struct verdict verdict_of(const struct question *question, const struct http_response *response);

/* The registry, or its token server, asks for patience, whatever it was asked. */
bool verdict_is_busy(const struct http_response *response);

/* Fill `err` from an answer that was not the hoped for one: its code and hints as the verdict says,
 * its text by method, URL, status and what the registry said; err->status is the status. Returns
 * the code. */
enum errc verdict_fail(const struct question *question, const struct url *url,
                       const struct http_response *response, struct error *err);

/* It may be the answer of a proxy on the way, response->proxy: nothing in it is a registry's. */
bool verdict_may_be_proxys(const struct http_response *response);

/* How many rows the table has: its test goes through all of them. */
size_t verdict_rows(void);

#endif
