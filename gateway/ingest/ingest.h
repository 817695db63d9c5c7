/*
 * Taking an archive in: read once as a stream, every file stored as it passes, its name and digests
 * entered in a catalog. What the files mean is decided afterwards (gateway/ingest/image_choice.h),
 * because an archive may name its parts before or after it describes them.
 *
 * Where the source can be passed over and begun again (base/stream.h), that is a file, its tables
 * are looked at first (gateway/ingest/contents.h), and layers that are held are not read: they are
 * entered as what the store has for their digest.
 *
 * Runs on the calling thread, which blocks in the source; compression runs on the codec pool.
 * Memory is constant: see gateway/ingest/file_intake.h and image/archive.h.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_INGEST_H
#define SLIPWAY_GATEWAY_INGEST_INGEST_H

#include "base/cancel.h"
#include "gateway/ingest/file_intake.h"
#include "image/catalog.h"

struct ingest_options {
    struct file_intake_options files;
    uint64_t limit_bytes; /* of the unpacked archive */
    /* Hears of the layers of an archive whose tables were read before them, and list one image;
     * where it says so, of any that may be one. NULL: nobody. */
    const struct layer_watch *watch;
};

/* Everything goes into `batch`; on failure the caller aborts it. A file under `blobs/ALG/HEX` whose
 * bytes have another digest is ERR_DIGEST_MISMATCH. A layer that is held already is known again by
 * that name, too (gateway/ingest/file_intake.h), and what is not read is not found to be other than
 * its name says. *out is owned: catalog_free. */
enum errc ingest_archive(const struct ingest_options *options, struct source source,
                         struct cancel *cancel, struct batch *batch, struct catalog **out,
                         struct error *err);

#endif
