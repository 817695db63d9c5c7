#include "image/docker_archive.h"

#include "base/json.h"
#include "base/mem.h"
#include "image/image_config.h"

#include <string.h>

static enum errc wrong(size_t image, const char *what, struct error *err)
{
    return fail(err, ERR_MANIFEST_INVALID, 0, "manifest.json: image %zu: %s", image, what);
}

/* An entry's name, without the "./" that tar drops, too. */
static char *entry_name(const char *text)
{
    while (text[0] == '.' && text[1] == '/')
        text += 2;
    return xstrdup(text);
}

static enum errc take_layers(const json_t *layers, size_t nth, struct docker_image *out,
                             struct error *err)
{
    if (layers != NULL && !json_is_array(layers) && !json_is_null(layers))
        return wrong(nth, "\"Layers\" is no array", err);
    size_t count = json_array_size(layers);
    if (count > IMAGE_LAYERS_MAX)
        return wrong(nth, "more layers than a manifest can have", err);
    out->layers = xcalloc(count, sizeof *out->layers);
    for (; out->layer_count < count; out->layer_count++) {
        const char *name = json_string_value(json_array_get(layers, out->layer_count));
        if (name == NULL)
            return wrong(nth, "a member of \"Layers\" is no string", err);
        out->layers[out->layer_count] = entry_name(name);
    }
    return ERR_OK;
}

static void take_name(const char *text, struct docker_image *out)
{
    struct error why = ERROR_INIT;
    struct reference *name = &out->names[out->name_count];
    bool none = text[0] == '\0' || strncmp(text, "<none>", strlen("<none>")) == 0;
    if (!none && reference_parse(text, name, &why) == ERR_OK && name->tag[0])
        out->name_count++;
    else if (!none && out->odd_name == NULL)
        out->odd_name = xstrdup(text);
}

static enum errc take_names(const json_t *tags, size_t nth, struct docker_image *out,
                            struct error *err)
{
    if (tags != NULL && !json_is_array(tags) && !json_is_null(tags))
        return wrong(nth, "\"RepoTags\" is no array", err);
    size_t count = json_array_size(tags);
    if (count > DOCKER_ARCHIVE_IMAGES_MAX)
        return wrong(nth, "more than 1000 names", err);
    out->names = xcalloc(count, sizeof *out->names);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(tags, i));
        if (text == NULL)
            return wrong(nth, "a member of \"RepoTags\" is no string", err);
        take_name(text, out);
    }
    return ERR_OK;
}

static enum errc take_image(const json_t *item, size_t nth, struct docker_image *out,
                            struct error *err)
{
    const char *config = json_text(item, "Config");
    if (config == NULL)
        return wrong(nth, "\"Config\" is missing or no string", err);
    out->config = entry_name(config);
    if (take_layers(json_object_get(item, "Layers"), nth, out, err) != ERR_OK)
        return err->code;
    return take_names(json_object_get(item, "RepoTags"), nth, out, err);
}

enum errc docker_archive_parse(const void *data, size_t size, struct docker_archive *out,
                               struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(size);
    autojson json_t *root = NULL;
    if (json_parse(data, size, DOCKER_ARCHIVE_LIMIT_BYTES, "manifest.json", &root, err) != ERR_OK)
        return err->code;
    if (json_object_get(root, "schemaVersion"))
        return fail(err, ERR_NOT_AN_IMAGE, 0,
                    "manifest.json is a manifest itself, as in the folders that skopeo calls dir: "
                    "make an archive with skopeo copy dir:FOLDER oci-archive:FILE");
    if (!json_is_array(root))
        return fail(err, ERR_MANIFEST_INVALID, 0, "manifest.json is no array of images");
    size_t count = json_array_size(root);
    if (count == 0 || count > DOCKER_ARCHIVE_IMAGES_MAX)
        return fail(err, ERR_NOT_AN_IMAGE, 0, "manifest.json lists %zu images (1 to %d are taken)",
                    count, DOCKER_ARCHIVE_IMAGES_MAX);
    struct docker_archive archive = {.images = xcalloc(count, sizeof *archive.images)};
    while (archive.count < count) {
        size_t nth = archive.count++;
        if (take_image(json_array_get(root, nth), nth, &archive.images[nth], err) != ERR_OK) {
            docker_archive_deinit(&archive);
            return err->code;
        }
    }
    *out = archive;
    return ERR_OK;
}

void docker_archive_deinit(struct docker_archive *archive)
{
    for (size_t i = 0; i < archive->count; i++) {
        struct docker_image *image = &archive->images[i];
        for (size_t l = 0; l < image->layer_count; l++)
            free(image->layers[l]);
        free(image->layers);
        free(image->names);
        free(image->odd_name);
        free(image->config);
    }
    free(archive->images);
    *archive = (struct docker_archive){0};
}
