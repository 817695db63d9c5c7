#include "gateway/registry/pushable.h"

#include "base/limits.h"
#include "base/mem.h"
#include "gateway/registry/document.h"
#include "image/digest_map.h"
#include "image/image_config.h"
#include "store/blob.h"
#include "store/member.h"

#include <inttypes.h>

/* What is below the manifest. */
struct tree {
    struct store *store;
    const struct cancel *cancel;
    struct digest_map heights; /* of the manifests that were looked at; 0: no members */
    uint64_t cost;
};

static enum errc spend(struct tree *tree, size_t bytes, struct error *err)
{
    tree->cost += bytes + PUSHABLE_PART_COST;
    if (tree->cost > PUSHABLE_COST_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "there is too much below the index to push it");
    return cancel_check(tree->cancel, err);
}

static enum errc check_blob(struct tree *tree, const struct descriptor *blob, struct error *err)
{
    uint64_t size = 0;
    char text[DIGEST_TEXT_MAX];
    if (spend(tree, 0, err) != ERR_OK ||
        blob_stat(tree->store, &blob->digest, &size, err) != ERR_OK)
        return err->code;
    if (size == blob->size)
        return ERR_OK;
    return fail(err, ERR_MANIFEST_INVALID, 0, "%s has %" PRIu64 " bytes, not %" PRIu64,
                digest_text(&blob->digest, text), size, blob->size);
}

static enum errc check_image(struct tree *tree, const struct manifest *image, struct error *err)
{
    const struct descriptor *config = &image->config;
    if (media_type_is_image_config(config->media_type) && config->size > IMAGE_CONFIG_LIMIT_BYTES)
        return fail(err, ERR_MANIFEST_INVALID, 0, "the config has more than %zu bytes",
                    IMAGE_CONFIG_LIMIT_BYTES);
    if (check_blob(tree, config, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < image->layer_count; i++)
        if (!image->layers[i].foreign && check_blob(tree, &image->layers[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static enum errc check_node(struct tree *tree, const struct manifest *manifest, size_t depth,
                            size_t *height, struct error *err);

static enum errc read_member(struct tree *tree, const struct descriptor *member,
                             struct manifest *out, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    if (blob_read_all(tree->store, &member->digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                      err) != ERR_OK ||
        spend(tree, size, err) != ERR_OK)
        return err->code;
    return manifest_parse_any(data, size, member->media_type, "manifest", out, err);
}

static enum errc measure(struct tree *tree, const struct descriptor *member, size_t depth,
                         size_t *height, struct error *err)
{
    struct manifest manifest;
    bool blob = false;
    uint64_t read_bytes = 0;
    if (member_is_blob(tree->store, member, &blob, &read_bytes, err) != ERR_OK)
        return err->code;
    if (blob) {
        tree->cost += read_bytes;
        return member->foreign ? ERR_OK : check_blob(tree, member, err);
    }
    if (read_member(tree, member, &manifest, err) != ERR_OK)
        return err->code;
    check_node(tree, &manifest, depth, height, err);
    manifest_deinit(&manifest);
    return err->code;
}

static enum errc check_member(struct tree *tree, const struct descriptor *member, size_t depth,
                              size_t *height, struct error *err)
{
    const struct digest_item *known = digest_map_find(&tree->heights, &member->digest);
    if (known)
        *height = known->number;
    if (depth + *height > INDEX_DEPTH_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "indexes are nested more than %d deep",
                    INDEX_DEPTH_MAX);
    if (known == NULL && measure(tree, member, depth, height, err) == ERR_OK)
        digest_map_add(&tree->heights, &member->digest)->number = *height;
    return err->code;
}

static enum errc check_members(struct tree *tree, const struct manifest *index, size_t depth,
                               size_t *height, struct error *err)
{
    for (size_t i = 0; i < index->child_count; i++) {
        size_t below = 0;
        char id[DIGEST_SHORT_MAX];
        if (check_member(tree, &index->children[i], depth + 1, &below, err) != ERR_OK)
            return error_wrap(err, "member %s", digest_short(&index->children[i].digest, id));
        if (*height < below + 1)
            *height = below + 1;
    }
    return ERR_OK;
}

static enum errc check_node(struct tree *tree, const struct manifest *manifest, size_t depth,
                            size_t *height, struct error *err)
{
    switch (manifest->kind) {
    case MANIFEST_INDEX:
        return check_members(tree, manifest, depth, height, err);
    case MANIFEST_IMAGE:
        return check_image(tree, manifest, err);
    case MANIFEST_OPAQUE:
        break;
    }
    return ERR_OK;
}

enum errc pushable_check(struct store *store, const struct cancel *cancel,
                         const struct manifest *manifest, struct error *err)
{
    struct tree tree = {.store = store, .cancel = cancel};
    size_t height = 0;
    enum errc rc = check_node(&tree, manifest, 0, &height, err);
    digest_map_deinit(&tree.heights);
    /* A part that is missing, too large or of another kind is for the client to mend. */
    if (rc == ERR_BLOB_UNKNOWN || rc == ERR_JSON_TOO_LARGE || rc == ERR_JSON_INVALID)
        err->code = ERR_MANIFEST_INVALID;
    if (err->code == ERR_MANIFEST_INVALID)
        error_wrap(err, "the manifest could not be pushed");
    return err->code;
}
