/*
 * An answer to a request, as a value: made by whoever works on the request, on any thread; sent by
 * an HTTP thread. The body is text, a part of a file, what a source gives, or nothing.
 *
 * Lifecycle: REPLY_INIT(status), then reply_* in any order, then reply_send() or reply_deinit(),
 * each of which ends it. For HEAD the body is what GET would send; the server leaves it out.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_REPLY_H
#define SLIPWAY_GATEWAY_HTTP_REPLY_H

#include "base/error.h"
#include "gateway/http/body_source.h"

#include <microhttpd.h>
#include <stdint.h>

#define REPLY_HEADERS_MAX 32

struct file_reads;

struct reply {
    int status;
    char *headers[REPLY_HEADERS_MAX]; /* owned, "Name: value" */
    size_t header_count;
    char *text; /* owned; NULL: none */
    size_t text_size;
    int fd; /* owned; -1: none */
    uint64_t offset;
    uint64_t size;
    struct body_source source; /* owned; without read(): none */
    struct error *refusal;     /* owned; why the request is refused; NULL: it is not */
    enum errc failed;          /* why targets of its push failed, which has been logged; ERR_OK */
};

#define REPLY_INIT(STATUS)                                                                         \
    {                                                                                              \
        .status = (STATUS), .fd = -1                                                               \
    }

/* A header; the value must not be a stranger's unchecked text. Over REPLY_HEADERS_MAX is a
 * programmer's error. */
void reply_header(struct reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Headers with which no browser runs what the body has as a page or a script of the gateway's
 * origin: content is served that anybody may have put (CSP 3, 6.3.2; Fetch, 3.6). */
void reply_harmless(struct reply *reply);

/* The body. `text` is taken, `fd` and `source` too. reply_json() sets the Content-Type. */
void reply_json(struct reply *reply, char *text);
void reply_bytes(struct reply *reply, char *data, size_t size);
void reply_file(struct reply *reply, int fd, uint64_t offset, uint64_t size);
void reply_source(struct reply *reply, const char *media_type, struct body_source source);

/* Make it the answer for this error: its status, the error body, Retry-After where it is a
 * matter of time. What the reply had before is dropped. */
void reply_error(struct reply *reply, const struct error *err);
/* The same with this status and body, which is taken. */
void reply_refuse(struct reply *reply, int status, char *body, const struct error *err);

/* When to try again, in place of what the reply says of that. */
void reply_retry_after(struct reply *reply, unsigned seconds);

/* It tells of targets that failed, each of which has a line of the log already. */
void reply_targets_failed(struct reply *reply, enum errc code);

void reply_deinit(struct reply *reply);

/* A reply whose body is text, as the bytes of an answer after which the connection ends; owned.
 * `id` is the request's; "": none. */
char *reply_text(const struct reply *reply, const char *id);

/* HTTP thread. Ends the reply. A part of a file is read by `reads` (gateway/http/file_reads.h);
 * NULL: by this thread. */
enum MHD_Result reply_send(struct reply *reply, struct MHD_Connection *connection,
                           struct file_reads *reads);

#endif
