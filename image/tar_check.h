/*
 * Is this stream of bytes a whole tar? Headers are followed from one to the next, contents are
 * skipped: what the names and contents are is not looked at, so this is no unpacking and keeps
 * nothing.
 *
 * v7, ustar, pax (POSIX.1-2017, pax, "ustar Interchange Format": a pax header's `size` counts) and
 * GNU (base-256 sizes, long names, sparse files with extension headers). As strict as Go's
 * archive/tar, through which the engines of the field read layers: every header's checksum has to
 * fit, and an archive ends with two zero blocks or at the end of a file's content; behind the zero
 * blocks anything goes.
 *
 * Memory: one block, and a pax header of at most TAR_EXTENDED_MAX bytes. One owner.
 */
#ifndef SLIPWAY_IMAGE_TAR_CHECK_H
#define SLIPWAY_IMAGE_TAR_CHECK_H

#include "base/buf.h"
#include "base/error.h"
#include "image/tar_header.h"

#include <stdint.h>

enum tar_part { TAR_HEADER, TAR_SPARSE, TAR_CONTENT, TAR_PAX, TAR_ENDING, TAR_END };

struct tar_check {
    enum tar_part part;
    uint8_t block[TAR_BLOCK_BYTES];
    size_t filled;
    uint64_t left;    /* of the content at hand */
    uint64_t padding; /* behind it */
    bool described;   /* a header that belongs to the next file has been seen */
    bool has_size;    /* and it says how large that is */
    uint64_t size;
    struct buf pax;
    uint64_t offset; /* bytes seen */
    uint64_t files;  /* headers of their own */
};

void tar_check_init(struct tar_check *check);
void tar_check_deinit(struct tar_check *check);

/* The next bytes. ERR_ARCHIVE_UNRECOGNISED when the first block is no header,
 * ERR_ARCHIVE_CORRUPT for what is wrong later; nothing may be written after a failure. */
enum errc tar_check_write(struct tar_check *check, const void *data, size_t size,
                          struct error *err);

/* There are no more. ERR_ARCHIVE_TRUNCATED; ERR_ARCHIVE_EMPTY when there never were any. */
enum errc tar_check_finish(const struct tar_check *check, struct error *err);

#endif
