/*
 * Decompressing a stream piece by piece, as it passes: gzip (RFC 1952, any number of members in a
 * row) or zstd (RFC 8878, any number of frames, skippable ones too). Checksums are verified, and
 * behind the last member or frame there is nothing else: what decodes here decodes for every
 * client.
 *
 * Memory: 256 KiB and the window: 32 KiB for gzip; for zstd what its frame asks for, at most
 * 128 MiB (window log 27, what `zstd --ultra -22` makes; up to 8 MiB by default).
 *
 * A decoder belongs to one thread at a time.
 */
#ifndef SLIPWAY_IMAGE_DECODER_H
#define SLIPWAY_IMAGE_DECODER_H

#include "image/codec.h"

struct decoder;

/* `codec` is not CODEC_NONE; `sink` is borrowed until decoder_free. */
struct decoder *decoder_new(enum codec codec, struct sink sink);
void decoder_free(struct decoder *decoder);

/* The next bytes. ERR_ARCHIVE_CORRUPT when they are damaged or ask for too large a window,
 * ERR_MEMORY, or the sink's error; nothing may be written after a failure. */
enum errc decoder_write(struct decoder *decoder, const void *data, size_t size, struct error *err);

/* There are no more. ERR_ARCHIVE_TRUNCATED when a member or frame is open, or none ever was. */
enum errc decoder_finish(struct decoder *decoder, struct error *err);

#endif
