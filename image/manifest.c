#include "image/manifest.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 256 /* of a part in messages, "index.json: manifests[3]" */

static bool present(const json_t *root, const char *key)
{
    return json_object_get(root, key) != NULL;
}

static enum errc check_version(const json_t *root, const char *what, struct error *err)
{
    const json_t *version = json_object_get(root, "schemaVersion");
    if (!json_is_integer(version))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s has no \"schemaVersion\"", what);
    if (json_integer_value(version) == 1)
        return fail(
            err, ERR_MANIFEST_INVALID, 0,
            "%s is a Docker schema1 manifest, which is no longer taken: make the image again "
            "with a client that writes schema2 or OCI manifests",
            what);
    if (json_integer_value(version) != 2)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"schemaVersion\" is not 2", what);
    return ERR_OK;
}

/* A document that one reader takes for an image and another for an index would let different
 * content hide behind one digest (CVE-2021-41190). */
static enum errc check_unambiguous(const json_t *root, const char *what, struct error *err)
{
    bool image = present(root, "config") || present(root, "layers");
    bool schema1 = present(root, "fsLayers") || present(root, "history");
    if ((image && present(root, "manifests")) || schema1)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "%s is ambiguous: it has members of more than one kind of manifest", what);
    return ERR_OK;
}

/* A Content-Type may carry parameters. */
static void strip_parameters(const char *given, char type[MEDIA_TYPE_MAX])
{
    size_t size = strcspn(given, "; \t");
    snprintf(type, MEDIA_TYPE_MAX, "%.*s", size < INT32_MAX ? (int)size : INT32_MAX, given);
}

static const char *type_of_shape(const json_t *root)
{
    if (present(root, "manifests"))
        return MEDIA_OCI_INDEX;
    const char *config = json_text(json_object_get(root, "config"), "mediaType");
    bool docker = config && strcmp(config, MEDIA_DOCKER_CONFIG) == 0;
    return docker ? MEDIA_DOCKER_MANIFEST : MEDIA_OCI_MANIFEST;
}

/* What a document may be besides an image or index of a known media type. */
enum strictness { KNOWN_TYPES, ANY_TYPE };

static bool has_shape(const json_t *root)
{
    return present(root, "config") || present(root, "layers") || present(root, "manifests") ||
           present(root, "fsLayers");
}

static enum errc find_kind(const json_t *root, const char *type, enum strictness strictness,
                           const char *what, enum manifest_kind *out, struct error *err)
{
    bool known = media_type_is_manifest(type) || media_type_is_index(type);
    if (!known && strictness == KNOWN_TYPES)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "%s: \"%.160s\" is not the media type of a manifest or index", what, type);
    if (!media_type_valid(type))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"%.160s\" is not a media type", what, type);
    if (!known && !has_shape(root))
        *out = MANIFEST_OPAQUE;
    else if (known ? media_type_is_index(type) : present(root, "manifests"))
        *out = MANIFEST_INDEX;
    else
        *out = MANIFEST_IMAGE;
    return ERR_OK;
}

static enum errc find_type(const json_t *root, const char *given, enum strictness strictness,
                           const char *what, struct manifest *out, struct error *err)
{
    char said[MEDIA_TYPE_MAX] = "";
    if (given)
        strip_parameters(given, said);
    const json_t *own = json_object_get(root, "mediaType");
    if (own && !json_is_string(own))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"mediaType\" is not a string", what);
    const char *type = own ? json_string_value(own) : given ? said : type_of_shape(root);
    if (find_kind(root, type, strictness, what, &out->kind, err) != ERR_OK)
        return err->code;
    if (given && strcmp(type, said) != 0)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s says of itself that it is \"%s\", not \"%s\"",
                    what, type, said);
    memcpy(out->media_type, type, strlen(type) + 1);
    return ERR_OK;
}

static enum errc parse_member(const json_t *root, const char *key, const char *what,
                              struct descriptor *out, struct error *err)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s: %s", what, key);
    if (!present(root, key))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s has no \"%s\"", what, key);
    return descriptor_parse(json_object_get(root, key), name, out, err);
}

static enum errc parse_list(const json_t *root, const char *key, const char *what,
                            struct descriptor **out, size_t *count, struct error *err)
{
    const json_t *list = json_object_get(root, key);
    if (list == NULL)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s has no \"%s\"", what, key);
    if (!json_is_array(list) && !json_is_null(list))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"%s\" is not an array", what, key);
    size_t n = json_array_size(list);
    if (strcmp(key, "manifests") == 0 && n > MANIFEST_CHILDREN_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"%s\" has %zu entries, the limit is %d",
                    what, key, n, MANIFEST_CHILDREN_MAX);
    autofree struct descriptor *found = xcalloc(n, sizeof *found);
    for (size_t i = 0; i < n; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%s: %s[%zu]", what, key, i);
        if (descriptor_parse(json_array_get(list, i), name, &found[i], err) != ERR_OK)
            return err->code;
    }
    *out = mem_take(&found);
    *count = n;
    return ERR_OK;
}

static enum errc parse_relations(const json_t *root, const char *what, struct manifest *out,
                                 struct error *err)
{
    const json_t *subject = json_object_get(root, "subject");
    out->has_subject = subject != NULL && !json_is_null(subject);
    const json_t *type = json_object_get(root, "artifactType");
    out->has_artifact_type =
        type && !json_is_null(type) && !(json_is_string(type) && *json_string_value(type) == '\0');
    return out->has_subject ? parse_member(root, "subject", what, &out->subject, err) : ERR_OK;
}

static enum errc parse_content(const json_t *root, const char *what, struct manifest *out,
                               struct error *err)
{
    if (parse_relations(root, what, out, err) != ERR_OK)
        return err->code;
    if (out->kind == MANIFEST_INDEX)
        return parse_list(root, "manifests", what, &out->children, &out->child_count, err);
    if (parse_member(root, "config", what, &out->config, err) != ERR_OK)
        return err->code;
    return parse_list(root, "layers", what, &out->layers, &out->layer_count, err);
}

static enum errc load(const void *data, size_t size, const char *what, json_t **out,
                      struct error *err)
{
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, what, out, err) != ERR_OK)
        return err->code;
    if (!json_is_object(*out))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s is not a JSON object", what);
    return ERR_OK;
}

/* The shape of what has one; nothing is known of the rest. */
static enum errc check_shape(const json_t *root, const char *what, struct error *err)
{
    return check_version(root, what, err) == ERR_OK ? check_unambiguous(root, what, err)
                                                    : err->code;
}

static enum errc parse(const void *data, size_t size, const char *media_type,
                       enum strictness strictness, const char *what, struct manifest *out,
                       struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(size);
    autojson json_t *root = NULL;
    struct manifest got = {.kind = MANIFEST_IMAGE};
    if (load(data, size, what, &root, err) != ERR_OK ||
        ((strictness == KNOWN_TYPES || has_shape(root)) &&
         check_shape(root, what, err) != ERR_OK) ||
        find_type(root, media_type, strictness, what, &got, err) != ERR_OK)
        return err->code;
    if (got.kind != MANIFEST_OPAQUE && parse_content(root, what, &got, err) != ERR_OK)
        return err->code;
    *out = got;
    return ERR_OK;
}

enum errc manifest_parse(const void *data, size_t size, const char *media_type, const char *what,
                         struct manifest *out, struct error *err)
{
    return parse(data, size, media_type, KNOWN_TYPES, what, out, err);
}

enum errc manifest_parse_any(const void *data, size_t size, const char *media_type,
                             const char *what, struct manifest *out, struct error *err)
{
    return parse(data, size, media_type, ANY_TYPE, what, out, err);
}

void manifest_deinit(struct manifest *manifest)
{
    free(manifest->layers);
    free(manifest->children);
    *manifest = (struct manifest){.kind = MANIFEST_IMAGE};
}

bool manifest_may_be_image(const struct manifest *manifest)
{
    if (manifest->kind != MANIFEST_IMAGE || manifest->has_artifact_type ||
        !media_type_is_image_config(manifest->config.media_type))
        return false;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (!media_type_is_layer(manifest->layers[i].media_type))
            return false;
    return true;
}

bool manifest_member_by_type(const char *media_type, bool *manifest)
{
    static const char schema1[] = "application/vnd.docker.distribution.manifest.v1+";
    *manifest = media_type_is_manifest(media_type) || media_type_is_index(media_type) ||
                strncmp(media_type, schema1, strlen(schema1)) == 0;
    return *manifest || media_type_is_layer(media_type);
}

bool manifest_is_member(const char *media_type, const void *data, size_t size)
{
    autojson json_t *root = NULL;
    struct error no_json = ERROR_INIT;
    bool manifest = false;
    if (manifest_member_by_type(media_type, &manifest))
        return manifest;
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, "member", &root, &no_json) != ERR_OK)
        return false;
    const char *type = json_text(root, "mediaType");
    return json_is_integer(json_object_get(root, "schemaVersion")) ||
           (type && strcmp(type, media_type) == 0);
}

/* Media types need no escaping: they are checked when a descriptor is read. */
static void put_docker_descriptor(const struct descriptor *descriptor, const char *indent,
                                  struct buf *out)
{
    char digest[DIGEST_TEXT_MAX];
    assert(media_type_valid(descriptor->media_type));
    buf_format(out,
               "{\n%s   \"mediaType\": \"%s\",\n%s   \"size\": %" PRIu64
               ",\n%s   \"digest\": \"%s\"\n%s}",
               indent, descriptor->media_type, indent, descriptor->size, indent,
               digest_text(&descriptor->digest, digest), indent);
}

void manifest_build_schema2(const struct descriptor *config, const struct descriptor *layers,
                            size_t count, struct buf *out)
{
    buf_text(out, "{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"" MEDIA_DOCKER_MANIFEST
                  "\",\n   \"config\": ");
    put_docker_descriptor(config, "   ", out);
    buf_text(out, ",\n   \"layers\": [");
    for (size_t i = 0; i < count; i++) {
        buf_text(out, i ? ",\n      " : "\n      ");
        put_docker_descriptor(&layers[i], "      ", out);
    }
    buf_text(out, count ? "\n   ]\n}" : "]\n}");
}

static void put_oci_descriptor(const struct descriptor *descriptor, struct buf *out)
{
    char digest[DIGEST_TEXT_MAX];
    assert(media_type_valid(descriptor->media_type));
    buf_format(out, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%" PRIu64 "}",
               descriptor->media_type, digest_text(&descriptor->digest, digest), descriptor->size);
}

void manifest_build_oci(const struct descriptor *config, const struct descriptor *layers,
                        size_t count, struct buf *out)
{
    buf_text(out, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"config\":");
    put_oci_descriptor(config, out);
    buf_text(out, ",\"layers\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_text(out, ",");
        put_oci_descriptor(&layers[i], out);
    }
    buf_text(out, "]}");
}

static bool set_content(json_t *entry, const struct descriptor *descriptor)
{
    char digest[DIGEST_TEXT_MAX];
    const char *old = json_text(entry, "digest");
    digest_text(&descriptor->digest, digest);
    /* Embedded content and other places to fetch it from are those of the old bytes. */
    if (old == NULL || strcmp(old, digest) != 0) {
        json_object_del(entry, "data");
        json_object_del(entry, "urls");
    }
    return json_object_set_new(entry, "digest", json_string(digest)) == 0 &&
           json_object_set_new(entry, "size", json_integer((json_int_t)descriptor->size)) == 0;
}

static bool set_type(json_t *entry, const struct descriptor *descriptor)
{
    return json_object_set_new(entry, "mediaType", json_string(descriptor->media_type)) == 0;
}

static enum errc replace(const void *original, size_t size, const char *key, bool with_type,
                         const struct descriptor *entries, size_t count, struct buf *out,
                         struct error *err)
{
    autojson json_t *root = NULL;
    if (load(original, size, "the manifest", &root, err) != ERR_OK)
        return err->code;
    const json_t *list = json_object_get(root, key);
    if (json_array_size(list) != count)
        return fail(err, ERR_MANIFEST_INVALID, 0, "the manifest has %zu %s, not %zu",
                    json_array_size(list), key, count);
    for (size_t i = 0; i < count; i++) {
        json_t *entry = json_array_get(list, i);
        if (!json_is_object(entry))
            return fail(err, ERR_MANIFEST_INVALID, 0, "%s[%zu] is not an object", key, i);
        if (!set_content(entry, &entries[i]) || (with_type && !set_type(entry, &entries[i])))
            return fail(err, ERR_MEMORY, 0, "no memory for a new manifest");
    }
    autofree char *text = json_compact(root);
    buf_text(out, text);
    if (out->overflowed)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the new manifest has more than %zu bytes",
                    out->limit_bytes);
    return ERR_OK;
}

enum errc manifest_replace_layers(const void *original, size_t size,
                                  const struct descriptor *layers, size_t count, struct buf *out,
                                  struct error *err)
{
    return replace(original, size, "layers", true, layers, count, out, err);
}

enum errc manifest_replace_children(const void *original, size_t size,
                                    const struct descriptor *children, size_t count,
                                    struct buf *out, struct error *err)
{
    return replace(original, size, "manifests", false, children, count, out, err);
}
