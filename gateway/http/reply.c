#include "gateway/http/reply.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/http/error_body.h"
#include "gateway/http/file_reads.h"
#include "gateway/http/peer.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define RETRY_AFTER_S "5"
#define REPLY_TEXT_MAX ((size_t)16 << 10)
#define MEDIA_JSON "application/json"
#define SOURCE_BLOCK_BYTES ((size_t)16 << 10)
#define FILE_BLOCK_BYTES ((size_t)64 << 10)

void reply_header(struct reply *reply, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list args;
    assert(reply->header_count < REPLY_HEADERS_MAX);
    va_start(args, format);
    int size = vasprintf(&value, format, args);
    va_end(args);
    assert(size >= 0);
    reply->headers[reply->header_count++] = xasprintf("%s: %s", name, value);
    free(value);
}

static void drop_body(struct reply *reply)
{
    free(reply->text);
    if (reply->fd >= 0)
        close(reply->fd);
    if (reply->source.read)
        reply->source.release(reply->source.self);
    reply->text = NULL;
    reply->fd = -1;
    reply->source = (struct body_source){0};
}

void reply_harmless(struct reply *reply)
{
    reply_header(reply, "X-Content-Type-Options", "nosniff");
    reply_header(reply, "Content-Security-Policy", "sandbox; default-src 'none'");
}

void reply_json(struct reply *reply, char *text)
{
    reply_header(reply, MHD_HTTP_HEADER_CONTENT_TYPE, MEDIA_JSON);
    reply_bytes(reply, text, strlen(text));
}

void reply_bytes(struct reply *reply, char *data, size_t size)
{
    drop_body(reply);
    reply->text = data;
    reply->text_size = size;
}

void reply_file(struct reply *reply, int fd, uint64_t offset, uint64_t size)
{
    drop_body(reply);
    reply->fd = fd;
    reply->offset = offset;
    reply->size = size;
}

void reply_source(struct reply *reply, const char *media_type, struct body_source source)
{
    drop_body(reply);
    reply_header(reply, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", media_type);
    reply->source = source;
}

void reply_refuse(struct reply *reply, int status, char *body, const struct error *err)
{
    reply_deinit(reply);
    reply->status = status;
    reply->refusal = xcalloc(1, sizeof *reply->refusal);
    *reply->refusal = *err;
    reply_json(reply, body);
}

void reply_error(struct reply *reply, const struct error *err)
{
    reply_refuse(reply, error_http_status(err->code), error_body(err), err);
    if (err->code == ERR_BUSY || err->code == ERR_STOPPING || err->code == ERR_TOO_MANY)
        reply_header(reply, MHD_HTTP_HEADER_RETRY_AFTER, RETRY_AFTER_S);
}

void reply_retry_after(struct reply *reply, unsigned seconds)
{
    static const char name[] = MHD_HTTP_HEADER_RETRY_AFTER ":";
    size_t left = 0;
    for (size_t i = 0; i < reply->header_count; i++) {
        if (strncmp(reply->headers[i], name, sizeof name - 1) == 0)
            free(reply->headers[i]);
        else
            reply->headers[left++] = reply->headers[i];
    }
    reply->header_count = left;
    reply_header(reply, MHD_HTTP_HEADER_RETRY_AFTER, "%u", seconds);
}

void reply_targets_failed(struct reply *reply, enum errc code)
{
    free(reply->refusal);
    reply->refusal = NULL;
    reply->failed = code;
}

void reply_deinit(struct reply *reply)
{
    drop_body(reply);
    free(reply->refusal);
    for (size_t i = 0; i < reply->header_count; i++)
        free(reply->headers[i]);
    *reply = (struct reply)REPLY_INIT(0);
}

/* ---- to the wire ---- */

char *reply_text(const struct reply *reply, const char *id)
{
    autobuf struct buf out = BUF_INIT(REPLY_TEXT_MAX);
    buf_format(&out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
               reply->status, MHD_get_reason_phrase_for((unsigned)reply->status), reply->text_size);
    if (*id)
        buf_format(&out, REQUEST_ID_HEADER ": %s\r\n", id);
    for (size_t i = 0; i < reply->header_count; i++)
        buf_format(&out, "%s\r\n", reply->headers[i]);
    buf_format(&out, "\r\n%.*s", (int)reply->text_size, reply->text ? reply->text : "");
    return buf_take(&out);
}

static ssize_t read_source(void *self, uint64_t position, char *out, size_t size)
{
    (void)position;
    const struct body_source *source = self;
    ssize_t got = source->read(source->self, out, size);
    if (got == BODY_BROKEN)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return got == BODY_END ? MHD_CONTENT_READER_END_OF_STREAM : got;
}

static void release_source(void *self)
{
    struct body_source *source = self;
    source->release(source->self);
    free(source);
}

static struct MHD_Response *stream(const struct body_source *source, uint64_t size,
                                   size_t block_bytes)
{
    struct body_source *copy = xcalloc(1, sizeof *copy);
    *copy = *source;
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, block_bytes, read_source, copy, release_source);
    if (response == NULL)
        free(copy);
    return response;
}

/* The response has the body afterwards; without a response the reply still has it. */
static struct MHD_Response *make_response(struct reply *reply)
{
    struct MHD_Response *response;
    if (reply->source.read && reply->size > 0) {
        response = stream(&reply->source, reply->size, FILE_BLOCK_BYTES);
    } else if (reply->source.read) {
        response = stream(&reply->source, MHD_SIZE_UNKNOWN, SOURCE_BLOCK_BYTES);
    } else if (reply->fd >= 0 && reply->size > 0) {
        response = MHD_create_response_from_fd_at_offset64(reply->size, reply->fd, reply->offset);
    } else if (reply->text) {
        response =
            MHD_create_response_from_buffer(reply->text_size, reply->text, MHD_RESPMEM_MUST_FREE);
    } else {
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    }
    if (response) {
        reply->source = (struct body_source){0};
        reply->fd = -1;
        reply->text = NULL;
    }
    return response;
}

static void add_header(struct MHD_Response *response, char *line)
{
    char *value = strstr(line, ": ");
    *value = '\0';
    MHD_add_response_header(response, line, value + 2);
}

enum MHD_Result reply_send(struct reply *reply, struct MHD_Connection *connection,
                           struct file_reads *reads)
{
    enum MHD_Result queued = MHD_NO;
    if (reply->fd >= 0 && reply->size > 0 && reads) {
        reply->source = file_body(reads, reply->fd, reply->offset, reply->size,
                                  suspendable_connection(connection));
        reply->fd = -1;
    }
    struct MHD_Response *response = make_response(reply);
    if (response) {
        for (size_t i = 0; i < reply->header_count; i++)
            add_header(response, reply->headers[i]);
        queued = MHD_queue_response(connection, (unsigned)reply->status, response);
        MHD_destroy_response(response);
    }
    reply_deinit(reply);
    return queued;
}
