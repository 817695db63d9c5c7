/*
 * Memory.
 *
 * Two kinds of allocation, by where the size comes from:
 * - x...: the size is the program's own or bounded by a named limit that was checked before.
 * Running out of memory ends the process with a message: there is nothing sensible left to do, and
 * every promise slipway makes survives a crash. Never returns NULL.
 * - mem_try_...: the size comes from outside (a header, a manifest, a file). A named limit goes
 * with it and failure is an error value.
 *
 * Ownership of what is returned is the caller's; free() releases it.
 */
#ifndef SLIPWAY_BASE_MEM_H
#define SLIPWAY_BASE_MEM_H

#include "base/error.h"

#include <stdlib.h>

/* Frees the annotated pointer at the end of its scope. */
#define autofree __attribute__((cleanup(mem_free_at)))

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t size) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...)
    __attribute__((format(printf, 1, 2), malloc, returns_nonnull));

/* Room for one more item in an array of `count` items that grows: `items`, or the array that takes
 * its place. */
void *mem_grow(void *items, size_t count, size_t *capacity, size_t item_size)
    __attribute__((returns_nonnull));

/* count * size zeroed bytes, at most `limit_bytes`; ERR_MEMORY naming `what` otherwise. */
enum errc mem_try_alloc(size_t count, size_t size, size_t limit_bytes, const char *what, void **out,
                        struct error *err);

static inline void mem_free_at(void *at)
{
    free(*(void **)at);
}

/* Take the value out of an autofree variable: the scope no longer frees it. */
static inline void *mem_take(void *at)
{
    void *value = *(void **)at;
    *(void **)at = NULL;
    return value;
}

#endif
