#include "gateway/registry/document.h"

#include "base/mem.h"
#include "image/referrer.h"

#include <string.h>

#define WHAT "the manifest"
#define MEDIA_ANY_JSON "application/json"
#define MEDIA_SCHEMA1_BEGIN "application/vnd.docker.distribution.manifest.v1+"

/* ---- its media type ---- */

/* The header without its parameters (RFC 9110, 8.3.1); "" when it says nothing. */
static enum errc take_header(const char *header, char type[MEDIA_TYPE_MAX], struct error *err)
{
    header += strspn(header, " \t");
    size_t size = strcspn(header, "; \t");
    if (size >= MEDIA_TYPE_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "the Content-Type has more than %d bytes",
                    MEDIA_TYPE_MAX - 1);
    memcpy(type, header, size);
    type[size] = '\0';
    if (strncmp(type, MEDIA_SCHEMA1_BEGIN, strlen(MEDIA_SCHEMA1_BEGIN)) == 0)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "the Content-Type is that of a Docker schema1 manifest, which is no longer "
                    "taken: push with a client that writes schema2 or OCI manifests");
    return ERR_OK;
}

static bool says_what_it_is(const json_t *root)
{
    static const char *const members[] = {"mediaType", "config", "layers", "manifests", "fsLayers"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (json_object_get(root, members[i]))
            return true;
    return false;
}

static enum errc find_type(const char *header, const json_t *root, char type[MEDIA_TYPE_MAX],
                           struct error *err)
{
    type[0] = '\0';
    if (header && take_header(header, type, err) != ERR_OK)
        return err->code;
    if (type[0] == '\0' && !says_what_it_is(root))
        memcpy(type, MEDIA_ANY_JSON, sizeof MEDIA_ANY_JSON);
    return ERR_OK;
}

/* ---- what it refers to ---- */

static void add(struct v2_document *document, const char *member, size_t position,
                const struct descriptor *descriptor)
{
    document->references[document->reference_count++] =
        (struct v2_reference){.descriptor = descriptor,
                              .manifest = strcmp(member, "manifests") == 0,
                              .member = member,
                              .position = position};
}

static void find_references(struct v2_document *document)
{
    const struct manifest *manifest = &document->manifest;
    document->references =
        xcalloc(1 + manifest->layer_count + manifest->child_count, sizeof *document->references);
    if (manifest->kind == MANIFEST_IMAGE)
        add(document, "config", 0, &manifest->config);
    for (size_t i = 0; i < manifest->layer_count; i++) {
        const struct descriptor *layer = &manifest->layers[i];
        if (!layer->foreign && !media_type_is_foreign_layer(layer->media_type))
            add(document, "layers", i, layer);
    }
    for (size_t i = 0; i < manifest->child_count; i++)
        add(document, "manifests", i, &manifest->children[i]);
}

/* Not too large, but of a shape that no manifest has. */
static bool too_many_values(size_t size, struct error *err)
{
    if (err->code != ERR_JSON_TOO_LARGE || size > MANIFEST_LIMIT_BYTES)
        return false;
    err->code = ERR_MANIFEST_INVALID;
    return true;
}

enum errc v2_document_parse(const void *data, size_t size, const char *content_type,
                            struct v2_document *out, struct error *err)
{
    struct v2_document got = {.reference_count = 0};
    char type[MEDIA_TYPE_MAX];
    autojson json_t *root = NULL;
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, WHAT, &root, err) != ERR_OK)
        return too_many_values(size, err) ? ERR_MANIFEST_INVALID : err->code;
    if (!json_is_object(root))
        return fail(err, ERR_MANIFEST_INVALID, 0, WHAT " is not a JSON object");
    if (find_type(content_type, root, type, err) != ERR_OK ||
        manifest_parse_any(data, size, type[0] ? type : NULL, WHAT, &got.manifest, err) != ERR_OK)
        return err->code;
    got.root = mem_take(&root);
    *out = got;
    find_references(out);
    return ERR_OK;
}

void v2_document_forget(struct v2_document *document)
{
    json_decref(document->root);
    document->root = NULL;
}

void v2_document_deinit(struct v2_document *document)
{
    manifest_deinit(&document->manifest);
    free(document->references);
    json_decref(document->root);
    *document = (struct v2_document){.reference_count = 0};
}

/* ---- its descriptor in a list of referrers ---- */

enum errc v2_document_descriptor(const struct v2_document *document, const struct digest *digest,
                                 uint64_t size, char **text, struct error *err)
{
    struct descriptor manifest = {.digest = *digest, .size = size};
    memcpy(manifest.media_type, document->manifest.media_type, MEDIA_TYPE_MAX);
    if (referrer_check(document->root, WHAT, err) != ERR_OK)
        return err->code;
    autojson json_t *descriptor = referrer_describe(&manifest, document->root);
    autofree char *printed = json_compact(descriptor);
    size_t printed_size = strlen(printed);
    if (printed_size > MANIFEST_DESCRIPTOR_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    WHAT " refers to a subject, and has %zu bytes of annotations and other members "
                         "that the list of referrers repeats; the limit is %zu",
                    printed_size, MANIFEST_DESCRIPTOR_MAX);
    *text = mem_take(&printed);
    return ERR_OK;
}
