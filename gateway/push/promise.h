/*
 * What has to be on the disk before a push is promised: the image, all that it needs, and a record.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PROMISE_H
#define SLIPWAY_GATEWAY_PUSH_PROMISE_H

#include "gateway/push/runtime.h"
#include "store/batch.h"
#include "store/push.h"

/* Where some of its targets are pushed after the answer, make the batch durable, with all that the
 * image and its referrers need. Errors of the batch. */
enum errc promise_hold(struct batch *batch, struct push *push, struct error *err);

/* Push to all targets of an accepted push after the answer: its image is held, and is on the disk
 * with the push's record when this returns. Blocks. Errors of the store. */
enum errc promise_all(struct runtime *runtime, struct push *push, struct error *err);

#endif
