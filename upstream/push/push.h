/*
 * The push of one image: the way an image leaves.
 *
 * What is pushed is a value (store/push.h): a manifest or index that the store holds, with
 * everything it refers to, and targets. Nothing else lives longer than the push, so one can be
 * recorded, dropped and started again.
 *
 * The order: children before their index, referrers after their subject, blobs before their
 * manifest, the tag last. A push ends when the registry has confirmed the manifest under its
 * digest; that, and only that, is the PushResult {tag, digest, size}.
 *
 * A push is not a thread. It is a work of its registry that takes one step after the other: it
 * sends a request, starts transfers, or waits, for its transfers, for a time, or for its turn. What
 * waits costs neither a thread nor a wake-up.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_H

#include "store/push.h"
#include "upstream/push/progress.h"
#include "upstream/push/upstream.h"

/* Everything is borrowed until ended() was called. */
struct push_options {
    struct upstream *upstream;
    const struct progress *progress; /* NULL: nobody listens */
    struct cancel *cancel;           /* ends the push within a second, and its upload sessions */
    bool remembers; /* use what is known of the target repositories from earlier pushes and early
                       uploads; what turns out to be wrong is forgotten, and the push goes another
                       round */
    bool once;      /* who pushes comes again: the first request at an endpoint is not repeated, and
                       unfinished uploads are left for that (upstream/upload/upload_memory.h) */
    bool probes;    /* the first request is GET /v2/, whatever is known of the registry */
    struct known_blobs *known; /* in the target repository, by other targets of this push; NULL:
                                  nothing. Unused where the push remembers */
    /* Before the first request, with what names the credentials it will be made with, on a worker.
     * False: the push ends, with ERR_CANCELLED. NULL: it goes on. */
    bool (*admits)(void *self, const struct digest *login);
    /* Right before each attempt to put its tag, on a worker. False: a younger push has it; the
     * image goes under its digest, and the push ends as PUSH_SUPERSEDED. NULL: it is put. */
    bool (*keeps_tag)(void *self);
    /* Once, on a worker; nothing of the push runs any more. */
    void (*ended)(void *self);
    void *self;
};

/* Push to the target `index`, whose state is PUSH_PUSHED, PUSH_SUPERSEDED, PUSH_FAILED or
 * PUSH_DRIFTED when it has ended. Never blocks. `options` is copied. */
void push_start(const struct push_options *options, struct push *push, size_t index);

/* Push to `count` targets from `first` on, each at its own pace: tags of one repository one after
 * another, repositories at once. ended() is called when all have ended, on this thread when there
 * are none. */
void push_all_start(const struct push_options *options, struct push *push, size_t first,
                    size_t count);

/* The same for all targets, and wait for the end. options->ended is not called. Not to be called on
 * a worker of the executor. */
void push_all(const struct push_options *options, struct push *push);

#endif
