/*
 * Compressing a stream block by block, whatever the codec: a head, the blocks in their order, a
 * tail. Blocks are encoded independently of each other, by any thread.
 */
#ifndef SLIPWAY_IMAGE_ENCODER_H
#define SLIPWAY_IMAGE_ENCODER_H

#include "image/codec.h"

#define ENCODER_FRAME_MAX 16

/* The most bytes that a block of CODEC_BLOCK_BYTES can give. `codec` is not CODEC_NONE here. */
size_t encoder_bound(enum codec codec);

/* Used by one thread at a time. */
struct encoder;
struct encoder *encoder_new(enum codec codec, enum effort effort);
void encoder_free(struct encoder *encoder);

/* At most CODEC_BLOCK_BYTES into `out` (encoder_bound() bytes); returns the count. The last block
 * may be empty. *crc is what the tail needs. */
size_t encoder_block(struct encoder *encoder, const uint8_t *in, size_t size, bool last,
                     uint8_t *out, uint32_t *crc);

/* What stands before and behind the blocks; returns the count, which may be 0. `crc` is that of all
 * blocks together (gzip_crc_combine). */
size_t encoder_head(enum codec codec, uint8_t out[ENCODER_FRAME_MAX]);
size_t encoder_tail(enum codec codec, uint32_t crc, uint64_t raw_size,
                    uint8_t out[ENCODER_FRAME_MAX]);

/* Decompress what encoders of this codec made: all of `source`. ERR_BLOB_CORRUPT when it is damaged
 * or ends early; the streams' own errors. */
enum errc encoder_restore(enum codec codec, struct source source, struct sink sink,
                          struct error *err);

#endif
