#include "upstream/push/referrers.h"

#include "base/log.h"
#include "base/mem.h"
#include "image/referrer.h"
#include "upstream/client/registry_manifest.h"

#include <stdio.h>
#include <string.h>

const char *referrers_tag(const struct digest *subject, char tag[REFERRERS_TAG_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    snprintf(tag, REFERRERS_TAG_MAX, "%.32s-%.64s", digest_algorithm_name(subject->algorithm),
             digest_hex(subject, hex));
    return tag;
}

static bool is_listed(const json_t *manifests, const char *digest)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(manifests, i, entry)
    {
        const char *have = json_text(entry, "digest");
        if (have && strcmp(have, digest) == 0)
            return true;
    }
    return false;
}

static enum errc read_index(const char *index, size_t size, json_t **out, struct error *err)
{
    struct manifest manifest = {0};
    if (index == NULL) {
        *out = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX,
                         "manifests");
        return *out ? ERR_OK : fail(err, ERR_MEMORY, 0, "no memory for an index");
    }
    if (manifest_parse(index, size, NULL, "the list of referrers", &manifest, err) != ERR_OK)
        return err->code;
    bool is_index = strcmp(manifest.media_type, MEDIA_OCI_INDEX) == 0;
    manifest_deinit(&manifest);
    if (!is_index)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "what is under the tag for the list of referrers is no OCI index");
    return json_parse(index, size, MANIFEST_LIMIT_BYTES, "the list of referrers", out, err);
}

enum errc referrers_add(const char *index, size_t index_size, const struct referrer *referrer,
                        struct buf *out, bool *changed, struct error *err)
{
    autojson json_t *root = NULL;
    autojson json_t *document = NULL;
    char digest[DIGEST_TEXT_MAX];
    digest_text(&referrer->descriptor->digest, digest);
    if (read_index(index, index_size, &root, err) != ERR_OK ||
        json_parse(referrer->data, referrer->size, MANIFEST_LIMIT_BYTES, "the referrer", &document,
                   err) != ERR_OK)
        return err->code;
    json_t *manifests = json_object_get(root, "manifests");
    *changed = !is_listed(manifests, digest);
    if (!*changed)
        return ERR_OK;
    if (!json_is_array(manifests)) { /* null: an empty list, as some Go programs write it */
        manifests = json_array();
        json_object_set_new(root, "manifests", manifests);
    }
    json_array_append_new(manifests, referrer_describe(referrer->descriptor, document));
    autofree char *text = json_compact(root);
    buf_text(out, text);
    if (out->overflowed)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the list of referrers has more than %zu bytes",
                    out->limit_bytes);
    return ERR_OK;
}

static enum errc rewrite(struct target_push *push, struct registry_client *client, const char *tag,
                         const struct referrer *referrer, struct error *err)
{
    autofree char *index = NULL;
    autobuf struct buf changed_index = BUF_INIT(MANIFEST_LIMIT_BYTES);
    size_t size = 0;
    bool changed = false;
    if (registry_manifest_get(client, tag, &index, &size, err) != ERR_OK ||
        referrers_add(index, size, referrer, &changed_index, &changed, err) != ERR_OK)
        return err->code;
    if (!changed)
        return ERR_OK;
    const struct manifest_bytes bytes = {changed_index.data, changed_index.size, MEDIA_OCI_INDEX};
    struct manifest_answer answer;
    if (registry_manifest_put(client, tag, &bytes, &answer, err) != ERR_OK)
        return err->code;
    log_debug("%s: noted a referrer under the tag %s", push->target, tag);
    return ERR_OK;
}

char *referrers_turn(const struct target_push *push, const struct digest *subject)
{
    const struct repository *repository = push->repository;
    char tag[REFERRERS_TAG_MAX];
    return xasprintf("list %s/%s:%s", repository->endpoint->host->name, repository->path,
                     referrers_tag(subject, tag));
}

enum errc referrers_note(struct target_push *push, struct registry_client *client,
                         const struct digest *subject, const struct referrer *referrer,
                         struct error *err)
{
    char tag[REFERRERS_TAG_MAX];
    if (rewrite(push, client, referrers_tag(subject, tag), referrer, err) != ERR_OK)
        return error_wrap(err, "list of referrers %s", tag);
    return ERR_OK;
}
