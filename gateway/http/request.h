/*
 * The head of a request as handlers see it. Path and query are the bytes that the client sent,
 * not decoded by the server, so that an encoded slash can be told from a slash.
 *
 * Valid during the call it is given to.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_REQUEST_H
#define SLIPWAY_GATEWAY_HTTP_REQUEST_H

#include "base/error.h"
#include "gateway/http/peer.h"

#include <stdint.h>

struct MHD_Connection;

struct request {
    struct MHD_Connection *connection;
    const char *method;
    const char *version; /* "HTTP/1.1" */
    const char *path;    /* without the query */
    const char *query;   /* without "?"; "" when there is none */
    const char *id;
    bool administrator; /* it came by a listener that only administrators reach */
    bool proxied; /* the other end is a proxy that is trusted: what it says of its client counts */
    void *caller; /* who it is of, as admit() of the handler found; NULL: nobody asked */
    struct peer peer; /* whose it is, for job_start() */
};

/* The id that its answer and the log have: X-Request-Id of the client if that is 1 to 128 printable
 * ASCII characters without spaces, quotes and backslashes, else one made here. */
void request_id_choose(const struct request *request, char out[REQUEST_ID_MAX]);

/* The first header of this name, NULL when there is none. Borrowed as the request is. */
const char *request_header(const struct request *request, const char *name);

/* Whether all headers of this name fit, as when there are none. */
bool request_headers_fit(const struct request *request, const char *name,
                         bool (*fits)(const void *self, const char *value), const void *self);

/* A certificate that the client has shown, DER; borrowed as the request is. */
struct request_certificate {
    const unsigned char *data;
    size_t size;
};

/* The chain of the client's certificate, its own first: how many there are; 0 where it has shown
 * none, or more than `most`. Whoever shows it has its key; nothing else of it was looked at. */
size_t request_certificates(const struct request *request, struct request_certificate *out,
                            size_t most);

/* Content-Length: *known false when there is none. ERR_BAD_REQUEST for what is no number. */
enum errc request_length(const struct request *request, bool *known, uint64_t *length,
                         struct error *err);

/* The same, and ERR_ARCHIVE_TOO_LARGE when it is over `limit_bytes` (limits.archive); `what` has
 * that length. */
enum errc request_length_within(const struct request *request, const char *what,
                                uint64_t limit_bytes, bool *known, uint64_t *length,
                                struct error *err);

/* The head can be read in one way only (RFC 9112, 3.2, 5.1, 6.1 and 6.3): one length of the body,
 * or chunks, never both, nor chunks in HTTP/1.0; at most one Host; names of headers that are names.
 * What a proxy in front reads in another way than the HTTP server would make a second request out
 * of a body. ERR_BAD_REQUEST. */
enum errc request_framing(const struct request *request, struct error *err);

/* The client would take this media type (Accept names it and does not exclude it; RFC
 * 9110, 12.5.1).
 * */
bool request_accepts(const struct request *request, const char *media_type);

#endif
