/*
 * What the tables of an archive that comes only once have said so far of the files that follow: a
 * layout whose index and manifests stand before their layers, a docker save whose manifest.json
 * does. As in gateway/ingest/contents.h, only of an archive that lists one image, or one index: a
 * table that lists several, or cannot be read, takes back what the other has said. What a table
 * that comes later makes of the archive nobody knows here.
 *
 * Memory: the names of one image's layers, CATALOG_ENTRIES_MAX digests, and one document at a time.
 * One owner.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_STREAM_TABLES_H
#define SLIPWAY_GATEWAY_INGEST_STREAM_TABLES_H

#include "gateway/ingest/layer_watch.h"
#include "image/digest_map.h"

struct stream_tables {
    bool has_index, has_table; /* were seen */
    bool odd;                  /* one of them says nothing that can be relied on */
    struct digest_map manifests;
    struct digest_map layers; /* number: the enum named_layer */
    size_t noted;             /* digests, in both */
    char **names;             /* owned, sorted; of layers in manifest.json */
    size_t name_count;
};

/* The file of this name is to be seen where it has at most so many bytes; 0: it says nothing. */
size_t stream_tables_wants(const struct stream_tables *tables, const char *name);
/* No bytes where it could not be read. */
void stream_tables_see(struct stream_tables *tables, const char *name, const char *data,
                       size_t size);

/* Whether the file of this name is a layer of what is listed. */
enum named_layer stream_tables_names(const struct stream_tables *tables, const char *name);

void stream_tables_deinit(struct stream_tables *tables);

#endif
