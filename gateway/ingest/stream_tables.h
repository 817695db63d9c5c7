/*
 * What the tables of an archive that comes only once have said so far of the files that follow: a
 * layout whose index and manifests stand before their layers, a docker save whose manifest.json
 * does. As in gateway/ingest/contents.h, only of an archive that lists one image, or one index; a
 * table that cannot be read says nothing, and what is wrong with it the choice of the image will
 * say.
 *
 * Memory: CATALOG_ENTRIES_MAX digests, and one document at a time. One owner.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_STREAM_TABLES_H
#define SLIPWAY_GATEWAY_INGEST_STREAM_TABLES_H

#include "image/catalog.h"
#include "image/digest_map.h"
#include "image/docker_archive.h"

struct stream_tables {
    struct digest_map manifests; /* that are part of what is listed */
    struct digest_map layers;
    size_t noted; /* digests, in both */
    struct docker_archive table;
};

/* The file of this name is to be seen where it has at most so many bytes; 0: it says nothing. */
size_t stream_tables_wants(const struct stream_tables *tables, const char *name);
void stream_tables_see(struct stream_tables *tables, const char *name, const char *data,
                       size_t size);

/* The file of this name is a layer of what is listed. */
bool stream_tables_sure_layer(const struct stream_tables *tables, const char *name);

void stream_tables_deinit(struct stream_tables *tables);

#endif
