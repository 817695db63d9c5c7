/*
 * Taking one layer in: a tar by itself, plain or compressed with gzip or zstd, recognised by its
 * content, read once as a stream.
 *
 * A tar is compressed as the options say. What comes compressed is kept byte for byte, and
 * decompressed on the side as it passes: that gives its diffID. Either way the headers of the tar
 * are followed (image/tar_check.h), so that what is held is a whole layer, and nothing of it is
 * kept otherwise.
 *
 * Runs on the calling thread, which blocks in the source; compression runs on the codec pool.
 * Memory is constant: gateway/ingest/file_intake.h and image/decoder.h.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_LAYER_INTAKE_H
#define SLIPWAY_GATEWAY_INGEST_LAYER_INTAKE_H

#include "base/cancel.h"
#include "gateway/ingest/file_intake.h"

struct layer_order {
    struct file_intake_options files;
    uint64_t limit_bytes;  /* of the layer, as it comes and as a tar */
    struct digest diff_id; /* what it has to be; DIGEST_NONE: whatever it is */
    uint64_t size;         /* bytes that will come, or FILE_SIZE_UNKNOWN */
};

struct stored_layer {
    struct digest diff_id;
    struct layer_form form;
};

/* Everything goes into `batch`; on failure the caller aborts it. ERR_ARCHIVE_EMPTY for no bytes,
 * ERR_ARCHIVE_UNRECOGNISED for what is no tar, ERR_ARCHIVE_CORRUPT, ERR_ARCHIVE_TRUNCATED,
 * ERR_ARCHIVE_TOO_LARGE, ERR_DIFFID_MISMATCH, ERR_CANCELLED; the source's and the store's own. */
enum errc layer_take(const struct layer_order *order, struct source source, struct cancel *cancel,
                     struct batch *batch, struct stored_layer *out, struct error *err);

/* Which layer is the whole of `source`, compressed, and how many bytes is it unpacked? What is
 * unpacked is taken off *limit_bytes, on failure too. Nothing is stored. Errors as above;
 * ERR_ARCHIVE_UNRECOGNISED for a plain tar, too: its digest is its diffID. */
enum errc layer_unpack(struct source source, struct cancel *cancel, uint64_t *limit_bytes,
                       struct digest *diff_id, uint64_t *raw_size, struct error *err);

#endif
