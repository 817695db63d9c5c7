/*
 * The push of one image to one target: the way an image leaves.
 *
 * What is pushed is a value: the descriptor of a manifest or index that the store holds, with
 * everything it refers to, and a target reference with a tag, or with the manifest's digest.
 * Nothing else lives longer than the call, so a push can be recorded, dropped and started again.
 *
 * The order: children before their index, referrers after their subject, blobs before their
 * manifest, the tag last. A push ends when the registry has confirmed the manifest under its
 * digest; that, and only that, is the PushResult {tag, digest, size}.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_H

#include "base/cancel.h"
#include "image/descriptor.h"
#include "image/reference.h"
#include "store/store.h"
#include "upstream/client/registries.h"
#include "upstream/push/progress.h"

/* A manifest that goes with an image because it refers to a part of it: by its `subject`, or by a
 * tag made of that part's digest (cosign's "sha256-HEX.sig"). */
struct push_referrer {
    struct descriptor manifest;      /* held by the store */
    char tag[REFERENCE_TAG_MAX + 1]; /* "" = under its digest */
};

struct known_blobs;

struct push_request {
    struct reference target;               /* with a tag, or with the manifest's own digest */
    struct descriptor manifest;            /* held by the store */
    const struct push_referrer *referrers; /* subjects before what refers to them; borrowed */
    size_t referrer_count;
    struct known_blobs *known; /* what pushes to this repository share, borrowed; NULL: push_all()
                                  sees to it */
    bool optional;             /* told by whoever asks; goes into the result as it is */
};

enum push_state { PUSH_RUNNING, PUSH_PUSHED, PUSH_FAILED };

struct push_result {
    enum push_state state;
    struct reference target;
    bool optional;
    /* the PushResult, when PUSH_PUSHED */
    struct digest digest;
    uint64_t size; /* of the manifest, bytes */
    char media_type[MEDIA_TYPE_MAX];
    struct {
        unsigned existed, mounted, uploaded, skipped;
    } layers;
    uint64_t bytes_uploaded; /* blob bytes acknowledged by the registry */
    unsigned attempts;       /* the most that any blob, the manifest or the first request needed */
    struct error error;      /* when PUSH_FAILED; error.status is the registry's HTTP status or 0 */
};

/* Push and fill `result`. Blocks the calling thread; runs layers on threads of its own. Returns
 * result->error.code. `cancel` ends it within a second and takes back open upload sessions. */
enum errc push_image(struct store *store, struct registries *registries,
                     const struct push_request *request, const struct progress *progress,
                     struct cancel *cancel, struct push_result *result);

/* Push to `count` targets, each at its own pace; results[i] belongs to requests[i]. Tags of one
 * repository are pushed one after another, repositories at once, at most `concurrency` of them:
 * with fewer than there are, a slow one may keep others waiting. Returns when all have ended. */
void push_all(struct store *store, struct registries *registries,
              const struct push_request *requests, size_t count, unsigned concurrency,
              const struct progress *progress, struct cancel *cancel, struct push_result *results);

#endif
