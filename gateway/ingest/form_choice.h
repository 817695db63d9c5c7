/*
 * Which of the forms that a layer is held in to use.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_FORM_CHOICE_H
#define SLIPWAY_GATEWAY_INGEST_FORM_CHOICE_H

#include "store/layers.h"

struct form_preference {
    enum codec codec; /* this one if it is held, with any effort, then gzip, zstd, tar */
    enum effort effort;
    bool no_zstd; /* what schema2 manifests can have */
    bool seen;    /* only those whose tar slipway has seen itself (store/layers.h) */
};

/* The form to use; NULL when there is none. Borrowed from `forms`. */
const struct layer_form *form_choose(const struct form_preference *preference,
                                     const struct layer_form *forms, size_t count);

#endif
