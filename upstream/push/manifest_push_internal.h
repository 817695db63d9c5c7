/*
 * What the files of the push of a tree share: manifest_push.c (the tree and its phases),
 * manifest_layers.c (the blobs of a manifest), manifest_attempts.c (the requests that have their
 * turn, and are made again). Nobody else includes it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_INTERNAL_H
#define SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_INTERNAL_H

#include "base/limits.h"
#include "image/manifest.h"
#include "upstream/client/retry.h"
#include "upstream/push/layer_set.h"
#include "upstream/push/manifest_put.h"
#include "upstream/push/schema1_push.h"
#include "upstream/push/tree_turn.h"

/* An image's indexes, a referrer of it, and that one's indexes. */
#define FRAMES_MAX (2 * (INDEX_DEPTH_MAX + 2))

/* The steps of one manifest, in this order; which of them there are depends on what it is. */
enum phase {
    PHASE_READ,
    PHASE_MEMBERS,
    PHASE_BLOBS,     /* its config and layers */
    PHASE_BELOW_TAG, /* under its digest, so that referrers can follow */
    PHASE_REFERRERS,
    PHASE_PUT,
    PHASE_NOTE, /* in the list of referrers of its subject */
    PHASE_LATE_REFERRERS,
    PHASE_END,
};

/* A manifest on its way. */
struct frame {
    struct descriptor descriptor;
    const char *tag; /* NULL: under its digest */
    bool top;
    bool blob; /* a member of an index that is no manifest: one layer, and no more */
    int depth;
    enum phase phase;
    struct manifest manifest; /* owned, as `data` */
    char *data;
    struct outgoing_manifest outgoing;
    struct manifest_answer answer;
    size_t next;  /* member or referrer */
    json_t *gone; /* owned; of a client's list of referrers: members that are not pushed */
    unsigned kind_refusals;
    struct layer_set *blobs;          /* owned; NULL: not begun */
    struct schema1_document *schema1; /* owned; NULL: it goes as what it is */
    struct error refusal;             /* of what it is, when schema1 is tried */
};

struct manifest_tree {
    struct target_push *push;
    struct transfers *transfers;
    const struct push *image;
    struct layer_set_waker waker;
    struct frame *frames[FRAMES_MAX];
    size_t depth; /* frames */
    struct retry retry;
    char *key; /* owned: of the attempt at hand; NULL: it has not its turn yet */
    bool in_turn;
};

/* Its config and layers are on their way: frame->blobs. */
enum errc frame_begin_blobs(struct manifest_tree *tree, struct frame *frame, struct error *err);

/* It is a list of referrers that a client put itself. */
bool frame_is_list(const struct frame *frame);
/* Which members of such a list are not pushed: frame->gone. */
enum errc frame_find_gone(struct manifest_tree *tree, struct frame *frame, struct error *err);
bool frame_is_gone(const struct frame *frame, const struct descriptor *member);

/* PHASE_BELOW_TAG and PHASE_PUT; PHASE_NOTE. */
enum tree_state frame_put(struct manifest_tree *tree, struct frame *frame, struct tree_turn *turn,
                          struct error *err);
enum tree_state frame_note(struct manifest_tree *tree, struct frame *frame, struct tree_turn *turn,
                           struct error *err);

#endif
