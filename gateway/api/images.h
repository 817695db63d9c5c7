/*
 * Images coming in over HTTP: POST and PUT /v1/images. The body is an archive, or, where its media
 * type says so, the config of an image whose layers are held (gateway/ingest/config_image.h).
 *
 * The request is a job (gateway/http/jobs.h) that ingests the archive, lets the sender go, then
 * pushes and answers. A failed ingest does not end the connection: what the client still sends is
 * dropped, and after its last byte it gets the answer.
 *
 * A client may ask for the events of the push instead of one answer at its end: then the reply is a
 * stream of them (gateway/api/event_stream.h), ready as soon as the push begins. What fails before
 * that is a plain error as ever.
 */
#ifndef SLIPWAY_GATEWAY_API_IMAGES_H
#define SLIPWAY_GATEWAY_API_IMAGES_H

#include "gateway/service/handler.h"

/* A route_handler. Refuses wrong parameters and an archive over limits.archive before the client
 * has sent it; ERR_BUSY as job_start(). A config is a job of class JOB_PUSH: its body is small, and
 * what it costs is the push. */
struct job *images_post(struct gateway *gateway, const struct request *request,
                        struct reply *reply);

#endif
