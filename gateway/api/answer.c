#include "gateway/api/answer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/error_body.h"
#include "gateway/push/push_json.h"

char *answer_missing(const struct error *err, const struct digest *diff_ids, size_t count)
{
    char text[DIGEST_TEXT_MAX];
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(digest_text(&diff_ids[i], text)));
    json_t *detail = json_object();
    json_object_set_new(detail, "diff_ids", list);
    return error_body_with(err, detail);
}

char *answer_layer(const struct digest *diff_id, const struct layer_form *form)
{
    json_t *root = json_object();
    push_json_put_digest(root, "diff_id", diff_id);
    push_json_put_digest(root, "digest", &form->digest);
    json_put_number(root, "size", form->size);
    json_put_text(root, "media_type", media_type_of_layer(form->codec, false));
    return json_compact_take(root);
}

static char *line_and_drop(json_t *value)
{
    autofree char *text = json_compact_take(value);
    return xasprintf("%s\n", text);
}

char *answer_begin(const struct push *push)
{
    char digest[DIGEST_TEXT_MAX];
    char time[CLOCK_TEXT_MAX];
    autofree char *words =
        xasprintf("Pushing %s to %zu target%s", digest_text(&push->manifest.digest, digest),
                  push->target_count, push->target_count == 1 ? "" : "s");
    json_t *value = json_object();
    json_put_text(value, "id", push->id);
    if (push->created_s > 0)
        json_put_text(value, "created_at", clock_text_of((int64_t)push->created_s, time));
    json_object_set_new(value, "image", push_json_image(push));
    push_json_put_unused(value, push);
    json_t *root = json_object();
    json_put_text(root, "status", words);
    json_object_set_new(root, "push", value);
    return line_and_drop(root);
}

char *answer_event(const struct progress_event *event)
{
    json_t *root = json_object();
    json_put_text(root, "status", event->status);
    if (event->id) {
        json_t *detail = json_object();
        if (event->kind == PROGRESS_BYTES) {
            json_put_number(detail, "current", event->current);
            json_put_number(detail, "total", event->total);
        }
        json_put_text(root, "id", event->id);
        json_object_set_new(root, "progressDetail", detail);
    }
    json_put_text(root, "target", event->target);
    return line_and_drop(root);
}

static void set_aux(json_t *root, const struct push_target *result)
{
    json_t *aux = json_object();
    if (result->state == PUSH_PUSHED) /* else a younger push has it */
        json_put_text(aux, "Tag", result->reference.tag);
    push_json_put_digest(aux, "Digest", &result->digest);
    json_put_number(aux, "Size", result->size);
    json_object_set_new(root, "aux", aux);
}

/* Docker's clients decode `code` as a number. */
static void set_error(json_t *root, const struct error *err)
{
    json_t *detail = json_object();
    json_put_number(detail, "code", (uint64_t)error_http_status(err->code));
    json_put_text(detail, "message", err->text);
    json_object_set_new(root, "errorDetail", detail);
    json_put_text(root, "error", err->text);
}

/* What a person reads of a target that has neither been pushed nor failed. Owned. */
static char *state_words(const struct push_target *target)
{
    char time[CLOCK_TEXT_MAX];
    const char *why = target->error.code == ERR_OK ? "" : target->error.text;
    if (target->state == PUSH_RUNNING)
        return xstrdup("Pushing");
    if (target->state == PUSH_QUEUED)
        return xstrdup(target->stored ? "Stored, is pushed from here" : "Queued");
    if (target->state != PUSH_WAITING)
        return xstrdup(push_state_name(target->state));
    if (target->next_s == 0)
        return xasprintf("waiting%s%s", why[0] ? ": " : "", why);
    return xasprintf("waiting until %s%s%s", clock_text_of((int64_t)target->next_s, time),
                     why[0] ? ": " : "", why);
}

/* `result` is taken. */
static char *target_line(const struct push_target *target, json_t *result)
{
    char text[REFERENCE_TEXT_MAX];
    autofree char *words = state_words(target);
    json_t *root = json_object();
    bool has_digest = target->digest.algorithm != DIGEST_NONE;
    if (target->state == PUSH_PUSHED || (target->state == PUSH_SUPERSEDED && has_digest))
        set_aux(root, target);
    else if (push_state_is_failure(target->state) && target->error.code != ERR_OK)
        set_error(root, &target->error);
    else
        json_put_text(root, "status", words);
    json_put_text(root, "target", reference_text(&target->reference, text));
    json_object_set_new(root, "result", result);
    return line_and_drop(root);
}

char *answer_outcome(const struct push_target *target)
{
    return target_line(target, push_json_result(target));
}

char *answer_change(const struct push_target *target)
{
    return target_line(target, push_json_listed_result(target));
}
