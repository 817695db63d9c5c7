/*
 * An OCI layout folder as the tar stream it would be: so that a folder and an archive take the same
 * way through the program.
 *
 * Only what a layout consists of is read: `oci-layout`, `index.json`, `manifest.json` if it is
 * there, and the regular files `blobs/ALG/NAME`. Symbolic links are not followed. Files are read as
 * they are pulled; one that changes its size meanwhile is an error.
 */
#ifndef SLIPWAY_IMAGE_LAYOUT_SOURCE_H
#define SLIPWAY_IMAGE_LAYOUT_SOURCE_H

#include "base/stream.h"

struct layout_source;

/* ERR_NOT_AN_IMAGE when the folder has no index.json; ERR_IO; ERR_ARCHIVE_TOO_LARGE over
 * CATALOG_ENTRIES_MAX files. */
enum errc layout_source_open(const char *path, struct layout_source **out, struct error *err);
void layout_source_close(struct layout_source *layout);
struct source layout_source(struct layout_source *layout);

/* About how many bytes the stream has, for progress. */
uint64_t layout_source_size(const struct layout_source *layout);

#endif
