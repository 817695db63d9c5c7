/*
 * Compression of layers: which codecs there are, how content is told apart, and the block gzip that
 * slipway makes itself.
 *
 * Block gzip: the input is cut into blocks of CODEC_BLOCK_BYTES; each is deflated on its own (so
 * any number of threads gives the same bytes) and ends on a byte boundary; the blocks are strung
 * together as one gzip member (RFC 1952) with a fixed header: no name, mtime 0. The same input,
 * library and CPU kind give the same bytes on every run.
 */
#ifndef SLIPWAY_IMAGE_CODEC_H
#define SLIPWAY_IMAGE_CODEC_H

#include "base/stream.h"

#include <stdint.h>

/* The numbers are stored on disk: never change them. */
enum codec { CODEC_NONE = 0, CODEC_GZIP = 1, CODEC_ZSTD = 2 };
enum effort { EFFORT_FAST = 0, EFFORT_BEST = 1, EFFORT_AS_CAME = 255 };

/* What the first bytes of a file say it is. */
enum content { CONTENT_OTHER, CONTENT_TAR, CONTENT_GZIP, CONTENT_ZSTD, CONTENT_EMPTY };
#define CONTENT_PEEK_BYTES 512

/* `size` bytes from the start of a file, at least CONTENT_PEEK_BYTES of them if it has so many. A
 * tar is told by its header checksum, or by being nothing but zero blocks (the empty layer). */
enum content content_of(const uint8_t *data, size_t size);

/* A compression that no layer of an image has: "xz" or "bzip2" by the first bytes of CONTENT_OTHER;
 * NULL for anything else. */
const char *content_compression(const uint8_t *data, size_t size);

#define CODEC_BLOCK_BYTES ((size_t)1 << 20)
#define GZIP_HEADER_BYTES 10
#define GZIP_TRAILER_BYTES 8

extern const uint8_t gzip_header[GZIP_HEADER_BYTES];

/* The most bytes that deflating a block of `size` bytes can give. */
size_t gzip_block_bound(size_t size);

/* The working memory for deflating blocks (about 0.5 MiB), used by one thread at a time; what it
 * gives depends on the block alone, not on what it deflated before. */
struct gzip_encoder;
struct gzip_encoder *gzip_encoder_new(enum effort effort);
void gzip_encoder_free(struct gzip_encoder *encoder);

/* Deflate one block of at most CODEC_BLOCK_BYTES into `out` (gzip_block_bound(size) bytes) and
 * return the count; `last` ends the stream. *crc is the CRC-32 of the input. With EFFORT_FAST a
 * block that is as good as noise, as what is compressed already, is stored as it is (RFC
 * 1951, 3.2.4). */
size_t gzip_encode_block(struct gzip_encoder *encoder, const uint8_t *in, size_t size, bool last,
                         uint8_t *out, uint32_t *crc);

/* CRC-32 of A followed by B of `size_b` bytes. */
uint32_t gzip_crc_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

void gzip_trailer(uint32_t crc, uint64_t raw_size, uint8_t out[GZIP_TRAILER_BYTES]);

/* "ISA-L" or "zlib 1.2.13": for `slipway version`. */
const char *gzip_library(void);

#endif
