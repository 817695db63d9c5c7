/*
 * What one run (upstream/push/push_run.h) brings, and where to.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_JOB_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_JOB_H

#include "upstream/push/push.h"

/* What is brought. Borrowed until ended(), but for `blob`, which is copied. */
struct push_job {
    const struct push_options *options;
    struct push *push; /* NULL: `blob` */
    struct push_target *target;
    struct descriptor blob;     /* goes into the repository of the target */
    char via[VIA_TEXT_MAX + 1]; /* the gateways that the blob has come through */
};

#endif
