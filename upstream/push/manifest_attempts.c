#include "upstream/push/manifest_push_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/pushed_tags.h"
#include "store/references.h"
#include "upstream/push/referrers.h"

#include <string.h>

#define KIND_REFUSALS 2 /* so often a manifest is refused as a kind before that is believed */

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

/* Is what the tag names of ours? What is not known of the tag itself is told by what was pushed
 * into its repository before. What made an earlier run of this target end as drifted is overwritten
 * by one that somebody wanted in spite of it. */
static enum errc is_ours(const struct manifest_tree *tree, const struct digest *there, bool *ours,
                         struct error *err)
{
    struct store *store = tree->push->store;
    struct push_target *result = tree->push->result;
    struct reference by_digest = result->reference;
    struct named_manifest ignored;
    struct digest last;
    bool known = false;
    *ours = digest_equal(&result->was, there);
    if (*ours || pushed_tags_get(store, &result->reference, &known, &last, err) != ERR_OK)
        return err->code;
    *ours = known && digest_equal(&last, there);
    if (known)
        return ERR_OK;
    by_digest.tag[0] = '\0';
    by_digest.digest = *there;
    return references_get(store, &by_digest, ours, &ignored, err);
}

static enum errc refuse_move(const struct frame *frame, const struct digest *there,
                             struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    return fail(err, ERR_TAG_IMMUTABLE, 0,
                "the tag %s names %s, and the configuration lets no push move it (mirrors[].to[]: "
                "move, immutable): push under another tag",
                frame->tag, digest_text(there, text));
}

/* As late as can be: a registry has no way to compare and put at once. */
static enum errc check_tag(const struct manifest_tree *tree, const struct frame *frame,
                           struct registry_client *client, struct error *err)
{
    struct push_target *result = tree->push->result;
    struct digest there = {0};
    char text[DIGEST_TEXT_MAX];
    bool ours = false;
    if (registry_manifest_digest(client, frame->tag, &there, err) != ERR_OK)
        return error_wrap(err, "looking at the tag");
    result->converged = manifest_put_is(&frame->outgoing, &there);
    if (there.algorithm == DIGEST_NONE || result->converged)
        return ERR_OK;
    if (result->policy != TAG_DRIFT_STAYS)
        return refuse_move(frame, &there, err);
    if (is_ours(tree, &there, &ours, err) != ERR_OK)
        return err->code;
    result->was = there;
    if (ours)
        return ERR_OK;
    return fail(err, ERR_TAG_DRIFTED, 0,
                "the tag %s names %s, which slipway did not put there last: it is left as it is "
                "(on_drift); try the push again to overwrite that",
                frame->tag, digest_text(&there, text));
}

static enum errc put_once(struct manifest_tree *tree, struct frame *frame, const char *tag,
                          bool *helps, struct error *err)
{
    autoclient struct registry_client client = {0};
    registry_client_open(&client, tree->push->repository, &tree->push->cancel);
    frame->answer = (struct manifest_answer){0};
    const struct push_target *result = tree->push->result;
    bool looks = frame->top && tag && result->policy != TAG_MOVES;
    enum errc code = looks ? check_tag(tree, frame, &client, err) : ERR_OK;
    bool stays = looks && result->policy == TAG_STAYS && result->converged;
    if (code == ERR_OK && !stays)
        code = manifest_put(tree->push, &client, tag, &frame->outgoing, &frame->answer, err);
    *helps = code != ERR_OK && !was_believed(tree, &frame->answer, err) &&
             (kind_is_in_doubt(tree, frame, err) || error_retriable(code));
    return code;
}

static enum errc put_under_digest(struct manifest_tree *tree, struct frame *frame, bool *helps,
                                  struct error *err)
{
    return put_once(tree, frame, NULL, helps, err);
}

/* What refers to it has been put below its tag, and so has it. */
static bool is_there(const struct manifest_tree *tree, const struct frame *frame)
{
    return tree->image->referrer_count > 0 && frame->schema1 == NULL;
}

static enum errc put_in_place(struct manifest_tree *tree, struct frame *frame, bool *helps,
                              struct error *err)
{
    struct target_push *push = tree->push;
    if (frame->top && frame->tag && push->keeps_tag && !push->keeps_tag(push->keeper))
        push->untagged = true;
    if (!frame->top || !push->untagged)
        return put_once(tree, frame, frame->tag, helps, err);
    return is_there(tree, frame) ? ERR_OK : put_once(tree, frame, NULL, helps, err);
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

bool frame_is_list(const struct frame *frame)
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

enum errc frame_find_gone(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    const struct client_list list = list_of(frame);
    frame->gone = json_object();
    return referrers_gone(tree->push, tree->image->repository, &list, frame->gone, err);
}

bool frame_is_gone(const struct frame *frame, const struct descriptor *member)
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

/* --- the phases that are attempts --- */

enum tree_state frame_put(struct manifest_tree *tree, struct frame *frame, struct tree_turn *turn,
                          struct error *err)
{
    bool below = frame->phase == PHASE_BELOW_TAG;
    bool list = !below && frame_is_list(frame);
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

enum tree_state frame_note(struct manifest_tree *tree, struct frame *frame, struct tree_turn *turn,
                           struct error *err)
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
