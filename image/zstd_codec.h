/*
 * zstd layers (RFC 8878, libzstd): each block a frame of its own, strung together. Frames in a row
 * are one stream to every decoder (section 3.1), any number of threads makes the same bytes, and a
 * frame holds its content's size and checksum. The same input and library give the same bytes on
 * every run.
 */
#ifndef SLIPWAY_IMAGE_ZSTD_CODEC_H
#define SLIPWAY_IMAGE_ZSTD_CODEC_H

#include "image/codec.h"

/* The most bytes that a block of `size` bytes can give. */
size_t zstd_block_bound(size_t size);

/* Working memory for one thread at a time: a few MiB with EFFORT_FAST, some ten with EFFORT_BEST.
 */
struct zstd_encoder;
struct zstd_encoder *zstd_encoder_new(enum effort effort);
void zstd_encoder_free(struct zstd_encoder *encoder);

/* One block into `out` (zstd_block_bound(size) bytes); returns the count. */
size_t zstd_encode_block(struct zstd_encoder *encoder, const uint8_t *in, size_t size,
                         uint8_t *out);

#endif
