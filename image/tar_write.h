/*
 * Tars that are put together: the header of an entry, whose content its writer appends, padded to
 * TAR_BLOCK_BYTES (tar_padding()); TAR_END_BYTES zeros end the archive. pax where ustar does not
 * do.
 */
#ifndef SLIPWAY_IMAGE_TAR_WRITE_H
#define SLIPWAY_IMAGE_TAR_WRITE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

#define TAR_END_BYTES ((size_t)1024)

/* Of a file of `size` bytes, or, with a `target`, of a hard link to that name of the archive.
 * ERR_IO.
 */
enum errc tar_write_header(struct buf *out, const char *name, uint64_t size, const char *target,
                           struct error *err);

#endif
