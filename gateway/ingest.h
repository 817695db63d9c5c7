/*
 * Taking an archive in: read once as a stream, every file stored as it passes, its name and digests
 * entered in a catalog. What the files mean is decided afterwards (gateway/image_choice.h), because
 * an archive may name its parts before or after it describes them.
 *
 * Runs on the calling thread, which blocks in the source; compression runs on the codec pool.
 * Memory is constant: see image/layer.h and image/archive.h.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_H
#define SLIPWAY_GATEWAY_INGEST_H

#include "base/cancel.h"
#include "base/pool.h"
#include "image/catalog.h"
#include "store/batch.h"

struct ingest_options {
    struct store *store;
    struct pool *codecs;
    uint64_t limit_bytes; /* of the unpacked archive */
    enum codec codec;     /* what files that are a tar are given */
    enum effort effort;
};

/* Everything goes into `batch`; on failure the caller aborts it. A file under `blobs/ALG/HEX` whose
 * bytes have another digest is ERR_DIGEST_MISMATCH. A layer that the store holds already in the
 * form it would be given is hashed, not compressed again: it is known by the name of its file, or
 * by what it begins with. *out is owned: catalog_free. */
enum errc ingest_archive(const struct ingest_options *options, struct source source,
                         struct cancel *cancel, struct batch *batch, struct catalog **out,
                         struct error *err);

#endif
