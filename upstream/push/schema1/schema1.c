#include "upstream/push/schema1/schema1.h"

#include "base/mem.h"
#include "image/image_config.h"

#include <string.h>

const unsigned char schema1_empty_layer[SCHEMA1_EMPTY_LAYER_BYTES] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14,
    0x8c, 0x58, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00};

struct digest schema1_empty_layer_digest(void)
{
    return digest_of(DIGEST_SHA256, schema1_empty_layer, sizeof schema1_empty_layer);
}

/* What is made, step by step from the oldest on. */
struct conversion {
    const struct schema1_image *image;
    json_t *config;               /* owned */
    json_t *fs_layers;            /* owned; newest first, as `history` */
    json_t *history;              /* owned */
    size_t layers_used;           /* of the image's layers */
    bool needs_empty;             /* some step had none */
    char parent[DIGEST_TEXT_MAX]; /* id of the step before; "" at the first */
};

static enum errc check_layers(const struct schema1_image *image, struct error *err)
{
    for (size_t i = 0; i < image->layer_count; i++)
        if (image->layers[i].foreign || image->layers[i].digest.algorithm != DIGEST_SHA256)
            return fail(err, ERR_UNSUPPORTED, 0, "schema1 has no way to say what layer %zu is", i);
    return ERR_OK;
}

static enum errc next_blob(struct conversion *conversion, bool empty, struct digest *out,
                           struct error *err)
{
    if (empty) {
        *out = schema1_empty_layer_digest();
        conversion->needs_empty = true;
        return ERR_OK;
    }
    if (conversion->layers_used == conversion->image->layer_count)
        return fail(err, ERR_CONFIG_INVALID, 0,
                    "the config's history has more layers than the %zu "
                    "of the image",
                    conversion->image->layer_count);
    *out = conversion->image->layers[conversion->layers_used++].digest;
    return ERR_OK;
}

/* The ids of a chain: each is of its blob and all that is below it; the newest also of the config,
 * so that two images never share theirs. */
static void make_id(const struct conversion *conversion, const struct digest *blob, bool newest,
                    char id[DIGEST_TEXT_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    struct digester *digester = digester_new(DIGEST_SHA256);
    digester_update(digester, digest_hex(blob, hex), strlen(digest_hex(blob, hex)));
    digester_update(digester, " ", 1);
    digester_update(digester, conversion->parent, strlen(conversion->parent));
    if (newest) {
        digester_update(digester, " ", 1);
        digester_update(digester, conversion->image->config, conversion->image->config_size);
    }
    struct digest digest = digester_finish(digester);
    digester_free(digester);
    digest_hex(&digest, id);
}

static void copy_text(json_t *to, const char *key, const json_t *from)
{
    const char *text = json_text(from, key);
    if (text && text[0])
        json_object_set_new(to, key, json_string(text));
}

static json_t *old_step(const json_t *step, const char *id, const char *parent, bool empty)
{
    json_t *v1 = json_object();
    const char *command = json_text(step, "created_by");
    json_object_set_new(v1, "id", json_string(id));
    if (parent[0])
        json_object_set_new(v1, "parent", json_string(parent));
    copy_text(v1, "comment", step);
    copy_text(v1, "created", step);
    json_object_set_new(v1, "container_config",
                        json_pack("{s:[s]}", "Cmd", command ? command : ""));
    copy_text(v1, "author", step);
    if (empty)
        json_object_set_new(v1, "throwaway", json_true());
    return v1;
}

/* The newest step is the image: its config without what schema1 says elsewhere. */
static json_t *newest_step(const json_t *config, const char *id, const char *parent, bool empty)
{
    json_t *v1 = json_copy((json_t *)(uintptr_t)config);
    json_object_del(v1, "rootfs");
    json_object_del(v1, "history");
    json_object_set_new(v1, "id", json_string(id));
    if (parent[0])
        json_object_set_new(v1, "parent", json_string(parent));
    if (empty)
        json_object_set_new(v1, "throwaway", json_true());
    return v1;
}

static enum errc add_step(struct conversion *conversion, const json_t *step, bool empty,
                          bool newest, struct error *err)
{
    struct digest blob;
    char id[DIGEST_TEXT_MAX];
    char text[DIGEST_TEXT_MAX];
    if (next_blob(conversion, empty, &blob, err) != ERR_OK)
        return err->code;
    make_id(conversion, &blob, newest, id);
    autojson json_t *v1 = newest ? newest_step(conversion->config, id, conversion->parent, empty)
                                 : old_step(step, id, conversion->parent, empty);
    autofree char *v1_text = json_compact(v1);
    json_array_insert_new(conversion->fs_layers, 0,
                          json_pack("{s:s}", "blobSum", digest_text(&blob, text)));
    json_array_insert_new(conversion->history, 0, json_pack("{s:s}", "v1Compatibility", v1_text));
    memcpy(conversion->parent, id, strlen(id) + 1);
    return ERR_OK;
}

static enum errc convert(struct conversion *conversion, struct error *err)
{
    const json_t *history = json_object_get(conversion->config, "history");
    size_t written = json_array_size(history);
    size_t steps = written;
    if (written == 0) /* an image has at least one step, with or without a layer */
        steps = conversion->image->layer_count ? conversion->image->layer_count : 1;
    if (steps > SCHEMA1_HISTORY_MAX)
        return fail(err, ERR_CONFIG_INVALID, 0,
                    "the config's history has %zu steps, the limit is "
                    "%d",
                    steps, SCHEMA1_HISTORY_MAX);
    for (size_t i = 0; i < steps; i++) {
        const json_t *step = json_array_get(history, i);
        bool empty = written ? json_is_true(json_object_get(step, "empty_layer"))
                             : conversion->image->layer_count == 0;
        if (add_step(conversion, step, empty, i + 1 == steps, err) != ERR_OK)
            return err->code;
    }
    if (conversion->layers_used < conversion->image->layer_count)
        return fail(err, ERR_CONFIG_INVALID, 0,
                    "the config's history has %zu layers, the image "
                    "%zu",
                    conversion->layers_used, conversion->image->layer_count);
    return ERR_OK;
}

static enum errc write_manifest(const struct conversion *conversion, struct buf *out,
                                struct error *err)
{
    const char *architecture = json_text(conversion->config, "architecture");
    autojson json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:O, s:O}", "schemaVersion", 1, "name",
                                      conversion->image->name, "tag", conversion->image->tag,
                                      "architecture", architecture ? architecture : "", "fsLayers",
                                      conversion->fs_layers, "history", conversion->history);
    char *text = root ? json_dumps(root, JSON_INDENT(3)) : NULL;
    if (text == NULL)
        return fail(err, ERR_MEMORY, 0, "no memory for a schema1 manifest");
    buf_text(out, text);
    free(text);
    if (out->overflowed)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the schema1 manifest has more than %zu bytes",
                    out->limit_bytes);
    return ERR_OK;
}

enum errc schema1_build(const struct schema1_image *image, struct buf *out, bool *needs_empty,
                        struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(image->config_size);
    autojson json_t *config = NULL;
    if (check_layers(image, err) != ERR_OK ||
        json_parse(image->config, image->config_size, IMAGE_CONFIG_LIMIT_BYTES, "config", &config,
                   err) != ERR_OK)
        return err->code;
    if (!json_is_object(config))
        return fail(err, ERR_CONFIG_INVALID, 0, "the config is not a JSON object");
    struct conversion conversion = {
        .image = image,
        .config = config,
        .fs_layers = json_array(),
        .history = json_array(),
    };
    enum errc code = convert(&conversion, err);
    if (code == ERR_OK)
        code = write_manifest(&conversion, out, err);
    if (code == ERR_OK)
        *needs_empty = conversion.needs_empty;
    json_decref(conversion.fs_layers);
    json_decref(conversion.history);
    return code;
}
