/*
 * Parts of a tar, for tests that make right and wrong ones.
 */
#ifndef SLIPWAY_TESTS_TAR_BLOCKS_H
#define SLIPWAY_TESTS_TAR_BLOCKS_H

#include "base/buf.h"

#include <stdint.h>

/* Give a header its checksum. */
void tar_seal(uint8_t *header);

/* Content and what fills its last block. */
void tar_add_content(struct buf *tar, const void *data, size_t size);

#endif
