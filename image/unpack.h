/*
 * Undoing the compression around an archive, as it is pulled: gzip (RFC 1952), zstd (RFC 8878), xz
 * and bzip2, recognised by content, any number of members, frames or streams in a row; what is none
 * of these passes as it is. Checksums are verified. Behind the last gzip or bzip2 member anything
 * may follow, as those programs take it.
 *
 * What is compressed twice is unpacked twice, but not more often (UNPACK_DEPTH_MAX).
 *
 * Memory: 256 KiB and what the format needs, which the stream may ask for up to
 * UNPACK_WINDOW_MAX: asked for before it is allocated, for every frame and block. No header's names
 * or comments are kept.
 *
 * One owner, which blocks in the source.
 */
#ifndef SLIPWAY_IMAGE_UNPACK_H
#define SLIPWAY_IMAGE_UNPACK_H

#include "base/stream.h"

#define UNPACK_DEPTH_MAX 2

/* The window of zstd, the dictionary of xz: `zstd --ultra -22` and twice `xz -9`. */
#define UNPACK_WINDOW_LOG_MAX 27
#define UNPACK_WINDOW_MAX ((uint64_t)1 << UNPACK_WINDOW_LOG_MAX)

struct unpack;

/* Looks at how `source` begins; it is borrowed until close. ERR_ARCHIVE_UNRECOGNISED for what is
 * compressed too often, ERR_MEMORY, or the source's error. */
enum errc unpack_open(struct source source, struct unpack **out, struct error *err);
void unpack_close(struct unpack *unpack);

/* What comes out, borrowed until close; what passes as it is can be passed over as the source can.
 * Its errors: ERR_ARCHIVE_CORRUPT, ERR_ARCHIVE_TRUNCATED,
 * ERR_ARCHIVE_TOO_LARGE for a window over the limit, ERR_MEMORY, or the source's. */
struct source unpack_source(struct unpack *unpack);

#endif
