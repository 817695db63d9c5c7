#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *or_die(void *got)
{
    if (got == NULL) {
        fputs("slipway: out of memory\n", stderr);
        abort();
    }
    return got;
}

void *xmalloc(size_t size)
{
    return or_die(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
    return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t count, size_t size)
{
    return or_die(reallocarray(old, count ? count : 1, size ? size : 1));
}

char *xstrdup(const char *text)
{
    return or_die(strdup(text));
}

char *xstrndup(const char *text, size_t size)
{
    return or_die(strndup(text, size));
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return or_die(n < 0 ? NULL : text);
}

void *mem_grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 16;
    return xrealloc(items, *capacity, item_size);
}

enum errc mem_try_alloc(size_t count, size_t size, size_t limit_bytes, const char *what, void **out,
                        struct error *err)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total) || total > limit_bytes)
        return fail(err, ERR_MEMORY, 0, "%s needs more than its limit of %zu bytes", what,
                    limit_bytes);
    void *got = calloc(1, total ? total : 1);
    if (got == NULL)
        return fail(err, ERR_MEMORY, 0, "no memory for %s (%zu bytes)", what, total);
    *out = got;
    return ERR_OK;
}
