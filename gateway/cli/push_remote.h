/*
 * `slipway push --gateway URL`: the archive is posted to a running gateway. The events that it
 * streams back are given to whoever shows progress, and its outcomes are put together to the push
 * object that it would have answered otherwise.
 */
#ifndef SLIPWAY_GATEWAY_CLI_PUSH_REMOTE_H
#define SLIPWAY_GATEWAY_CLI_PUSH_REMOTE_H

#include "gateway/cli/gateway_access.h"
#include "gateway/push/archive_push.h"

struct remote_push {
    const struct gateway_access *access;
    const struct push_order *order;
    const struct source *archive;
    uint64_t archive_bytes; /* 0 = not known */
    const struct progress *progress;
    struct cancel *cancel;
};

/* Post the archive to /v1/images of the gateway. *answer is the push object (owned); ERR_OK also
 * when targets failed. A refusal by the gateway comes back as the error with the code that the
 * gateway named; with err->status 0 ERR_HOST_UNKNOWN, ERR_CONNECT and their like when it could not
 * be reached, and ERR_REGISTRY_ANSWER when something else answered in its place. */
enum errc push_remote(const struct remote_push *push, json_t **answer, struct error *err);

#endif
