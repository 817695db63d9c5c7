/*
 * Reading an archive once, as a stream: tar, plain or inside gzip, zstd, xz or bzip2, recognised by
 * content (image/unpack.h, image/tar_reader.h). This module decides what an entry may be.
 *
 * Regular files, symbolic and hard links pass; folders are skipped. Refused, each with an error
 * that names the entry: absolute names and names with "..", links that leave the archive, devices,
 * fifos, sockets, sparse files, names over ARCHIVE_NAME_MAX bytes or with control characters, and
 * more uncompressed bytes than the caller allows (which is what stops a decompression bomb: bytes
 * are counted as they come out). Names that come twice and links that loop are the catalog's to
 * refuse (image/catalog.h), which sees all of them.
 *
 * Memory: constant, whatever the archive claims: what image/tar_reader.h and image/unpack.h say,
 * which is up to 8 MiB for what gzip, bzip2, zstd and xz make by default.
 *
 * A reader belongs to one thread at a time, which blocks in the source.
 */
#ifndef SLIPWAY_IMAGE_ARCHIVE_H
#define SLIPWAY_IMAGE_ARCHIVE_H

#include "base/stream.h"

#define ARCHIVE_NAME_MAX 1024

struct archive_reader;

struct archive_entry_info {
    const char *name;   /* without "./" in front; borrowed until the next call */
    const char *target; /* name inside the archive that a link points to; NULL for a file */
    uint64_t size;      /* bytes of a file */
};

/* ERR_ARCHIVE_EMPTY for a stream without a byte, ERR_ARCHIVE_UNRECOGNISED for one that is no tar
 * archive. `limit_bytes` bounds the uncompressed size. The source is borrowed until close. */
enum errc archive_reader_open(struct source source, uint64_t limit_bytes,
                              struct archive_reader **out, struct error *err);
void archive_reader_close(struct archive_reader *reader);

/* The next file or link; *end true when there is none. Errors: ERR_NOT_AN_IMAGE in place of a
 * refusal where the entries so far are those of a root file system (image/archive_guess.h),
 * ERR_ARCHIVE_TRUNCATED, ERR_ARCHIVE_CORRUPT, ERR_ARCHIVE_TOO_LARGE, the refusals above, or the
 * source's own error. */
enum errc archive_reader_next(struct archive_reader *reader, struct archive_entry_info *out,
                              bool *end, struct error *err);

/* More bytes of the current file, borrowed until the next call; *size 0 at its end. */
enum errc archive_reader_read(struct archive_reader *reader, const uint8_t **data, size_t *size,
                              struct error *err);

/* Pass over what is left of the current file. Errors as for reading it. */
enum errc archive_reader_skip(struct archive_reader *reader, struct error *err);

/* What is passed over is not read: the source can do that, and nothing is around the tar. */
bool archive_reader_seeks(const struct archive_reader *reader);

#endif
