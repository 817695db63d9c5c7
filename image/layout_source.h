/*
 * An OCI layout folder as the tar stream it would be: so that a folder and an archive take the same
 * way through the program.
 *
 * Only what a layout consists of is read: `oci-layout`, `index.json`, `manifest.json` if it is
 * there, and the regular files `blobs/ALG/NAME`. Files are read as they are pulled, and not where
 * they are passed over; one that becomes shorter meanwhile is an error.
 *
 * Symbolic links are followed. They may leave the folder where the name says what is read: the
 * tables of contents, and blobs whose name is a digest, which is checked before anything is used
 * (rules_oci keeps its layers outside and links to them). Another file below `blobs` has to be
 * beneath the folder, or it would be a way to have somebody's files sent; the error names the link,
 * as for one that leads nowhere.
 */
#ifndef SLIPWAY_IMAGE_LAYOUT_SOURCE_H
#define SLIPWAY_IMAGE_LAYOUT_SOURCE_H

#include "base/stream.h"

struct layout_source;

/* ERR_NOT_AN_IMAGE when the folder has no index.json, which says so if it is one of skopeo's dir:
 * or a file system; ERR_LINK_INVALID; ERR_IO; ERR_ARCHIVE_TOO_LARGE over CATALOG_ENTRIES_MAX files.
 */
enum errc layout_source_open(const char *path, struct layout_source **out, struct error *err);
void layout_source_close(struct layout_source *layout);
struct source layout_source(struct layout_source *layout);

#endif
