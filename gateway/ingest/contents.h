/*
 * What the tables of an archive promise of its files, before they are read: `manifest.json` names
 * the layers, and the configs that it names have their diffIDs; `index.json` leads to manifests,
 * which name theirs. To know a layer again, files that are named by their digest need no table; but
 * it says which files are sure to be layers of the image that will be pushed.
 *
 * Nothing is believed of a table that is not plain: an archive with a name that comes twice, a
 * table that cannot be read, a layer that two images say different things of. Then there is no
 * promise, and the file is read; what is wrong with the archive is for the ordinary reading to say.
 *
 * Memory: the names and as many digests as an archive may have entries (image/catalog.h), and one
 * document at a time. One owner.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_CONTENTS_H
#define SLIPWAY_GATEWAY_INGEST_CONTENTS_H

#include "base/cancel.h"
#include "base/stream.h"
#include "gateway/ingest/layer_watch.h"
#include "image/digest.h"

struct contents;

/* Read the headers, and of the content only the tables, configs and manifests; then `source` is at
 * its beginning again. `layers`: also where all there is to say is which files are layers. *out is
 * owned: contents_free; NULL when nothing is promised, as for a source that comes only once or
 * cannot be passed over. ERR_CANCELLED, or the source's error when it cannot begin again. */
enum errc contents_read(struct source source, uint64_t limit_bytes, bool layers,
                        struct cancel *cancel, struct contents **out, struct error *err);
void contents_free(struct contents *contents);

/* The diffID of the layer that the file of this name is; DIGEST_NONE when nothing says it, and for
 * NULL. */
struct digest contents_diff_id(const struct contents *contents, const char *name);

/* Whether the file of this name is a layer of the only image, or the only index, that the archive
 * lists. LAYER_NOT_NAMED for NULL. */
enum named_layer contents_names_layer(const struct contents *contents, const char *name);

/* There is one, and all its layers are files of the archive. False for NULL. */
bool contents_whole(const struct contents *contents);

#endif
