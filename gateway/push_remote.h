/*
 * `slipway push --gateway URL`: the archive is posted to a running gateway, whose answer is taken
 * as the result.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_REMOTE_H
#define SLIPWAY_GATEWAY_PUSH_REMOTE_H

#include "gateway/archive_input.h"
#include "gateway/archive_push.h"

/* Post `input` to `url`/v1/images. *answer is the push object (owned); ERR_OK also when targets
 * failed. A refusal by the gateway comes back as the error with the code that the gateway named;
 * ERR_HOST_UNKNOWN, ERR_CONNECT and their like when it could not be reached. */
enum errc push_remote(const char *url, const struct push_order *order, struct archive_input *input,
                      struct cancel *cancel, json_t **answer, struct error *err);

#endif
