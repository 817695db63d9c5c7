#include "upstream/push/manifest_push.h"

#include "base/log.h"
#include "base/mem.h"
#include "image/digest_map.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "store/blob.h"
#include "store/member.h"
#include "upstream/client/retry.h"
#include "upstream/push/blob_push.h"
#include "upstream/push/manifest_put.h"
#include "upstream/push/referrers.h"
#include "upstream/push/schema1_push.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* An image's indexes, a referrer of it, and that one's indexes. */
#define FRAMES_MAX (2 * (INDEX_DEPTH_MAX + 2))

#define KIND_REFUSALS 2 /* so often a manifest is refused as a kind before that is believed */

/* The steps of one manifest, in this order; which of them there are depends on what it is. */
enum phase {
    PHASE_READ,
    PHASE_MEMBERS,
    PHASE_LAYERS,
    PHASE_CONFIG,
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

/* --- layers --- */

/* Images name their layers by diffID; what has none (artifacts) by the blob's digest. */
static void name_layer(const struct manifest *manifest, const struct image_config *config,
                       size_t position, struct push_layer *out)
{
    bool by_diff_id = config->diff_id_count == manifest->layer_count;
    out->blob = &manifest->layers[position];
    out->layer = by_diff_id ? config->diff_ids[position] : out->blob->digest;
    digest_short(&out->layer, out->id);
}

/* Each distinct blob's first position before all repetitions; returns how many those are. */
static size_t list_layers(const struct manifest *manifest, const struct image_config *config,
                          struct push_layer *layers)
{
    struct digest_map first = {.first = NULL}; /* positions + 1 */
    size_t distinct = 0;
    for (size_t i = 0; i < manifest->layer_count; i++) {
        struct digest_item *item = digest_map_add(&first, &manifest->layers[i].digest);
        if (item->number == 0) {
            item->number = i + 1;
            name_layer(manifest, config, i, &layers[distinct++]);
        }
    }
    size_t count = distinct;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (digest_map_find(&first, &manifest->layers[i].digest)->number != i + 1)
            name_layer(manifest, config, i, &layers[count++]);
    digest_map_deinit(&first);
    return distinct;
}

/* The config as the layers' names need it; an artifact's config is anything and has no diffIDs. */
static enum errc read_config(struct target_push *push, const struct manifest *manifest,
                             struct image_config *out, struct error *err)
{
    *out = (struct image_config){0};
    if (!media_type_is_image_config(manifest->config.media_type))
        return ERR_OK;
    autofree char *data = NULL;
    size_t size = 0;
    if (blob_read_all(push->store, &manifest->config.digest, IMAGE_CONFIG_LIMIT_BYTES, "config",
                      &data, &size, err) != ERR_OK)
        return err->code;
    struct error ignored = ERROR_INIT;
    if (image_config_parse(data, size, "config", out, &ignored) != ERR_OK)
        *out = (struct image_config){0};
    return ERR_OK;
}

static enum errc begin_layers(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    struct target_push *push = tree->push;
    const struct manifest *manifest = &frame->manifest;
    struct image_config config;
    if (read_config(push, manifest, &config, err) != ERR_OK)
        return err->code;
    size_t count = manifest->layer_count;
    size_t at_once = push->repository->endpoint->host->transfer_limit;
    autofree struct push_layer *layers = xcalloc(count, sizeof *layers);
    size_t distinct = list_layers(manifest, &config, layers);
    image_config_deinit(&config);
    for (size_t i = 0; i < count; i++)
        target_push_tell_layer(push, layers[i].id, "Preparing");
    for (size_t i = at_once; i < count; i++)
        target_push_tell_layer(push, layers[i].id, "Waiting");
    frame->blobs =
        layer_set_new(push, tree->transfers, layers, count, distinct, layer_attempt, tree->waker);
    return ERR_OK;
}

static enum errc config_attempt(struct target_push *push, const struct push_layer *config,
                                struct unfinished_upload *upload, struct layer_outcome *outcome,
                                struct error *err)
{
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->cancel);
    bool exists = false;
    if (!upload->begun && !config->send &&
        blob_check(push, &client, config->blob, &exists, err) != ERR_OK)
        return err->code;
    if (exists)
        return ERR_OK;
    if (blob_send(push, &client, upload, config->blob, NULL, err) != ERR_OK)
        return err->code;
    outcome->sent_bytes = config->blob->size;
    return ERR_OK;
}

static void begin_config(struct manifest_tree *tree, struct frame *frame)
{
    const struct push_layer config = {.blob = &frame->manifest.config};
    frame->blobs =
        layer_set_new(tree->push, tree->transfers, &config, 1, 1, config_attempt, tree->waker);
}

/* --- attempts that have their turn, and are made again --- */

typedef enum errc attempt_fn(struct manifest_tree *tree, struct frame *frame, bool *helps,
                             struct error *err);

/* `key` is taken. */
static enum tree_state in_turn(struct manifest_tree *tree, char *key, struct tree_turn *turn)
{
    free(tree->key);
    tree->key = key;
    tree->in_turn = true;
    turn->key = key;
    return TREE_IN_TURN;
}

static enum tree_state try_again(struct manifest_tree *tree, const char *what, bool helps,
                                 struct tree_turn *turn, struct error *err)
{
    struct back_off *back_off = &tree->push->repository->endpoint->host->back_off;
    autofree char *name = xasprintf("%s %s", tree->push->target, what);
    if (!retry_follows(&tree->retry, name, back_off, helps, err)) {
        tree->retry = (struct retry){0};
        return TREE_FAILED;
    }
    char words[RETRY_WORDS_MAX];
    retry_words(&tree->retry, words);
    target_push_tell_countdown(tree->push, NULL, words, &tree->retry.wait);
    turn->until_ms = tree->retry.until_ms;
    return TREE_LATER;
}

/* One attempt, which has its turn. */
static enum tree_state attempt(struct manifest_tree *tree, struct frame *frame, attempt_fn *make,
                               const char *what, struct tree_turn *turn, struct error *err)
{
    bool helps = true;
    tree->in_turn = false;
    tree->retry.made++;
    enum errc code = make(tree, frame, &helps, err);
    target_push_count_attempts(tree->push, tree->retry.made);
    if (code != ERR_OK)
        return try_again(tree, what, helps, turn, err);
    tree->retry = (struct retry){0};
    return TREE_DONE;
}

static bool could_fall_back(const struct manifest_tree *tree, const struct frame *frame)
{
    return frame->top && frame->tag && frame->schema1 == NULL &&
           schema1_push_applies(tree->push, &frame->manifest);
}

/* What was assumed of the registry's blobs, or what it said of them, was wrong: that is not worth a
 * wait, but another round. */
static bool was_believed(const struct manifest_tree *tree, const struct manifest_answer *answer,
                         const struct error *err)
{
    for (size_t i = 0; err->hints & HINT_BLOBS && i < answer->named_count; i++)
        tree->push->doubts |= target_push_distrust(tree->push, &answer->named[i]);
    return tree->push->doubts ||
           (err->code == ERR_BLOB_NOT_THERE && atomic_load(&tree->push->assumed));
}

/* A registry that says once that it takes no such manifests may be in a bad moment (a replica that
 * lags); it is asked again where that would be the last word, or lead to schema1. */
static bool kind_is_in_doubt(const struct manifest_tree *tree, struct frame *frame,
                             const struct error *err)
{
    if (!frame->answer.kind_refused || ++frame->kind_refusals >= KIND_REFUSALS)
        return false;
    return err->hints & HINT_DOUBT || could_fall_back(tree, frame);
}

static enum errc put_once(struct manifest_tree *tree, struct frame *frame, const char *tag,
                          bool *helps, struct error *err)
{
    autoclient struct registry_client client = {0};
    registry_client_open(&client, tree->push->repository, &tree->push->cancel);
    enum errc code = manifest_put(tree->push, &client, tag, &frame->outgoing, &frame->answer, err);
    *helps = code != ERR_OK && !was_believed(tree, &frame->answer, err) &&
             (kind_is_in_doubt(tree, frame, err) || error_retriable(code));
    return code;
}

static enum errc put_under_digest(struct manifest_tree *tree, struct frame *frame, bool *helps,
                                  struct error *err)
{
    return put_once(tree, frame, NULL, helps, err);
}

static enum errc put_in_place(struct manifest_tree *tree, struct frame *frame, bool *helps,
                              struct error *err)
{
    return put_once(tree, frame, frame->tag, helps, err);
}

static enum errc note_referrer(struct manifest_tree *tree, struct frame *frame, bool *helps,
                               struct error *err)
{
    struct descriptor descriptor = frame->descriptor;
    memcpy(descriptor.media_type, frame->manifest.media_type, MEDIA_TYPE_MAX);
    const struct referrer referrer = {
        .descriptor = &descriptor,
        .data = frame->data,
        .size = frame->outgoing.bytes.size,
    };
    autoclient struct registry_client client = {0};
    registry_client_open(&client, tree->push->repository, &tree->push->cancel);
    enum errc code = referrers_note(tree->push, &client, tree->image->repository,
                                    &frame->manifest.subject.digest, &referrer, err);
    *helps = error_retriable(code);
    return code;
}

/* --- a list of referrers that a client put itself --- */

static bool is_list(const struct frame *frame)
{
    return frame->tag && referrer_list_is(frame->tag, &frame->manifest);
}

static struct client_list list_of(const struct frame *frame)
{
    return (struct client_list){.tag = frame->tag,
                                .manifest = &frame->manifest,
                                .data = frame->data,
                                .size = frame->outgoing.bytes.size};
}

/* What the registry has then is what is reported. */
static enum errc put_list(struct manifest_tree *tree, struct frame *frame, bool *helps,
                          struct error *err)
{
    const struct client_list list = list_of(frame);
    autoclient struct registry_client client = {0};
    registry_client_open(&client, tree->push->repository, &tree->push->cancel);
    uint64_t size = 0;
    enum errc code = referrers_put_list(tree->push, &client, tree->image->repository, &list,
                                        &frame->outgoing.digest, &size, err);
    if (code == ERR_OK)
        frame->outgoing.canonical_size = (size_t)size;
    *helps = error_retriable(code);
    return code;
}

static enum errc find_gone(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    const struct client_list list = list_of(frame);
    frame->gone = json_object();
    return referrers_gone(tree->push, tree->image->repository, &list, frame->gone, err);
}

static bool is_gone(const struct frame *frame, const struct descriptor *member)
{
    char digest[DIGEST_TEXT_MAX];
    return frame->gone &&
           json_object_get(frame->gone, digest_text(&member->digest, digest)) != NULL;
}

/* --- schema1 --- */

static bool may_fall_back(const struct manifest_tree *tree, const struct frame *frame)
{
    return frame->answer.kind_refused && frame->kind_refusals >= KIND_REFUSALS &&
           could_fall_back(tree, frame);
}

/* False: `err` is the first refusal, the one that says what is wrong with the image. */
static bool fall_back(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    struct target_push *push = tree->push;
    struct error why = ERROR_INIT;
    struct schema1_document *document = xcalloc(1, sizeof *document);
    autoclient struct registry_client client = {0};
    log_warn("%s: the registry takes no schema2 manifests, so the image goes as a signed schema1 "
             "manifest with another digest, which current runtimes do not pull: %s",
             push->target, err->text);
    registry_client_open(&client, push->repository, &push->cancel);
    if (schema1_push_prepare(push, &client, &frame->manifest, frame->tag, document, &why) !=
        ERR_OK) {
        log_info("%s: schema1: %s", push->target, why.text);
        if (why.code == ERR_CANCELLED)
            *err = why;
        free(document);
        return false;
    }
    if (tree->image->referrer_count > 0)
        log_warn("%s: %zu referrers stay behind, the manifest they refer to was refused",
                 push->target, tree->image->referrer_count);
    frame->schema1 = document;
    frame->outgoing = document->outgoing;
    frame->refusal = *err;
    frame->phase = PHASE_PUT;
    error_clear(err);
    return true;
}

static void report_refusal(const struct manifest_tree *tree, const struct frame *frame,
                           struct error *err)
{
    if (frame->schema1 == NULL)
        return;
    log_info("%s: schema1: %s", tree->push->target, err->text);
    if (err->code != ERR_CANCELLED)
        *err = frame->refusal;
}

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
        return PHASE_LAYERS;
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
    frame->phase = PHASE_LAYERS;
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
    if (frame->next == 0 && is_list(frame) && find_gone(tree, frame, err) != ERR_OK)
        return TREE_FAILED;
    const struct descriptor *child = &frame->manifest.children[frame->next++];
    if (is_gone(frame, child))
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
    bool layers = frame->phase == PHASE_LAYERS;
    if (frame->blobs == NULL && layers && begin_layers(tree, frame, err) != ERR_OK)
        return TREE_FAILED;
    if (frame->blobs == NULL && !layers)
        begin_config(tree, frame);
    switch (layer_set_advance(frame->blobs)) {
    case LAYER_SET_WAITS:
        return TREE_WAITS;
    case LAYER_SET_FAILED:
        *err = tree->push->failure;
        if (!layers)
            error_wrap(err, "config");
        return TREE_FAILED;
    case LAYER_SET_DONE:
        break;
    }
    layer_set_free(frame->blobs);
    frame->blobs = NULL;
    frame->phase++;
    return TREE_DONE;
}

static enum tree_state do_put(struct manifest_tree *tree, struct frame *frame,
                              struct tree_turn *turn, struct error *err)
{
    bool below = frame->phase == PHASE_BELOW_TAG;
    bool list = !below && is_list(frame);
    if (!tree->in_turn)
        return in_turn(tree,
                       list ? referrers_turn(tree->push, frame->tag)
                            : manifest_put_turn(tree->push, &frame->outgoing),
                       turn);
    attempt_fn *make = below ? put_under_digest : list ? put_list : put_in_place;
    enum tree_state state = attempt(tree, frame, make, "manifest", turn, err);
    if (state == TREE_FAILED && !tree->push->doubts && may_fall_back(tree, frame) &&
        fall_back(tree, frame, err))
        return TREE_DONE;
    if (state == TREE_FAILED)
        report_refusal(tree, frame, err);
    if (state == TREE_DONE)
        frame->phase++;
    return state;
}

static enum tree_state do_note(struct manifest_tree *tree, struct frame *frame,
                               struct tree_turn *turn, struct error *err)
{
    char tag[REFERRER_LIST_TAG_MAX];
    if (!tree->in_turn)
        return in_turn(
            tree,
            referrers_turn(tree->push, referrer_list_tag(&frame->manifest.subject.digest, tag)),
            turn);
    enum tree_state state = attempt(tree, frame, note_referrer, "list of referrers", turn, err);
    if (state == TREE_DONE)
        frame->phase++;
    return state;
}

/* The list that the manifest is a member of is its subject's: it is noted with that. */
static bool is_noted_by_list(const struct manifest_tree *tree, const struct frame *frame)
{
    char tag[REFERRER_LIST_TAG_MAX];
    const struct frame *above = tree->depth > 1 ? tree->frames[tree->depth - 2] : NULL;
    return above && is_list(above) &&
           strcmp(above->tag, referrer_list_tag(&frame->manifest.subject.digest, tag)) == 0;
}

/* Not every manifest has every phase. */
static bool applies(const struct manifest_tree *tree, const struct frame *frame)
{
    bool with_referrers = frame->top && tree->image->referrer_count > 0 && frame->schema1 == NULL;
    if (frame->blob)
        return frame->phase == PHASE_LAYERS || frame->phase == PHASE_END;
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
    case PHASE_LAYERS:
    case PHASE_CONFIG:
        return do_blobs(tree, frame, err);
    case PHASE_BELOW_TAG:
    case PHASE_PUT:
        return do_put(tree, frame, turn, err);
    case PHASE_REFERRERS:
    case PHASE_LATE_REFERRERS:
        return do_referrers(tree, frame, err);
    case PHASE_NOTE:
        return do_note(tree, frame, turn, err);
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
