/*
 * What the table of an archive promises of its files, before they are read: `manifest.json` names
 * the layers, and the configs that it names have their diffIDs. Files that are named by their
 * digest need no table.
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
#include "image/digest.h"

struct contents;

/* Read the headers, and of the content only the table and configs; then `source` is at its
 * beginning again. *out is owned: contents_free; NULL when nothing is promised, as for a source
 * that comes only once or cannot be passed over. ERR_CANCELLED, or the source's error when it
 * cannot begin again. */
enum errc contents_read(struct source source, uint64_t limit_bytes, struct cancel *cancel,
                        struct contents **out, struct error *err);
void contents_free(struct contents *contents);

/* The diffID of the layer that the file of this name is; DIGEST_NONE when nothing says it, and for
 * NULL. */
struct digest contents_diff_id(const struct contents *contents, const char *name);

#endif
