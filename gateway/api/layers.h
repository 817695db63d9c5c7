/*
 * Layers coming in one by one: POST and PUT /v1/layers, and what is held of them: GET and HEAD
 * /v1/layers/DIFFID.
 *
 * A layer is promised to be held when it is answered, so its batch is durable. It is a job of class
 * JOB_ARCHIVE: it costs what an archive costs (the compressor's memory), and it comes from the same
 * clients, which try again when they are told to.
 */
#ifndef SLIPWAY_GATEWAY_API_LAYERS_H
#define SLIPWAY_GATEWAY_API_LAYERS_H

#include "gateway/service/handler.h"
#include "image/descriptor.h"
#include "store/layers.h"

/* Route handlers. */
struct job *layers_post(struct gateway *gateway, const struct request *request,
                        struct reply *reply);
struct job *layers_get(struct gateway *gateway, const struct request *request, struct reply *reply);

/* Which of a layer's forms to use. */
struct layer_preference {
    enum codec codec; /* this one if it is held, whoever compressed it, then gzip, zstd, tar */
    enum effort effort;
    bool no_zstd; /* what schema2 manifests can have */
    bool seen;    /* only those whose tar slipway has seen itself (store/layers.h) */
};

/* The form to use; NULL when there is none. Borrowed from `forms`. */
const struct layer_form *layer_prefer(const struct layer_preference *preference,
                                      const struct layer_form *forms, size_t count);

#endif
