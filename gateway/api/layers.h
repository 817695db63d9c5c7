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

/* Route handlers. */
struct job *layers_post(struct gateway *gateway, const struct request *request,
                        struct reply *reply);
struct job *layers_get(struct gateway *gateway, const struct request *request, struct reply *reply);

#endif
