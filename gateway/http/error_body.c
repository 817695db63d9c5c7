#include "gateway/http/error_body.h"

static char *print(const char *code, const struct error *err, json_t *detail)
{
    json_put_text(detail, "party", party_name(error_party(err->code)));
    json_t *item = json_object();
    json_put_text(item, "code", code);
    json_put_text(item, "message", err->text);
    json_object_set_new(item, "detail", detail);
    json_t *items = json_array();
    json_array_append_new(items, item);
    json_t *root = json_object();
    json_object_set_new(root, "errors", items);
    return json_compact_take(root);
}

char *error_body_as(const char *code, const struct error *err)
{
    return print(code, err, json_object());
}

char *error_body(const struct error *err)
{
    return error_body_as(error_name(err->code), err);
}

char *error_body_with(const struct error *err, json_t *detail)
{
    return print(error_name(err->code), err, detail);
}
