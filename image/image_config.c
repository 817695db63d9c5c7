#include "image/image_config.h"

#include "base/mem.h"

#include <string.h>

static enum errc check_rootfs(const json_t *root, const char *what, const json_t **diff_ids,
                              struct error *err)
{
    const json_t *rootfs = json_object_get(root, "rootfs");
    if (!json_is_object(rootfs))
        return fail(err, ERR_CONFIG_INVALID, 0, "%s has no \"rootfs\": not an image's config",
                    what);
    const json_t *type = json_object_get(rootfs, "type");
    const char *name = json_string_value(type);
    bool typed = type != NULL && !json_is_null(type);
    if (typed && (name == NULL || strcmp(name, "layers") != 0))
        return fail(err, ERR_CONFIG_INVALID, 0, "%s: rootfs.type is %s%.60s%s, want \"layers\"",
                    what, name ? "\"" : "", name ? name : "not a string", name ? "\"" : "");

    const json_t *ids = json_object_get(rootfs, "diff_ids");
    bool absent = ids == NULL || json_is_null(ids);
    if ((absent && !typed) || (!absent && !json_is_array(ids)))
        return fail(err, ERR_CONFIG_INVALID, 0, "%s: rootfs.diff_ids is %s", what,
                    absent ? "missing" : "not an array");
    if (json_array_size(ids) > IMAGE_LAYERS_MAX)
        return fail(err, ERR_CONFIG_INVALID, 0, "%s has %zu layers, the limit is %d", what,
                    json_array_size(ids), IMAGE_LAYERS_MAX);
    *diff_ids = ids;
    return ERR_OK;
}

enum errc image_config_parse(const void *data, size_t size, const char *what,
                             struct image_config *out, struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(size);
    autojson json_t *root = NULL;
    struct platform platform = {.os = ""};
    const json_t *ids = NULL;
    if (json_parse(data, size, IMAGE_CONFIG_LIMIT_BYTES, what, &root, err) != ERR_OK)
        return err->code;
    if (!json_is_object(root))
        return fail(err, ERR_CONFIG_INVALID, 0, "%s is not a JSON object", what);
    if (platform_read(root, ERR_CONFIG_INVALID, what, &platform, err) != ERR_OK ||
        check_rootfs(root, what, &ids, err) != ERR_OK)
        return err->code;

    size_t count = json_array_size(ids);
    autofree struct digest *diff_ids = xcalloc(count, sizeof *diff_ids);
    for (size_t i = 0; i < count; i++) {
        struct error why = ERROR_INIT;
        const char *text = json_string_value(json_array_get(ids, i));
        if (digest_parse(text, &diff_ids[i], &why) != ERR_OK)
            return fail(err, ERR_CONFIG_INVALID, 0, "%s: rootfs.diff_ids[%zu]: %s", what, i,
                        why.text);
    }
    *out = (struct image_config){
        .platform = platform, .diff_ids = mem_take(&diff_ids), .diff_id_count = count};
    return ERR_OK;
}

struct config_glance image_config_glance(const void *data, size_t size)
{
    autojson json_t *root = NULL;
    struct error ignored = ERROR_INIT;
    struct config_glance glance = {.has_rootfs = false};
    if (json_parse(data, size, IMAGE_CONFIG_LIMIT_BYTES, "config", &root, &ignored) != ERR_OK)
        return glance;
    const json_t *rootfs = json_object_get(root, "rootfs");
    glance.has_rootfs = json_is_object(rootfs);
    glance.lists_layers = json_array_size(json_object_get(rootfs, "diff_ids")) > 0;
    platform_read(root, ERR_CONFIG_INVALID, "config", &glance.platform, &ignored);
    return glance;
}

void image_config_deinit(struct image_config *config)
{
    free(config->diff_ids);
    *config = (struct image_config){.diff_ids = NULL};
}
