/*
 * Pushing an image that is held: POST /v1/pushes {"image": REFERENCE or DIGEST, "to": [...]}.
 *
 * A job of class JOB_PUSH: its body is small, and what it costs is the push. Names are looked up by
 * gateway/push/stored_image.h; progress and answer are those of gateway/api/push_job.h.
 */
#ifndef SLIPWAY_GATEWAY_API_PUSHES_H
#define SLIPWAY_GATEWAY_API_PUSHES_H

#include "gateway/api/push_job.h"
#include "gateway/push/archive_push.h"
#include "gateway/service/handler.h"

#define PUSH_BODY_MAX ((size_t)64 << 10)

/* A route handler. */
struct job *pushes_post(struct gateway *gateway, const struct request *request,
                        struct reply *reply);

/* The body: strictly these two members, no key twice. Fills order->image and the targets.
 * ERR_JSON_TOO_LARGE over PUSH_BODY_MAX, ERR_JSON_INVALID; ERR_BAD_REQUEST for another member or a
 * wrong type; ERR_NO_TARGET; those of push_order_add(). The order is to be deinited in any case. */
enum errc pushes_parse(const char *data, size_t size, struct push_order *order, struct error *err);

#endif
