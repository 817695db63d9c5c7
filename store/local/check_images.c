#include "store/local/check_internal.h"

#include "base/mem.h"
#include "image/manifest.h"
#include "store/local/blob_files.h"

static enum errc find_missing(struct store *store, const struct digest *digest, unsigned nesting,
                              struct digest *missing, struct error *err);

static enum errc find_missing_part(struct store *store, const struct manifest *manifest,
                                   unsigned nesting, struct digest *missing, struct error *err)
{
    const unsigned leaf = INDEX_DEPTH_MAX + 1;
    if (manifest->kind == MANIFEST_IMAGE &&
        find_missing(store, &manifest->config.digest, leaf, missing, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest->layer_count && missing->algorithm == DIGEST_NONE; i++) {
        const struct descriptor *layer = &manifest->layers[i];
        if (!layer->foreign && !media_type_is_foreign_layer(layer->media_type) &&
            find_missing(store, &layer->digest, leaf, missing, err) != ERR_OK)
            return err->code;
    }
    for (size_t i = 0; i < manifest->child_count && missing->algorithm == DIGEST_NONE; i++)
        if (find_missing(store, &manifest->children[i].digest, nesting + 1, missing, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* *missing: a blob that the image needs and the store does not have. Bytes that are no manifest
 * need nothing; whether they are right is for the blobs' own look. */
static enum errc find_missing(struct store *store, const struct digest *digest, unsigned nesting,
                              struct digest *missing, struct error *err)
{
    struct blob_record record;
    struct manifest manifest;
    struct error no_manifest = ERROR_INIT;
    autoblob struct blob blob = BLOB_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    bool found = false;
    if (blob_find(store, digest, &found, &record, err) != ERR_OK && err->code != ERR_STORE)
        return err->code;
    error_clear(err); /* a record that cannot be read is none */
    if (!found) {
        *missing = *digest;
        return ERR_OK;
    }
    if (nesting > INDEX_DEPTH_MAX || record.size > MANIFEST_LIMIT_BYTES ||
        blob_open(store, digest, &blob, &no_manifest) != ERR_OK ||
        blob_slurp(&blob, MANIFEST_LIMIT_BYTES, "manifest", &data, &size, &no_manifest) != ERR_OK)
        return ERR_OK;
    struct json_turn turn = json_turn_take(size);
    manifest_parse_any(data, size, NULL, "manifest", &manifest, &no_manifest);
    json_turn_give(&turn);
    if (no_manifest.code != ERR_OK)
        return ERR_OK;
    enum errc rc = find_missing_part(store, &manifest, nesting, missing, err);
    manifest_deinit(&manifest);
    return rc;
}

enum errc check_look_image(struct check *check, const struct digest *manifest,
                           struct finding *finding, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct digest missing = {.algorithm = DIGEST_NONE};
    if (find_missing(check->store, manifest, 0, &missing, err) != ERR_OK ||
        missing.algorithm == DIGEST_NONE)
        return err->code;
    struct record_key key = blob_key(&missing);
    check_judged_keep(&check->other, KV_BLOBS, record_key_slice(&key), NULL);
    check_finding_fill(finding, CHECK_INCOMPLETE, "the image lacks blob %s",
                       digest_text(&missing, text));
    return ERR_OK;
}

static enum errc look_at_open_push(struct check *check, const struct push *push,
                                   struct finding *finding, struct error *err)
{
    if (!push_is_open(push) ||
        check_look_image(check, &push->manifest.digest, finding, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < push->referrer_count && finding->kind == CHECK_WELL; i++)
        if (check_look_image(check, &push->referrers[i].manifest.digest, finding, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

enum errc check_look_push(struct check *check, const char *id, struct finding *finding,
                          struct error *err)
{
    autopush_records struct push_records records = {.id = ""};
    if (push_records_read(check->store, id, &records, err) != ERR_OK)
        return err->code;
    if (records.verdict == PUSH_UNREADABLE || records.verdict == PUSH_TARGET_UNREADABLE)
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", records.reason);
    else if (records.verdict == PUSH_INDEX_WRONG)
        check_finding_fill(finding, CHECK_DISAGREES, "%s", records.reason);
    else if (records.verdict == PUSH_GOOD)
        return look_at_open_push(check, &records.push, finding, err);
    return ERR_OK;
}
