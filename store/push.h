/*
 * A push as a value: what goes where, and what became of it. The same value is asked for, stored
 * (store/pushes.h), run (upstream/push/push.h) and answered.
 *
 * Ownership: what the value points to is its own; push_deinit() frees it. Copies are deep.
 * Threads: while a push runs, each target belongs to the run of that target, all else is constant.
 */
#ifndef SLIPWAY_STORE_PUSH_H
#define SLIPWAY_STORE_PUSH_H

#include "base/limits.h"
#include "image/descriptor.h"
#include "image/reference.h"
#include "image/repository_name.h"

#define PUSH_ID_MAX 32

/* The numbers are stored on disk. */
enum push_state {
    PUSH_WAITING = 1, /* or running */
    PUSH_PUSHED = 2,
    PUSH_FAILED = 3,
    PUSH_SUPERSEDED = 4, /* a younger push of the same tag took its place before it began */
};

struct push_layers {
    unsigned existed, mounted, uploaded, skipped;
};

struct push_target {
    struct reference reference; /* with a tag, or with the manifest's own digest */
    bool optional;              /* its failure does not fail the push */
    bool stored;                /* acknowledged as soon as it is stored, and pushed afterwards */
    enum push_state state;
    /* the PushResult, when PUSH_PUSHED: the manifest as the registry serves it */
    struct digest digest;
    uint64_t size; /* bytes */
    char media_type[MEDIA_TYPE_MAX];
    struct push_layers layers;
    uint64_t bytes_uploaded; /* blob bytes that the registry acknowledged */
    unsigned attempts;       /* the most that any blob, the manifest or the first request needed */
    struct error error;      /* when PUSH_FAILED; error.status is the registry's HTTP status or 0 */
};

/* A manifest that goes with an image because it refers to a part of it: by its `subject`, or by a
 * tag made of that part's digest (cosign's "sha256-HEX.sig"). */
struct push_referrer {
    struct descriptor manifest;
    char tag[REFERENCE_TAG_MAX + 1]; /* "": under its digest */
};

struct push {
    char id[PUSH_ID_MAX]; /* given when the push is accepted; sorts by acceptance; "" before */
    uint64_t created_s;   /* when it was accepted, seconds since the epoch */
    struct descriptor manifest; /* held by the store, as everything that it refers to */
    struct digest config;       /* of an image; DIGEST_NONE where there is none */
    char repository[REPOSITORY_NAME_MAX + 1]; /* of the registry front, which knows what refers to
                                                 what; "" when it comes from none */
    struct push_referrer *referrers;          /* subjects before what refers to them */
    size_t referrer_count;
    struct push_target *targets;
    size_t target_count;
};

void push_deinit(struct push *push);
void push_copy(const struct push *from, struct push *to);

/* Add a target that waits. One with the same reference is not added again: it becomes required, or
 * waited for, where this one is. ERR_BAD_REQUEST over `most`, which is TARGETS_MAX or, where each
 * target gets several tags, PUSH_TARGETS_MAX. */
enum errc push_add_target_of(struct push *push, const struct reference *reference, bool optional,
                             bool stored, size_t most, struct error *err);
/* One of at most TARGETS_MAX. */
enum errc push_add_target(struct push *push, const struct reference *reference, bool optional,
                          bool stored, struct error *err);
/* ERR_UNSUPPORTED over REFERRERS_MAX. `tag` is "" or a tag. */
enum errc push_add_referrer(struct push *push, const struct descriptor *manifest, const char *tag,
                            struct error *err);

/* The first failed target that is not optional; NULL when there is none. */
const struct push_target *push_failure(const struct push *push);

/* How many targets are to be pushed after the answer. */
size_t push_stored_targets(const struct push *push);
/* One of them has not ended. */
bool push_is_waiting(const struct push *push);

#endif
