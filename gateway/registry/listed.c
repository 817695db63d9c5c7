#include "gateway/registry/listed.h"

#include "base/mem.h"
#include "image/referrer_list.h"
#include "store/blob.h"

#include <string.h>

#define WHAT "the referrer"

static enum errc read_member(struct store *store, const char *repository,
                             const struct descriptor *member, json_t **document,
                             struct json_turn *turn, uint64_t *read, struct error *err)
{
    struct repository_manifest held;
    bool found = false;
    autofree char *data = NULL;
    size_t size = 0;
    struct error none = ERROR_INIT;
    if (repository_manifest(store, repository, &member->digest, &found, &held, err) != ERR_OK ||
        !found)
        return err->code;
    *read += held.size;
    if (*read > LISTED_BYTES_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "the manifests of the list of referrers have more than %llu bytes",
                    (unsigned long long)LISTED_BYTES_MAX);
    if (blob_read_all(store, &member->digest, MANIFEST_LIMIT_BYTES, WHAT, &data, &size, err) !=
        ERR_OK)
        return err->code;
    *turn = json_turn_take(size);
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, WHAT, document, &none) != ERR_OK)
        *document = NULL;
    return ERR_OK;
}

static void add(struct listed_referrers *listed, const struct descriptor *member,
                const json_t *document)
{
    struct error no_artifact = ERROR_INIT;
    if (!json_is_object(document) || referrer_check(document, WHAT, &no_artifact) != ERR_OK)
        return;
    autojson json_t *descriptor = referrer_describe(member, document);
    autofree char *text = json_compact(descriptor);
    if (strlen(text) > MANIFEST_DESCRIPTOR_MAX)
        return;
    listed->items[listed->count++] =
        (struct listed_referrer){.manifest = member->digest, .descriptor = mem_take(&text)};
}

static enum errc read_members(struct store *store, const struct cancel *cancel,
                              const char *repository, const char *tag, const struct manifest *list,
                              struct listed_referrers *listed, struct error *err)
{
    uint64_t read = 0;
    listed->items = xcalloc(list->child_count, sizeof *listed->items);
    for (size_t i = 0; i < list->child_count; i++) {
        autoturn struct json_turn turn = {.taken = false};
        autojson json_t *document = NULL;
        if (cancel_check(cancel, err) != ERR_OK ||
            read_member(store, repository, &list->children[i], &document, &turn, &read, err) !=
                ERR_OK)
            return err->code;
        referrer_list_subject(document, tag, &listed->subject);
        add(listed, &list->children[i], document);
    }
    if (listed->subject.algorithm == DIGEST_NONE)
        return ERR_OK;
    return repository_past_referrers(store, repository, &listed->subject, &listed->past, err);
}

enum errc listed_referrers_read(struct store *store, const struct cancel *cancel,
                                const char *repository, const char *tag,
                                const struct manifest *list, struct listed_referrers *out,
                                struct error *err)
{
    struct listed_referrers listed = {.count = 0};
    if (!referrer_list_is(tag, list)) {
        *out = listed;
        return ERR_OK;
    }
    referrers_tag_parse(tag, &listed.subject);
    if (read_members(store, cancel, repository, tag, list, &listed, err) != ERR_OK) {
        listed_referrers_deinit(&listed);
        return err->code;
    }
    *out = listed;
    return ERR_OK;
}

void listed_referrers_deinit(struct listed_referrers *listed)
{
    for (size_t i = 0; i < listed->count; i++)
        free(listed->items[i].descriptor);
    free(listed->items);
    name_list_deinit(&listed->past);
    *listed = (struct listed_referrers){.count = 0};
}

bool listed_referrers_had(const struct listed_referrers *listed, const struct digest *manifest)
{
    char digest[DIGEST_TEXT_MAX];
    digest_text(manifest, digest);
    for (size_t i = 0; i < listed->past.count; i++)
        if (strcmp(listed->past.names[i], digest) == 0)
            return true;
    return false;
}

void listed_referrers_put(const struct listed_referrers *listed, const char *repository,
                          struct batch *batch)
{
    if (listed->subject.algorithm == DIGEST_NONE)
        return;
    for (size_t i = 0; i < listed->count; i++)
        batch_put_referrer(batch, repository, &listed->subject, &listed->items[i].manifest,
                           listed->items[i].descriptor);
}
