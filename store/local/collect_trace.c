#include "base/limits.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/local/collect_internal.h"

static enum errc trace(struct collect_tracing *tracing, const struct digest *digest, bool manifest,
                       unsigned depth, struct error *err);

/* True when it was not there. */
static enum errc add(struct collect_tracing *tracing, const struct digest *digest, bool *is_new,
                     struct error *err)
{
    struct blob_record record;
    bool found = false;
    *is_new = live_set_add(tracing->set, digest);
    if (!*is_new || tracing->without == NULL || live_set_has(tracing->without, digest))
        return ERR_OK;
    if (blob_find(tracing->collection->store, digest, &found, &record, err) != ERR_OK)
        return err->code;
    tracing->bytes += found ? record.size : 0;
    return ERR_OK;
}

static enum errc trace_parts(struct collect_tracing *tracing, const struct manifest *manifest,
                             unsigned depth, struct error *err)
{
    bool is_new;
    if (manifest->kind == MANIFEST_IMAGE &&
        add(tracing, &manifest->config.digest, &is_new, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (add(tracing, &manifest->layers[i].digest, &is_new, err) != ERR_OK)
            return err->code;
    for (size_t i = 0; i < manifest->child_count; i++) {
        const struct descriptor *child = &manifest->children[i];
        bool is_manifest = true;
        manifest_member_by_type(child->media_type, &is_manifest);
        if (trace(tracing, &child->digest, is_manifest, depth + 1, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* *data NULL: not there, too large to be a manifest, or of other bytes than it should be; the disk
 * that does not give them is an error, since nothing may be concluded from it. */
static enum errc read_bytes(struct collect_tracing *tracing, const struct digest *digest,
                            char **data, size_t *size, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    enum errc rc = blob_open(tracing->collection->store, digest, &blob, err);
    if (rc == ERR_OK)
        rc = blob.size > MANIFEST_LIMIT_BYTES
                 ? ERR_JSON_TOO_LARGE
                 : blob_slurp(&blob, MANIFEST_LIMIT_BYTES, "a manifest", data, size, err);
    if (rc == ERR_OK) {
        struct digest is = digest_of(digest->algorithm, *data, *size);
        if (digest_equal(&is, digest))
            return ERR_OK;
        free(*data);
        *data = NULL;
    }
    if (rc != ERR_OK && rc != ERR_BLOB_UNKNOWN && rc != ERR_BLOB_CORRUPT &&
        rc != ERR_JSON_TOO_LARGE)
        return err->code;
    error_clear(err);
    tracing->unreadable |= rc != ERR_JSON_TOO_LARGE;
    return ERR_OK;
}

static enum errc trace(struct collect_tracing *tracing, const struct digest *digest, bool manifest,
                       unsigned depth, struct error *err)
{
    struct manifest parsed;
    struct error none = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    bool is_new = false;
    if (add(tracing, digest, &is_new, err) != ERR_OK)
        return err->code;
    /* Deeper ones are not taken in. */
    if (!is_new || !manifest || depth > INDEX_DEPTH_MAX + 1)
        return ERR_OK;
    if (read_bytes(tracing, digest, &data, &size, err) != ERR_OK)
        return err->code;
    if (data == NULL)
        return ERR_OK;
    /* One that does not say what it is was taken as what its client called it, and goes by its
     * shape. */
    if (manifest_parse_any(data, size, NULL, "manifest", &parsed, &none) != ERR_OK &&
        manifest_parse_any(data, size, "application/json", "manifest", &parsed, &none) != ERR_OK) {
        tracing->unreadable |= depth == 0;
        return ERR_OK;
    }
    trace_parts(tracing, &parsed, depth, err);
    manifest_deinit(&parsed);
    return err->code;
}

enum errc collect_trace(struct collect_tracing *tracing, const struct digest *digest,
                        struct error *err)
{
    return trace(tracing, digest, true, 0, err);
}
