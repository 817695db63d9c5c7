#include "image/oci_layout.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct digest layout_blob_digest(const char *name)
{
    struct digest digest = {0};
    struct error no_digest = ERROR_INIT;
    char algorithm[16];
    int at = 0;
    if (sscanf(name, "blobs/%15[a-z0-9]/%n", algorithm, &at) == 1 && at > 0 &&
        digest_parse_parts(algorithm, name + at, &digest, &no_digest) != ERR_OK)
        digest = (struct digest){0};
    return digest;
}

const char *layout_blob_name(const struct digest *digest, char name[LAYOUT_BLOB_NAME_MAX])
{
    char text[DIGEST_TEXT_MAX];
    snprintf(name, LAYOUT_BLOB_NAME_MAX, "blobs/%s", digest_text(digest, text));
    *strchr(name, ':') = '/';
    return name;
}

static bool only_a_tag(const char *text)
{
    return strchr(text, '/') == NULL && strchr(text, ':') == NULL && strchr(text, '@') == NULL;
}

static bool take_annotation(const json_t *annotations, const char *key, struct archive_name *out)
{
    const char *text = json_text(annotations, key);
    struct archive_name name = {0};
    struct error ignored = ERROR_INIT;
    if (text == NULL)
        return false;
    if (only_a_tag(text)) {
        if (reference_set_tag(&name.reference, text, &ignored) != ERR_OK)
            return false;
    } else if (reference_parse(text, &name.reference, &ignored) != ERR_OK ||
               name.reference.tag[0] == '\0') {
        return false;
    }
    *out = name;
    return true;
}

static enum errc take_entry(const json_t *item, size_t nth, struct layout_entry *out,
                            struct error *err)
{
    autofree char *what = xasprintf("index.json: manifests[%zu]", nth);
    if (descriptor_parse(item, what, &out->descriptor, err) != ERR_OK)
        return err->code;
    const json_t *annotations = json_object_get(item, "annotations");
    out->named = take_annotation(annotations, "io.containerd.image.name", &out->name) ||
                 take_annotation(annotations, "org.opencontainers.image.ref.name", &out->name);
    struct error no_digest = ERROR_INIT;
    out->kind = supplement_of_kind(json_text(annotations, "kind"));
    if (digest_parse(json_text(annotations, "vnd.docker.reference.digest"), &out->refers_to,
                     &no_digest) != ERR_OK)
        out->refers_to = (struct digest){0};
    return ERR_OK;
}

enum errc oci_layout_parse(const void *data, size_t size, struct oci_layout *out, struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(size);
    autojson json_t *root = NULL;
    if (json_parse(data, size, LAYOUT_LIMIT_BYTES, "index.json", &root, err) != ERR_OK)
        return err->code;
    const json_t *manifests = json_object_get(root, "manifests");
    if (!json_is_array(manifests))
        return fail(err, ERR_MANIFEST_INVALID, 0, "index.json has no array \"manifests\"");
    size_t count = json_array_size(manifests);
    if (count == 0 || count > LAYOUT_ENTRIES_MAX)
        return fail(err, ERR_NOT_AN_IMAGE, 0, "index.json lists %zu manifests (1 to %d are taken)",
                    count, LAYOUT_ENTRIES_MAX);
    struct oci_layout layout = {.entries = xcalloc(count, sizeof *layout.entries)};
    const char *type = json_text(root, "mediaType");
    snprintf(layout.media_type, sizeof layout.media_type, "%s",
             media_type_is_index(type) ? type : MEDIA_OCI_INDEX);
    for (; layout.count < count; layout.count++)
        if (take_entry(json_array_get(manifests, layout.count), layout.count,
                       &layout.entries[layout.count], err) != ERR_OK) {
            oci_layout_deinit(&layout);
            return err->code;
        }
    *out = layout;
    return ERR_OK;
}

void oci_layout_deinit(struct oci_layout *layout)
{
    free(layout->entries);
    *layout = (struct oci_layout){0};
}
