/*
 * What one run (upstream/push/push_run.h) brings, and where to.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_JOB_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_JOB_H

#include "upstream/push/push.h"

struct growing_blob;

/* What is brought. Borrowed until ended(), but for `blob`, which is copied. */
struct push_job {
    const struct push_options *options;
    struct push *push; /* NULL: `blob` */
    struct push_target *target;
    struct descriptor blob;       /* goes into the repository of the target */
    struct growing_blob *growing; /* NULL: it is whole; else held by who started the run, which
                                     fills `blob` when it has become that */
    char via[VIA_TEXT_MAX + 1];   /* the gateways that the blob has come through */
};

#endif
