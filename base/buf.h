/*
 * A growing byte buffer with a limit, for text that is built and bodies that are collected.
 *
 * Lifecycle: `struct buf b = BUF_INIT(limit);`, appends, then buf_deinit(&b) or buf_take(&b). The
 * bytes are always followed by a NUL that `size` does not count. An append that would pass the
 * limit changes nothing and marks the buffer overflowed (errors are sticky: check once at the end).
 * One owner, no lock.
 */
#ifndef SLIPWAY_BASE_BUF_H
#define SLIPWAY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL until the first append */
    size_t size;
    size_t capacity;
    size_t limit_bytes;
    bool overflowed;
};

#define BUF_INIT(limit)                                                                            \
    {                                                                                              \
        .limit_bytes = (limit)                                                                     \
    }
#define autobuf __attribute__((cleanup(buf_deinit)))

void buf_append(struct buf *buf, const void *data, size_t size);
void buf_text(struct buf *buf, const char *text);
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Append `text` percent-encoded for a URL query value (RFC 3986 unreserved characters are kept). */
void buf_query_escape(struct buf *buf, const char *text);

/* Forget the content, keep the memory. */
void buf_clear(struct buf *buf);

/* The content as a C string, "" when empty; borrowed until the next change. */
const char *buf_cstr(const struct buf *buf);

/* The content, owned (free()), never NULL; the buffer is empty afterwards. */
char *buf_take(struct buf *buf);

void buf_deinit(struct buf *buf);

#endif
