#include "gateway/push/push_json.h"

#include "base/clock.h"
#include "base/json.h"

void push_json_put_digest(json_t *object, const char *key, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    json_put_text(object, key, digest_text(digest, text));
}

json_t *push_json_failure(const struct error *err)
{
    json_t *value = json_object();
    json_put_text(value, "code", error_name(err->code));
    json_put_text(value, "message", err->text);
    json_put_text(value, "party", party_name(error_party(err->code)));
    if (err->status > 0)
        json_put_number(value, "status", (uint64_t)err->status);
    return value;
}

static json_t *layers_value(const struct push_target *result)
{
    json_t *layers = json_object();
    json_put_number(layers, "existed", result->layers.existed);
    json_put_number(layers, "mounted", result->layers.mounted);
    json_put_number(layers, "uploaded", result->layers.uploaded);
    json_put_number(layers, "skipped", result->layers.skipped);
    return layers;
}

json_t *push_json_result(const struct push_target *result)
{
    char target[REFERENCE_TEXT_MAX];
    bool pushed = result->state == PUSH_PUSHED;
    /* one that had not begun has nothing there */
    bool superseded = result->state == PUSH_SUPERSEDED && result->digest.algorithm != DIGEST_NONE;
    json_t *value = json_object();
    json_put_text(value, "target", reference_text(&result->reference, target));
    json_put_text(value, "state", push_state_name(result->state));
    if (result->optional)
        json_object_set_new(value, "optional", json_true());
    if (!push_state_is_final(result->state) && result->error.code == ERR_OK)
        return value;
    if (pushed || superseded) {
        if (pushed && result->reference.tag[0]) /* else it was pushed under its digest */
            json_put_text(value, "tag", result->reference.tag);
        push_json_put_digest(value, "digest", &result->digest);
        json_put_number(value, "size", result->size);
        json_put_text(value, "media_type", result->media_type);
    }
    json_object_set_new(value, "layers", layers_value(result));
    json_put_number(value, "bytes_uploaded", result->bytes_uploaded);
    json_put_number(value, "attempts", result->attempts);
    if (!pushed && !superseded && result->error.code != ERR_OK)
        json_object_set_new(value, "error", push_json_failure(&result->error));
    return value;
}

json_t *push_json_image(const struct push *push)
{
    json_t *image = json_object();
    push_json_put_digest(image, "manifest", &push->manifest.digest);
    if (push->config.algorithm != DIGEST_NONE)
        push_json_put_digest(image, "config", &push->config);
    json_put_text(image, "media_type", push->manifest.media_type);
    return image;
}

void push_json_put_unused(json_t *object, const struct push *push)
{
    json_t *list = json_array();
    for (size_t i = 0; i < push->unused_count; i++) {
        json_t *blob = json_object();
        push_json_put_digest(blob, "digest", &push->unused[i].digest);
        json_put_number(blob, "size", push->unused[i].size);
        json_array_append_new(list, blob);
    }
    if (push->unused_count > 0)
        json_object_set(object, "unused", list);
    json_decref(list);
}

static const char *answer_state(const struct push *push)
{
    if (push_failure(push))
        return "failed";
    if (push_stored_targets(push) == push->target_count)
        return "stored";
    return push_state_name(push_overall(push) == PUSH_SUPERSEDED ? PUSH_SUPERSEDED : PUSH_PUSHED);
}

static json_t *push_value(const struct push *push)
{
    json_t *root = json_object();
    json_put_text(root, "id", push->id);
    json_put_text(root, "state", answer_state(push));
    json_object_set_new(root, "image", push_json_image(push));
    json_t *results = json_array();
    for (size_t i = 0; i < push->target_count; i++)
        json_array_append_new(results, push_json_result(&push->targets[i]));
    json_object_set_new(root, "results", results);
    push_json_put_unused(root, push);
    return root;
}

void push_json_put_time(json_t *object, const char *key, uint64_t seconds)
{
    char text[CLOCK_TEXT_MAX];
    if (seconds > 0)
        json_put_text(object, key, clock_text_of((int64_t)seconds, text));
}

json_t *push_json_listed_result(const struct push_target *target)
{
    json_t *value = push_json_result(target);
    if (target->name[0])
        json_put_text(value, "name", target->name);
    if (target->converged)
        json_object_set_new(value, "converged", json_true());
    if (target->was.algorithm != DIGEST_NONE &&
        (target->state == PUSH_PUSHED || target->state == PUSH_DRIFTED))
        push_json_put_digest(value, target->state == PUSH_PUSHED ? "moved_from" : "found",
                             &target->was);
    if (target->tries > 0)
        json_put_number(value, "tries", target->tries);
    push_json_put_time(value, "first_at", target->first_s);
    push_json_put_time(value, "next_at", target->next_s);
    push_json_put_time(value, "ended_at", target->ended_s);
    if (!push_state_is_final(target->state))
        push_json_put_time(value, "deadline", target->deadline_s);
    return value;
}

json_t *push_json_by(const struct push_by *by)
{
    json_t *value = json_object();
    json_put_text(value, "kind", by->kind);
    if (by->name[0])
        json_put_text(value, "id", by->name);
    return value;
}

json_t *push_json_listed(const struct push *push)
{
    int state = push_overall(push);
    json_t *root = json_object();
    json_put_text(root, "id", push->id);
    json_put_text(root, "state", state ? push_state_name((enum push_state)state) : "partial");
    push_json_put_time(root, "created_at", push->created_s);
    if (push->repository[0])
        json_put_text(root, "repository", push->repository);
    if (push->by.kind[0])
        json_object_set_new(root, "by", push_json_by(&push->by));
    json_object_set_new(root, "image", push_json_image(push));
    json_t *results = json_array();
    for (size_t i = 0; i < push->target_count; i++)
        json_array_append_new(results, push_json_listed_result(&push->targets[i]));
    json_object_set_new(root, "results", results);
    return root;
}

char *push_json(const struct push *push)
{
    return json_compact_take(push_value(push));
}

char *push_json_several(struct push *const *pushes, size_t count)
{
    json_t *root = json_object();
    json_t *list = json_array();
    bool failed = false;
    bool stored = true;
    for (size_t i = 0; i < count; i++) {
        failed = failed || push_failure(pushes[i]) != NULL;
        stored = stored && push_stored_targets(pushes[i]) == pushes[i]->target_count;
        json_array_append_new(list, push_value(pushes[i]));
    }
    json_put_text(root, "state", failed ? "failed" : stored ? "stored" : "pushed");
    json_object_set_new(root, "pushes", list);
    return json_compact_take(root);
}
