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
    pieces->ended = *size == 0;
    return ERR_OK;
}

struct source pieces_source(struct pieces *pieces)
{
    return (struct source){.pull = pull, .self = pieces};
}
