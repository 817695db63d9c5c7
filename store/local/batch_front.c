#include "base/mem.h"
#include "store/local/batch_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool name_fits(struct batch *batch, const char *repository)
{
    if (repository_name_fits(repository))
        return true;
    fail(&batch->error, ERR_NAME_INVALID, 0, "a repository's name has 1 to %d characters",
         REPOSITORY_NAME_MAX);
    return false;
}

void batch_put_member(struct batch *batch, const char *repository, const struct digest *digest)
{
    if (!name_fits(batch, repository))
        return;
    void *grown = batch_grow(batch->members, batch->member_count, &batch->member_capacity,
                             sizeof *batch->members, &batch->error);
    if (grown == NULL)
        return;
    batch->members = grown;
    batch->members[batch->member_count++] =
        (struct batch_member){.repository = xstrdup(repository), .digest = *digest};
}

static bool entry_fits(struct batch *batch, const struct manifest_entry *entry)
{
    assert(entry->subject == NULL || entry->descriptor != NULL);
    if (!name_fits(batch, entry->repository))
        return false;
    if (entry->tag != NULL && !tag_fits(entry->tag)) {
        fail(&batch->error, ERR_TAG_INVALID, 0, "a tag has 1 to %d characters", REFERENCE_TAG_MAX);
        return false;
    }
    if (entry->subject != NULL &&
        strnlen(entry->descriptor, MANIFEST_DESCRIPTOR_MAX + 1) > MANIFEST_DESCRIPTOR_MAX) {
        fail(&batch->error, ERR_MANIFEST_INVALID, 0,
             "the annotations and types of a manifest with a subject take more than %zu bytes",
             MANIFEST_DESCRIPTOR_MAX);
        return false;
    }
    return true;
}

void batch_put_manifest(struct batch *batch, const struct manifest_entry *entry)
{
    if (!entry_fits(batch, entry))
        return;
    void *grown = batch_grow(batch->manifests, batch->manifest_count, &batch->manifest_capacity,
                             sizeof *batch->manifests, &batch->error);
    if (grown == NULL)
        return;
    batch->manifests = grown;
    struct batch_manifest *manifest = &batch->manifests[batch->manifest_count++];
    *manifest = (struct batch_manifest){
        .repository = xstrdup(entry->repository),
        .record = {.manifest = entry->manifest, .put_number = batch->serial}};
    if (entry->tag != NULL)
        manifest->tag = xstrdup(entry->tag);
    if (entry->subject != NULL) {
        manifest->record.subject = *entry->subject;
        manifest->descriptor = xstrdup(entry->descriptor);
    }
}

static struct digest *manifests_of(const struct push_record *record)
{
    struct digest *digests = xcalloc(1 + record->referrer_count, sizeof *digests);
    digests[0] = record->manifest.digest;
    for (size_t i = 0; i < record->referrer_count; i++)
        digests[1 + i] = record->referrers[i].manifest.digest;
    return digests;
}

void batch_put_push(struct batch *batch, const struct push_record *record)
{
    struct batch_push push = {.key = push_key(record->id)};
    void *grown = batch_grow(batch->pushes, batch->push_count, &batch->push_capacity,
                             sizeof *batch->pushes, &batch->error);
    if (grown == NULL)
        return;
    batch->pushes = grown;
    if (push_value(record, &push.value, &push.size, &batch->error) != ERR_OK)
        return;
    push.needs = manifests_of(record);
    push.need_count = 1 + record->referrer_count;
    batch->pushes[batch->push_count++] = push;
}

void batch_end_session(struct batch *batch, const char *id)
{
    void *grown = batch_grow(batch->sessions, batch->session_count, &batch->session_capacity,
                             sizeof *batch->sessions, &batch->error);
    if (grown == NULL)
        return;
    batch->sessions = grown;
    struct batch_session *session = &batch->sessions[batch->session_count++];
    snprintf(session->id, sizeof session->id, "%s", id);
}

static void record_member(const struct batch_member *member, struct change *change)
{
    struct record_key key = repository_digest_key(member->repository, &member->digest);
    struct record_key holder = holder_key(&member->digest, member->repository);
    struct record_value value = member_value();
    change_put(change, KV_MEMBERS, record_key_slice(&key), record_value_slice(&value));
    change_put(change, KV_HOLDERS, record_key_slice(&holder), record_value_slice(&value));
}

static void record_referrer(const struct batch_manifest *manifest, struct change *change)
{
    const struct manifest_record *record = &manifest->record;
    struct record_key key =
        referrer_key(manifest->repository, &record->subject, &record->manifest.digest);
    autofree uint8_t *value = NULL;
    size_t size = descriptor_value(manifest->descriptor, &value);
    change_put(change, KV_REFERRERS, record_key_slice(&key), (struct kv_slice){value, size});
}

static void record_manifest(const struct batch_manifest *manifest, uint64_t now_s,
                            struct change *change)
{
    struct manifest_record record = manifest->record;
    record.put_s = now_s;
    struct record_key key = repository_digest_key(manifest->repository, &record.manifest.digest);
    struct record_value value = manifest_value(&record);
    change_put(change, KV_MANIFESTS, record_key_slice(&key), record_value_slice(&value));
    if (manifest->tag != NULL) {
        struct record_key tagged = tag_key(manifest->repository, manifest->tag);
        struct record_value names = tag_value(&record.manifest.digest);
        change_put(change, KV_TAGS, record_key_slice(&tagged), record_value_slice(&names));
    }
    if (manifest->descriptor != NULL)
        record_referrer(manifest, change);
}

void batch_record_front(const struct batch *batch, uint64_t now_s, struct change *change)
{
    for (size_t i = 0; i < batch->member_count; i++)
        record_member(&batch->members[i], change);
    for (size_t i = 0; i < batch->manifest_count; i++)
        record_manifest(&batch->manifests[i], now_s, change);
    for (size_t i = 0; i < batch->push_count; i++) {
        const struct batch_push *push = &batch->pushes[i];
        change_put(change, KV_PUSHES, record_key_slice(&push->key),
                   (struct kv_slice){push->value, push->size});
    }
    for (size_t i = 0; i < batch->session_count; i++) {
        struct record_key key = session_key(batch->sessions[i].id);
        change_delete(change, KV_SESSIONS, record_key_slice(&key));
    }
}

void batch_free_front(struct batch *batch)
{
    for (size_t i = 0; i < batch->member_count; i++)
        free(batch->members[i].repository);
    for (size_t i = 0; i < batch->manifest_count; i++) {
        free(batch->manifests[i].repository);
        free(batch->manifests[i].tag);
        free(batch->manifests[i].descriptor);
    }
    for (size_t i = 0; i < batch->push_count; i++) {
        free(batch->pushes[i].value);
        free(batch->pushes[i].needs);
    }
    free(batch->pushes);
    free(batch->members);
    free(batch->manifests);
    free(batch->sessions);
}
