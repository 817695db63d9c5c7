#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool reserve(struct buf *buf, size_t more)
{
    if (buf->overflowed || more > buf->limit_bytes || buf->size > buf->limit_bytes - more) {
        buf->overflowed = true;
        return false;
    }
    size_t need = buf->size + more + 1;
    if (need > buf->capacity) {
        size_t grown = buf->capacity ? buf->capacity * 2 : 256;
        if (grown > buf->limit_bytes)
            grown = buf->limit_bytes + 1;
        buf->capacity = grown > need ? grown : need;
        buf->data = xrealloc(buf->data, buf->capacity, 1);
    }
    return true;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
    if (size == 0 || !reserve(buf, size))
        return;
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void buf_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_format(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n >= 0)
        buf_append(buf, text, (size_t)n);
    else
        buf->overflowed = true;
    free(text);
}

static bool unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void buf_query_escape(struct buf *buf, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (unreserved(c))
            buf_append(buf, text, 1);
        else
            buf_format(buf, "%%%02X", c);
    }
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    buf->overflowed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

const char *buf_cstr(const struct buf *buf)
{
    return buf->data ? buf->data : "";
}

char *buf_take(struct buf *buf)
{
    char *data = buf->data ? buf->data : xstrdup("");
    size_t limit = buf->limit_bytes;
    *buf = (struct buf)BUF_INIT(limit);
    return data;
}

void buf_deinit(struct buf *buf)
{
    free(buf->data);
    size_t limit = buf->limit_bytes;
    *buf = (struct buf)BUF_INIT(limit);
}
