#include "tests/support/pieces.h"

#include <assert.h>

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct pieces *pieces = self;
    assert(!pieces->ended);
    *data = pieces->data;
    *size = pieces->size < pieces->piece ? pieces->size : pieces->piece;
    pieces->data += *size;
    pieces->size -= *size;
    pieces->taken += *size;
    pieces->pulled += *size;
    pieces->ended = *size == 0;
    return ERR_OK;
}

static enum errc pass_over(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    (void)err;
    struct pieces *pieces = self;
    size_t n = count < pieces->size ? (size_t)count : pieces->size;
    pieces->data += n;
    pieces->size -= n;
    pieces->taken += n;
    *skipped = n;
    return ERR_OK;
}

static enum errc begin_again(void *self, struct error *err)
{
    (void)err;
    struct pieces *pieces = self;
    pieces->data -= pieces->taken;
    pieces->size += pieces->taken;
    pieces->taken = 0;
    pieces->ended = false;
    return ERR_OK;
}

struct source pieces_source(struct pieces *pieces)
{
    return (struct source){.pull = pull, .self = pieces};
}

struct source pieces_file(struct pieces *pieces)
{
    return (struct source){
        .pull = pull, .self = pieces, .pass_over = pass_over, .rewind = begin_again};
}
