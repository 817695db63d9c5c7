/*
 * What the tests of batches look at: blobs of a store, and files of its folder.
 */
#ifndef SLIPWAY_TESTS_BATCH_BENCH_H
#define SLIPWAY_TESTS_BATCH_BENCH_H

#include "store/store.h"

#include <stddef.h>

/* It can be read, and its size is told; or neither. */
void batch_bench_expect(struct store *store, const char *content);
void batch_bench_expect_none(struct store *store, const char *content);

/* How many entries the folder of that name in the store's has. */
size_t batch_bench_files(const char *folder, const char *name);

/* More than stays in memory until the commit; borrowed until the next one. */
#define BATCH_BENCH_LARGE_BYTES 20000
const char *batch_bench_large(char letter);

#endif
