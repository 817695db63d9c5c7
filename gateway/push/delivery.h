/*
 * One manifest that a registry client put, on its way to the targets of its repository.
 *
 * delivery_plan() says where it goes. With ACKNOWLEDGE_PUSHED the client waits: delivery_run()
 * returns when all targets have ended, and fails when one that is not optional did, with an error
 * that names registry, status and reason. With ACKNOWLEDGE_STORED the promise is written with the
 * image (delivery_record) and kept afterwards (delivery_start, gateway/push/behind.h).
 *
 *     delivery_plan
 *     pushed: commit the manifest's blob, delivery_run, commit its name
 *     stored: delivery_record into the batch with manifest and name, commit, delivery_start
 *     nowhere: commit manifest and name
 */
#ifndef SLIPWAY_GATEWAY_PUSH_DELIVERY_H
#define SLIPWAY_GATEWAY_PUSH_DELIVERY_H

#include "base/cancel.h"
#include "gateway/push/mirrors.h"
#include "gateway/service/gateway.h"
#include "store/pushes.h"

struct delivery {
    struct gateway *gateway; /* borrowed */
    struct mirror_route route;
    struct descriptor manifest;
    char tag[REFERENCE_TAG_MAX + 1]; /* "": under its digest */
    char id[PUSH_ID_MAX];
};

enum errc delivery_plan(struct gateway *gateway, const char *repository, const char *tag,
                        const struct descriptor *manifest, struct delivery *out, struct error *err);

bool delivery_goes_nowhere(const struct delivery *delivery);
bool delivery_waits(
    const struct delivery *delivery); /* ACKNOWLEDGE_PUSHED, and it goes somewhere */

/* Blocks. */
enum errc delivery_run(const struct delivery *delivery, struct cancel *cancel, struct error *err);

void delivery_record(const struct delivery *delivery, struct batch *batch);
void delivery_start(const struct delivery *delivery);

/* A blob has come into the repository: it may leave for the targets at once
 * (upstream/push/ahead.h). Never blocks on a registry, never fails. */
void delivery_ahead(struct gateway *gateway, const char *repository, const struct digest *digest,
                    uint64_t size);

#endif
