/*
 * Bytes as a source that gives them in pieces of one size, for tests of what reads streams.
 */
#ifndef SLIPWAY_TESTS_PIECES_H
#define SLIPWAY_TESTS_PIECES_H

#include "base/stream.h"

struct pieces {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t piece;
    bool ended;
};

/* Borrows `pieces`. To pull behind the end is a mistake of the reader, and ends the test. */
struct source pieces_source(struct pieces *pieces);

#endif
