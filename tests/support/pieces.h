/*
 * Bytes as a source that gives them in pieces of one size, for tests of what reads streams or
 * files.
 */
#ifndef SLIPWAY_TESTS_PIECES_H
#define SLIPWAY_TESTS_PIECES_H

#include "base/stream.h"

struct pieces {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t piece;
    bool ended;
    size_t taken;  /* bytes that were pulled or passed over since the beginning */
    size_t pulled; /* in all */
};

/* Borrows `pieces`. To pull behind the end is a mistake of the reader, and ends the test. */
struct source pieces_source(struct pieces *pieces);

/* The same as a file: what can be passed over and begun again. */
struct source pieces_file(struct pieces *pieces);

#endif
