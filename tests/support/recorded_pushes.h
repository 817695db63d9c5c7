/*
 * What a store has recorded of pushes, for tests.
 */
#ifndef SLIPWAY_TESTS_RECORDED_PUSHES_H
#define SLIPWAY_TESTS_RECORDED_PUSHES_H

#include "store/pushes.h"

#define RECORDED_PUSHES_MAX 256

/* All of them, oldest first; owned, as each of them. Fails the test where it cannot be read. */
size_t recorded_pushes(struct store *store, struct push **out);
void recorded_pushes_free(struct push *pushes, size_t count);

#endif
