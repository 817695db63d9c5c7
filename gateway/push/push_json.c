#include "gateway/push/push_json.h"

#include "base/json.h"

void push_json_put_digest(json_t *object, const char *key, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    json_put_text(object, key, digest_text(digest, text));
}

static json_t *failure_value(const struct error *err)
{
    json_t *value = json_object();
    json_put_text(value, "code", error_name(err->code));
    json_put_text(value, "message", err->text);
    json_put_text(value, "party", party_name(error_party(err->code)));
    if (err->status > 0)
        json_put_number(value, "status", (uint64_t)err->status);
    return value;
}

static json_t *layers_value(const struct push_result *result)
{
    json_t *layers = json_object();
    json_put_number(layers, "existed", result->layers.existed);
    json_put_number(layers, "mounted", result->layers.mounted);
    json_put_number(layers, "uploaded", result->layers.uploaded);
    json_put_number(layers, "skipped", result->layers.skipped);
    return layers;
}

static const char *state_name(enum push_state state)
{
    switch (state) {
    case PUSH_PUSHED:
        return "pushed";
    case PUSH_RUNNING:
        return "waiting";
    case PUSH_FAILED:
        break;
    }
    return "failed";
}

json_t *push_json_result(const struct push_result *result)
{
    char target[REFERENCE_TEXT_MAX];
    bool pushed = result->state == PUSH_PUSHED;
    json_t *value = json_object();
    json_put_text(value, "target", reference_text(&result->target, target));
    json_put_text(value, "state", state_name(result->state));
    if (result->optional)
        json_object_set_new(value, "optional", json_true());
    if (result->state == PUSH_RUNNING)
        return value;
    if (pushed) {
        if (result->target.tag[0]) /* else it was pushed under its digest */
            json_put_text(value, "tag", result->target.tag);
        push_json_put_digest(value, "digest", &result->digest);
        json_put_number(value, "size", result->size);
        json_put_text(value, "media_type", result->media_type);
    }
    json_object_set_new(value, "layers", layers_value(result));
    json_put_number(value, "bytes_uploaded", result->bytes_uploaded);
    json_put_number(value, "attempts", result->attempts);
    if (!pushed)
        json_object_set_new(value, "error", failure_value(&result->error));
    return value;
}

json_t *push_json_image(const struct push_report *report)
{
    json_t *image = json_object();
    push_json_put_digest(image, "manifest", &report->manifest.digest);
    if (report->config.algorithm != DIGEST_NONE)
        push_json_put_digest(image, "config", &report->config);
    json_put_text(image, "media_type", report->manifest.media_type);
    return image;
}

static const char *report_state(const struct push_report *report)
{
    if (push_report_failure(report))
        return "failed";
    return push_report_is_promise(report) ? "stored" : "pushed";
}

char *push_json_report(const struct push_report *report)
{
    json_t *root = json_object();
    json_put_text(root, "id", report->id);
    json_put_text(root, "state", report_state(report));
    json_object_set_new(root, "image", push_json_image(report));
    json_t *results = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(results, push_json_result(&report->results[i]));
    json_object_set_new(root, "results", results);
    return json_compact_take(root);
}
