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
#include "base/via.h"
#include "image/descriptor.h"
#include "image/reference.h"
#include "image/repository_name.h"

#define PUSH_ID_MAX 32

/*
 * What becomes of a target. The numbers are stored on disk; RUNNING is not, it is what a queued or
 * waiting target does at the moment. Final states are last words: nothing happens to the target any
 * more, unless somebody asks for it.
 */
enum push_state {
    PUSH_QUEUED = 1,     /* its turn has not come */
    PUSH_PUSHED = 2,     /* final: the registry confirmed the digest */
    PUSH_FAILED = 3,     /* final: the attempts of a push that a client waited for are used up */
    PUSH_SUPERSEDED = 4, /* final: a younger push of the same tag took its place before it put its
                            tag; with a digest: it is there under that */
    PUSH_RUNNING = 5,
    PUSH_WAITING = 6,    /* the registry is away, or says later: `next_s` and `error` */
    PUSH_DRIFTED = 7,    /* final: the tag there is something else, and the policy leaves it */
    PUSH_REFUSED = 8,    /* final: the registry will not take it, and would say so again */
    PUSH_EXPIRED = 9,    /* final: its time was over */
    PUSH_CANCELLED = 10, /* final: somebody said so */
    PUSH_ORPHANED = 11,  /* its target is not in the configuration any more */
};
#define PUSH_STATE_MAX PUSH_ORPHANED

/* Its name in the API and in metrics. */
const char *push_state_name(enum push_state state);
/* False for a name that is none. */
bool push_state_by_name(const char *name, enum push_state *out);
/* Nothing happens any more. ORPHANED is not final, and nothing happens before somebody says what.
 */
bool push_state_is_final(enum push_state state);
/* Final, and the target does not have the image of this push where it should. */
bool push_state_is_failure(enum push_state state);

/* How the configuration calls a target: mirrors[].to[].name. */
#define TARGET_NAME_MAX 63

struct push_layers {
    unsigned existed, mounted, uploaded, skipped;
};

/* What becomes of a tag that is there already. One that names this very image is never moved, and
 * the target has it. */
enum push_tag_policy {
    TAG_MOVES,
    TAG_DRIFT_STAYS, /* left where it is something else than slipway put there last */
    TAG_PUT_SAME,    /* left where it is something else */
    TAG_STAYS,       /* the same; and one that names this image is not put again */
};

struct push_target {
    struct reference reference; /* with a tag, or with the manifest's own digest */
    bool optional;              /* its failure does not fail the push */
    bool stored;                /* acknowledged as soon as it is stored, and pushed afterwards */
    enum push_state state;
    char name[TARGET_NAME_MAX + 1]; /* in the configuration; "": a client named the target */
    bool converged;                 /* PUSH_PUSHED: the tag was there already */
    unsigned tries;                 /* runs that have failed, of a push after the answer */
    uint64_t deadline_s;            /* until when it is tried; 0: for ever */
    uint64_t first_s;               /* when it was tried first; 0: not yet */
    uint64_t next_s;                /* PUSH_WAITING: when it is tried again; 0: not known */
    uint64_t ended_s;               /* when it came to its final state */
    enum push_tag_policy policy;    /* not recorded: the configuration says so when it runs */
    struct digest was; /* what the tag was before, as far as that is known; PUSH_DRIFTED: what it
                          is. DIGEST_NONE: not known, or nothing */
    /* the PushResult, when PUSH_PUSHED: the manifest as the registry serves it */
    struct digest digest;
    uint64_t size; /* bytes */
    char media_type[MEDIA_TYPE_MAX];
    struct push_layers layers;
    uint64_t bytes_uploaded; /* blob bytes that the registry acknowledged */
    unsigned attempts;       /* the most that any blob, the manifest or the first request needed */
    struct digest login;     /* names the credentials it was tried with last; not recorded */
    int64_t asked_ms;        /* after a failure: for so long the registry wants to be left alone;
                                not recorded */
    struct error error;      /* of the last failure; error.status is the registry's HTTP status or
                                0 */
};

/* A manifest that goes with an image because it refers to a part of it: by its `subject`, or by a
 * tag made of that part's digest (cosign's "sha256-HEX.sig"). */
struct push_referrer {
    struct descriptor manifest;
    char tag[REFERENCE_TAG_MAX + 1]; /* "": under its digest */
};

/* The name that a client gave its request, so that it can be sent again (Idempotency-Key). */
struct request_key {
    struct digest name;        /* of what the client wrote; DIGEST_NONE: it gave none */
    struct digest fingerprint; /* of what it asked for */
    size_t pushes;             /* that the request made */
};

/* Who asked for it, as the gateway knew at that time; names as in gateway/access/identity.h. */
#define PUSH_BY_KIND_MAX 15
#define PUSH_BY_NAME_MAX 255
struct push_by {
    char kind[PUSH_BY_KIND_MAX + 1]; /* "user", "robot", ...; "": nobody was asked */
    char name[PUSH_BY_NAME_MAX + 1]; /* "": of nobody in particular */
};

struct push {
    char id[PUSH_ID_MAX]; /* given when the push is accepted; sorts by acceptance; "" before */
    uint64_t created_s;   /* when it was accepted, seconds since the epoch */
    struct descriptor manifest; /* held by the store, as everything that it refers to */
    struct digest config;       /* of an image; DIGEST_NONE where there is none */
    char repository[REPOSITORY_NAME_MAX + 1]; /* of the registry front, which knows what refers to
                                                 what; "" when it comes from none */
    char via[VIA_TEXT_MAX + 1]; /* the gateways that it has come through: base/via.h; "": none */
    struct push_by by;
    struct push_referrer *referrers; /* subjects before what refers to them */
    size_t referrer_count;
    struct push_target *targets;
    size_t target_count;
    struct descriptor *unused; /* owned; blobs that went to the targets' registries ahead of the
                                  push and that it does not need after all; not recorded */
    size_t unused_count;
    struct request_key key; /* recorded with the push, in a record of its own; not read with it */
};

/* Is it meant by this name: that of the configuration, or "other:HOST" where a client named it? */
bool push_target_is(const struct push_target *target, const char *name);

/* That name, of at most so many bytes. */
#define TARGET_LABEL_MAX (6 + REFERENCE_NAME_MAX)
const char *push_target_label(const struct push_target *target, char label[TARGET_LABEL_MAX + 1]);

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

/* The first target that has failed and is not optional; NULL when there is none. */
const struct push_target *push_failure(const struct push *push);

/* What has become of the push as a whole, as its required targets say (all of them, where none is
 * required): PUSH_RUNNING, PUSH_QUEUED or PUSH_WAITING while one of them is; then PUSH_PUSHED,
 * PUSH_SUPERSEDED, PUSH_CANCELLED or PUSH_FAILED where all have come to that, one pushed or
 * superseded counting as good; 0: some are good and some have failed. */
int push_overall(const struct push *push);

/* How many targets are to be pushed after the answer. */
size_t push_stored_targets(const struct push *push);
/* One of them has not come to a final state. */
bool push_is_open(const struct push *push);

#endif
