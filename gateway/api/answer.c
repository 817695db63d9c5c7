#include "gateway/api/answer.h"

#include "base/mem.h"
#include "image/codec.h"

#include <microhttpd.h>

static json_t *text_value(const char *text)
{
    json_t *value = json_string(text);
    return value ? value : json_string("(not valid UTF-8)");
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text_value(text));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void set_digest(json_t *object, const char *key, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    set_text(object, key, digest_text(digest, text));
}

static char *print_and_drop(json_t *value)
{
    char *text = json_compact(value);
    json_decref(value);
    return text;
}

/* `detail` is taken. */
static char *print_error(const char *code, const struct error *err, json_t *detail)
{
    json_t *item = json_object();
    set_text(item, "code", code);
    set_text(item, "message", err->text);
    json_object_set_new(item, "detail", detail);
    json_t *items = json_array();
    json_array_append_new(items, item);
    json_t *root = json_object();
    json_object_set_new(root, "errors", items);
    return print_and_drop(root);
}

char *answer_error_as(const char *code, const struct error *err)
{
    json_t *detail = json_object();
    set_text(detail, "party", party_name(error_party(err->code)));
    return print_error(code, err, detail);
}

char *answer_error(const struct error *err)
{
    return answer_error_as(error_name(err->code), err);
}

char *answer_missing(const struct error *err, const struct digest *diff_ids, size_t count)
{
    json_t *detail = json_object();
    json_t *list = json_array();
    char text[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(digest_text(&diff_ids[i], text)));
    set_text(detail, "party", party_name(error_party(err->code)));
    json_object_set_new(detail, "diff_ids", list);
    return print_error(error_name(err->code), err, detail);
}

static json_t *failure_value(const struct error *err)
{
    json_t *value = json_object();
    set_text(value, "code", error_name(err->code));
    set_text(value, "message", err->text);
    set_text(value, "party", party_name(error_party(err->code)));
    if (err->status > 0)
        set_number(value, "status", (uint64_t)err->status);
    return value;
}

static json_t *layers_value(const struct push_result *result)
{
    json_t *layers = json_object();
    set_number(layers, "existed", result->layers.existed);
    set_number(layers, "mounted", result->layers.mounted);
    set_number(layers, "uploaded", result->layers.uploaded);
    set_number(layers, "skipped", result->layers.skipped);
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

static json_t *result_value(const struct push_result *result)
{
    char target[REFERENCE_TEXT_MAX];
    bool pushed = result->state == PUSH_PUSHED;
    json_t *value = json_object();
    set_text(value, "target", reference_text(&result->target, target));
    set_text(value, "state", state_name(result->state));
    if (result->optional)
        json_object_set_new(value, "optional", json_true());
    if (result->state == PUSH_RUNNING)
        return value;
    if (pushed) {
        if (result->target.tag[0]) /* else it was pushed under its digest */
            set_text(value, "tag", result->target.tag);
        set_digest(value, "digest", &result->digest);
        set_number(value, "size", result->size);
        set_text(value, "media_type", result->media_type);
    }
    json_object_set_new(value, "layers", layers_value(result));
    set_number(value, "bytes_uploaded", result->bytes_uploaded);
    set_number(value, "attempts", result->attempts);
    if (!pushed)
        json_object_set_new(value, "error", failure_value(&result->error));
    return value;
}

static json_t *image_value(const struct push_report *report)
{
    json_t *image = json_object();
    set_digest(image, "manifest", &report->manifest.digest);
    if (report->config.algorithm != DIGEST_NONE)
        set_digest(image, "config", &report->config);
    set_text(image, "media_type", report->manifest.media_type);
    return image;
}

static const char *report_state(const struct push_report *report)
{
    if (push_report_failure(report))
        return "failed";
    return push_report_is_promise(report) ? "stored" : "pushed";
}

char *answer_report(const struct push_report *report)
{
    json_t *root = json_object();
    set_text(root, "id", report->id);
    set_text(root, "state", report_state(report));
    json_object_set_new(root, "image", image_value(report));
    json_t *results = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(results, result_value(&report->results[i]));
    json_object_set_new(root, "results", results);
    return print_and_drop(root);
}

char *answer_layer(const struct digest *diff_id, const struct layer_form *form)
{
    json_t *root = json_object();
    set_digest(root, "diff_id", diff_id);
    set_digest(root, "digest", &form->digest);
    set_number(root, "size", form->size);
    set_text(root, "media_type", media_type_of_layer(form->codec, false));
    return print_and_drop(root);
}

static char *line_and_drop(json_t *value)
{
    autofree char *text = print_and_drop(value);
    return xasprintf("%s\n", text);
}

char *answer_begin(const struct push_report *report)
{
    char digest[DIGEST_TEXT_MAX];
    autofree char *words =
        xasprintf("Pushing %s to %zu target%s", digest_text(&report->manifest.digest, digest),
                  report->count, report->count == 1 ? "" : "s");
    json_t *push = json_object();
    set_text(push, "id", report->id);
    json_object_set_new(push, "image", image_value(report));
    json_t *root = json_object();
    set_text(root, "status", words);
    json_object_set_new(root, "push", push);
    return line_and_drop(root);
}

char *answer_event(const struct progress_event *event)
{
    json_t *root = json_object();
    set_text(root, "status", event->status);
    if (event->id) {
        json_t *detail = json_object();
        if (event->kind == PROGRESS_BYTES) {
            set_number(detail, "current", event->current);
            set_number(detail, "total", event->total);
        }
        set_text(root, "id", event->id);
        json_object_set_new(root, "progressDetail", detail);
    }
    set_text(root, "target", event->target);
    return line_and_drop(root);
}

static void set_aux(json_t *root, const struct push_result *result)
{
    json_t *aux = json_object();
    set_text(aux, "Tag", result->target.tag);
    set_digest(aux, "Digest", &result->digest);
    set_number(aux, "Size", result->size);
    json_object_set_new(root, "aux", aux);
}

/* Docker's clients decode `code` as a number. */
static void set_error(json_t *root, const struct error *err)
{
    json_t *detail = json_object();
    set_number(detail, "code", (uint64_t)error_http_status(err->code));
    set_text(detail, "message", err->text);
    json_object_set_new(root, "errorDetail", detail);
    set_text(root, "error", err->text);
}

char *answer_outcome(const struct push_result *result)
{
    char target[REFERENCE_TEXT_MAX];
    json_t *root = json_object();
    if (result->state == PUSH_PUSHED)
        set_aux(root, result);
    else if (result->state == PUSH_RUNNING)
        set_text(root, "status", "Stored, is pushed from here");
    else
        set_error(root, &result->error);
    set_text(root, "target", reference_text(&result->target, target));
    json_object_set_new(root, "result", result_value(result));
    return line_and_drop(root);
}

char *answer_version(void)
{
    json_t *libraries = json_object();
    set_text(libraries, "libmicrohttpd", MHD_get_version());
    set_text(libraries, "deflate", gzip_library());
    set_text(libraries, "jansson", jansson_version_str());
    json_t *root = json_object();
    set_text(root, "version", SLIPWAY_VERSION);
    json_object_set_new(root, "libraries", libraries);
    return print_and_drop(root);
}
