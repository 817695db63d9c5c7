/*
 * Layers held: diffID -> the compressed forms of that layer in the blob store. Because of these
 * records a layer is compressed at most once in the life of the store for one codec and effort.
 *
 * Archives do not always say beforehand which layer a file is. So what a layer's tar begins with is
 * remembered too (image/layer.h, layer_start): it tells which layer a file may be, to be confirmed
 * by its diffID at the end.
 */
#ifndef SLIPWAY_STORE_LAYERS_H
#define SLIPWAY_STORE_LAYERS_H

#include "image/codec.h"
#include "image/digest.h"
#include "store/store.h"

struct layer_form {
    enum codec codec;     /* CODEC_GZIP, CODEC_ZSTD, or CODEC_NONE for the raw tar */
    enum effort effort;   /* EFFORT_AS_CAME for layers that arrived compressed */
    struct digest digest; /* of the stored blob */
    uint64_t size;        /* of the stored blob, bytes */
    uint64_t raw_size;    /* uncompressed, bytes; 0 when not known: then nobody here has seen the
                             tar, and that it is this layer is what a client's config says. Such a
                             form never replaces another one */
};

/* The form made with this codec and effort whose blob is held; *found false when there is none. */
enum errc layer_find(struct store *store, const struct digest *diff_id, enum codec codec,
                     enum effort effort, bool *found, struct layer_form *out, struct error *err);

/* The layer whose tar began so and is held in this form; *found false when there is none. */
enum errc layer_find_by_start(struct store *store, const struct digest *start, enum codec codec,
                              enum effort effort, bool *found, struct digest *diff_id,
                              struct layer_form *out, struct error *err);

/* All forms whose blob is held, in the order of codec and effort; *count 0 when there is none. */
#define LAYER_FORMS_MAX 9
enum errc layer_forms(struct store *store, const struct digest *diff_id,
                      struct layer_form out[LAYER_FORMS_MAX], size_t *count, struct error *err);

/* How large the layer is uncompressed, bytes, as any of its forms says; 0 when none knows. */
enum errc layer_raw_size(struct store *store, const struct digest *diff_id, uint64_t *out,
                         struct error *err);

#endif
