/*
 * Bytes in motion: the two interfaces by which the modules hand them on.
 *
 * A source is pulled by the thread that consumes; a sink is written by the thread that produces.
 * Both may block the calling thread (on a ring, a disk) and both belong to one thread at a time.
 * The structs are small values and borrow `self`, which outlives them.
 */
#ifndef SLIPWAY_BASE_STREAM_H
#define SLIPWAY_BASE_STREAM_H

#include "base/error.h"

#include <stdint.h>

struct source {
    /* The next bytes, borrowed until the next call; *size 0 is the end of the stream. */
    enum errc (*pull)(void *self, const uint8_t **data, size_t *size, struct error *err);
    void *self;
    /* NULL where bytes can only be read. Pass over the next `count` bytes without reading them; the
     * stream ends where *skipped is less. */
    enum errc (*pass_over)(void *self, uint64_t count, uint64_t *skipped, struct error *err);
    /* NULL where bytes come only once. Begin again with the first one. */
    enum errc (*rewind)(void *self, struct error *err);
};

struct sink {
    /* Takes all of `data` or fails; the bytes are copied or consumed before it returns. */
    enum errc (*write)(void *self, const void *data, size_t size, struct error *err);
    void *self;
};

static inline enum errc source_pull(const struct source *source, const uint8_t **data, size_t *size,
                                    struct error *err)
{
    return source->pull(source->self, data, size, err);
}

static inline enum errc source_pass_over(const struct source *source, uint64_t count,
                                         uint64_t *skipped, struct error *err)
{
    return source->pass_over(source->self, count, skipped, err);
}

static inline enum errc source_rewind(const struct source *source, struct error *err)
{
    return source->rewind(source->self, err);
}

static inline enum errc sink_write(const struct sink *sink, const void *data, size_t size,
                                   struct error *err)
{
    return sink->write(sink->self, data, size, err);
}

#endif
