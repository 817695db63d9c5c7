/*
 * One file on its way into the store: a file of an archive (gateway/ingest/ingest.h), or a layer by
 * itself (gateway/ingest/layer_intake.h). A tar is compressed, everything else kept as it is
 * (image/layer.h).
 *
 * A layer that the store holds already in the form it would be given is hashed, not compressed
 * again: it is known by the diffID that it was promised to have, or by what it begins with; then
 * its bytes are put aside until its end shows whether it is that layer, unless the beginning is all
 * there is.
 *
 * Where its caller can pass over what is not pulled, a file that is held is not read at all, but
 * for its beginning: what the store has for its digest is taken for it. So what such a file has
 * behind its beginning is neither verified nor used.
 *
 * Memory: LAYER_START_BYTES beside the pipeline's. Used by one thread at a time, for one file after
 * another.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_FILE_INTAKE_H
#define SLIPWAY_GATEWAY_INGEST_FILE_INTAKE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "gateway/ingest/layer_watch.h"

struct file_intake_options {
    struct store *store;
    struct pool *codecs;
    enum codec codec; /* what a tar is given */
    enum effort effort;
};

struct file_intake;
/* All is borrowed until file_intake_free. `cancel` ends what does not wait for the source. */
struct file_intake *file_intake_new(const struct file_intake_options *options,
                                    struct cancel *cancel, struct batch *batch);
void file_intake_free(struct file_intake *intake);

#define FILE_SIZE_UNKNOWN UINT64_MAX

/* What is smaller is read: that costs as little, and it is verified. */
#define FILE_PASSED_MIN ((uint64_t)64 << 10)

struct file_promise {
    struct digest digest;  /* what the file says of itself; DIGEST_NONE when it says nothing. Also
                              the algorithm of layer_result.raw, SHA-256 without */
    uint64_t size;         /* bytes, or FILE_SIZE_UNKNOWN: then it is not known by its beginning */
    bool passable;         /* the caller passes over what was not pulled */
    struct digest diff_id; /* where it is passable: which layer a table of contents says it is */
    const struct layer_watch *watch; /* hears how it is stored; NULL: nobody */
    enum named_layer named;          /* to whoever hears: LAYER_NOT_NAMED if its content is one's */
};

/* Pull the file to its end, unless it is passable. Whether it kept its promise is for the caller to
 * see. Errors: the source's, the batch's. */
enum errc file_intake_take(struct file_intake *intake, struct source source,
                           const struct file_promise *promise, struct layer_result *out,
                           struct error *err);

/* The layer record's effort for a tar that was given this: one that stays a tar has none. */
enum effort file_intake_effort(enum codec codec, enum effort effort);

#endif
