#include "upstream/push/manifest_push.h"

#include "base/mem.h"
#include "store/blob.h"
#include "store/member.h"
#include "upstream/push/manifest_push_internal.h"
#include "upstream/push/referrers.h"

#include <stdio.h>
#include <string.h>

/* --- frames --- */

static struct frame *top_of(struct manifest_tree *tree)
{
    return tree->frames[tree->depth - 1];
}

static enum errc enter(struct manifest_tree *tree, const struct descriptor *manifest,
                       const char *tag, int depth, struct error *err)
{
    if (tree->depth == FRAMES_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "indexes are nested more than %d deep",
                    INDEX_DEPTH_MAX);
    struct frame *frame = xcalloc(1, sizeof *frame);
    frame->descriptor = *manifest;
    frame->tag = tag;
    frame->depth = depth;
    frame->top = tree->depth == 0;
    tree->frames[tree->depth++] = frame;
    return ERR_OK;
}

static void frame_free(struct frame *frame)
{
    layer_set_free(frame->blobs);
    if (frame->schema1)
        schema1_document_deinit(frame->schema1);
    free(frame->schema1);
    json_decref(frame->gone);
    manifest_deinit(&frame->manifest);
    free(frame->data);
    free(frame);
}

/* Which part of the image failed, from the inside out. */
static void wrap(const struct manifest_tree *tree, struct error *err)
{
    for (size_t i = tree->depth; i-- > 1;) {
        const struct frame *frame = tree->frames[i];
        char id[DIGEST_SHORT_MAX];
        error_wrap(err, "%s %s", frame->depth > 0 ? "member" : "referrer",
                   digest_short(&frame->descriptor.digest, id));
    }
}

static bool is_by_digest(const struct frame *frame)
{
    return !frame->top && frame->tag == NULL;
}

static enum phase first_phase(const struct manifest *manifest)
{
    switch (manifest->kind) {
    case MANIFEST_INDEX:
        return PHASE_MEMBERS;
    case MANIFEST_IMAGE:
        return PHASE_BLOBS;
    case MANIFEST_OPAQUE:
        break;
    }
    return PHASE_BELOW_TAG;
}

static void become_blob(struct frame *frame)
{
    frame->blob = true;
    frame->manifest.layers = xcalloc(1, sizeof *frame->manifest.layers);
    frame->manifest.layers[0] = frame->descriptor;
    frame->manifest.layer_count = 1;
    frame->phase = PHASE_BLOBS;
}

static enum errc read_frame(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    const struct descriptor *descriptor = &frame->descriptor;
    const char *type = descriptor->media_type[0] ? descriptor->media_type : NULL;
    autofree char *data = NULL;
    size_t size = 0;
    bool blob = false;
    uint64_t read_bytes = 0;
    if (frame->depth > INDEX_DEPTH_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "indexes are nested more than %d deep",
                    INDEX_DEPTH_MAX);
    if (frame->depth > 0 &&
        member_is_blob(tree->push->store, descriptor, &blob, &read_bytes, err) != ERR_OK)
        return err->code;
    if (blob) {
        become_blob(frame);
        return ERR_OK;
    }
    if (blob_read_all(tree->push->store, &descriptor->digest, MANIFEST_LIMIT_BYTES, "manifest",
                      &data, &size, err) != ERR_OK ||
        manifest_parse_any(data, size, type, "manifest", &frame->manifest, err) != ERR_OK)
        return err->code;
    frame->data = mem_take(&data);
    frame->outgoing = (struct outgoing_manifest){
        .bytes = {frame->data, size, frame->manifest.media_type},
        .canonical = frame->data,
        .canonical_size = size,
        .digest = descriptor->digest,
    };
    frame->phase = first_phase(&frame->manifest);
    return ERR_OK;
}

size_t manifest_tree_first_blobs(struct store *store, const struct descriptor *manifest)
{
    struct descriptor at = *manifest;
    size_t blobs = 0;
    for (int depth = 0; blobs == 0 && depth <= INDEX_DEPTH_MAX; depth++) {
        autofree char *data = NULL;
        size_t size = 0;
        struct manifest parsed;
        struct error ignored = ERROR_INIT;
        const char *type = at.media_type[0] ? at.media_type : NULL;
        if (blob_read_all(store, &at.digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                          &ignored) != ERR_OK ||
            manifest_parse_any(data, size, type, "manifest", &parsed, &ignored) != ERR_OK)
            return 0;
        bool index = parsed.kind == MANIFEST_INDEX && parsed.child_count > 0;
        blobs = parsed.kind == MANIFEST_IMAGE ? parsed.layer_count + 1 : 0;
        if (index)
            at = parsed.children[0];
        manifest_deinit(&parsed);
        if (!index)
            break;
    }
    return blobs;
}

static void report(struct manifest_tree *tree, const struct frame *frame)
{
    struct push_target *result = tree->push->result;
    result->digest = frame->outgoing.digest;
    result->size = frame->outgoing.canonical_size;
    snprintf(result->media_type, sizeof result->media_type, "%s", frame->outgoing.bytes.media_type);
}

static void leave(struct manifest_tree *tree)
{
    struct frame *frame = top_of(tree);
    if (frame->top)
        report(tree, frame);
    else if (is_by_digest(frame))
        target_push_learn_manifest(tree->push, &frame->descriptor.digest);
    tree->depth--;
    frame_free(frame);
}

/* --- the phases; each returns TREE_DONE when it is over or has begun something below --- */

static enum tree_state failed_unless(enum errc code)
{
    return code == ERR_OK ? TREE_DONE : TREE_FAILED;
}

static enum tree_state do_read(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    if (is_by_digest(frame) && target_push_knows_manifest(tree->push, &frame->descriptor.digest)) {
        frame->phase = PHASE_END;
        return TREE_DONE;
    }
    return failed_unless(read_frame(tree, frame, err));
}

static enum tree_state do_members(struct manifest_tree *tree, struct frame *frame,
                                  struct error *err)
{
    if (frame->next == frame->manifest.child_count) {
        frame->next = 0;
        frame->phase = PHASE_BELOW_TAG;
        return TREE_DONE;
    }
    if (frame->next == 0 && frame_is_list(frame) && frame_find_gone(tree, frame, err) != ERR_OK)
        return TREE_FAILED;
    const struct descriptor *child = &frame->manifest.children[frame->next++];
    if (frame_is_gone(frame, child))
        return TREE_DONE;
    return failed_unless(enter(tree, child, NULL, frame->depth + 1, err));
}

static enum tree_state do_referrers(struct manifest_tree *tree, struct frame *frame,
                                    struct error *err)
{
    const struct push *image = tree->image;
    if (frame->next == image->referrer_count) {
        frame->phase++;
        return TREE_DONE;
    }
    const struct push_referrer *referrer = &image->referrers[frame->next++];
    const char *tag = referrer->tag[0] ? referrer->tag : NULL;
    return failed_unless(enter(tree, &referrer->manifest, tag, 0, err));
}

static enum tree_state do_blobs(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    if (frame->blobs == NULL && frame_begin_blobs(tree, frame, err) != ERR_OK)
        return TREE_FAILED;
    switch (layer_set_advance(frame->blobs)) {
    case LAYER_SET_WAITS:
        return TREE_WAITS;
    case LAYER_SET_FAILED:
        *err = tree->push->failure;
        return TREE_FAILED;
    case LAYER_SET_DONE:
        break;
    }
    layer_set_free(frame->blobs);
    frame->blobs = NULL;
    frame->phase++;
    return TREE_DONE;
}

/* The list that the manifest is a member of is its subject's: it is noted with that. */
static bool is_noted_by_list(const struct manifest_tree *tree, const struct frame *frame)
{
    char tag[REFERRER_LIST_TAG_MAX];
    const struct frame *above = tree->depth > 1 ? tree->frames[tree->depth - 2] : NULL;
    return above && frame_is_list(above) &&
           strcmp(above->tag, referrer_list_tag(&frame->manifest.subject.digest, tag)) == 0;
}

/* Not every manifest has every phase. */
static bool applies(const struct manifest_tree *tree, const struct frame *frame)
{
    bool with_referrers = frame->top && tree->image->referrer_count > 0 && frame->schema1 == NULL;
    if (frame->blob)
        return frame->phase == PHASE_BLOBS || frame->phase == PHASE_END;
    switch (frame->phase) {
    case PHASE_BELOW_TAG:
    case PHASE_REFERRERS:
        return with_referrers && frame->tag;
    case PHASE_LATE_REFERRERS:
        return with_referrers && frame->tag == NULL;
    case PHASE_NOTE:
        return frame->manifest.has_subject && !frame->answer.subject_noted &&
               frame->schema1 == NULL && !is_noted_by_list(tree, frame);
    default:
        return true;
    }
}

static enum tree_state advance_frame(struct manifest_tree *tree, struct frame *frame,
                                     struct tree_turn *turn, struct error *err)
{
    if (!applies(tree, frame)) {
        frame->phase++;
        return TREE_DONE;
    }
    switch (frame->phase) {
    case PHASE_READ:
        return do_read(tree, frame, err);
    case PHASE_MEMBERS:
        return do_members(tree, frame, err);
    case PHASE_BLOBS:
        return do_blobs(tree, frame, err);
    case PHASE_BELOW_TAG:
    case PHASE_PUT:
        return frame_put(tree, frame, turn, err);
    case PHASE_REFERRERS:
    case PHASE_LATE_REFERRERS:
        return do_referrers(tree, frame, err);
    case PHASE_NOTE:
        return frame_note(tree, frame, turn, err);
    case PHASE_END:
        leave(tree);
        break;
    }
    return TREE_DONE;
}

/* --- the tree --- */

struct manifest_tree *manifest_tree_new(struct target_push *push, struct transfers *transfers,
                                        const struct push *image, const struct push_target *target,
                                        struct layer_set_waker waker)
{
    struct manifest_tree *tree = xcalloc(1, sizeof *tree);
    struct error none = ERROR_INIT;
    *tree = (struct manifest_tree){
        .push = push, .transfers = transfers, .image = image, .waker = waker};
    const char *tag = target->reference.tag;
    enter(tree, &image->manifest, tag[0] ? tag : NULL, 0, &none);
    return tree;
}

void manifest_tree_free(struct manifest_tree *tree)
{
    if (tree == NULL)
        return;
    while (tree->depth > 0)
        frame_free(tree->frames[--tree->depth]);
    free(tree->key);
    free(tree);
}

bool manifest_tree_leave(struct manifest_tree *tree)
{
    struct layer_set *blobs = tree->depth > 0 ? top_of(tree)->blobs : NULL;
    return blobs == NULL || layer_set_leave(blobs);
}

enum tree_state manifest_tree_advance(struct manifest_tree *tree, struct tree_turn *turn,
                                      struct error *err)
{
    enum tree_state state = TREE_DONE;
    while (state == TREE_DONE && tree->depth > 0) {
        bool cancelled =
            tree->push->failure.code == ERR_OK && cancel_check(&tree->push->cancel, err) != ERR_OK;
        if (cancelled)
            return manifest_tree_leave(tree) ? TREE_FAILED : TREE_WAITS;
        state = advance_frame(tree, top_of(tree), turn, err);
    }
    if (state == TREE_FAILED)
        wrap(tree, err);
    return state;
}
