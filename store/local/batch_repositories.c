#include "base/mem.h"
#include "store/local/batch_local.h"

#include <assert.h>

void batch_put_push(struct batch *batch, struct push *push)
{
    assert(batch->push == NULL);
    batch->push = push;
    push_suffix_make(batch->stage->push_suffix);
}

static void record_push(const struct batch *batch, uint64_t now_s, struct change *change)
{
    batch->push->created_s = now_s;
    push_put_numbered(change, batch->push, batch->stage->push_suffix, &batch->store->last_push);
}

static void record_member(const struct batch_member *member, uint64_t now_s, struct change *change)
{
    struct record_key key = repository_digest_key(member->repository, &member->digest);
    struct record_key holder = holder_key(&member->digest, member->repository);
    struct record_value value = member_value(now_s);
    struct record_value held = holder_value();
    change_put(change, KV_MEMBERS, record_key_slice(&key), record_value_slice(&value));
    change_put(change, KV_HOLDERS, record_key_slice(&holder), record_value_slice(&held));
}

static void record_referrer(const struct batch_referrer *referrer, struct change *change)
{
    struct record_key key =
        referrer_key(referrer->repository, &referrer->subject, &referrer->manifest);
    autofree uint8_t *value = NULL;
    size_t size = descriptor_value(referrer->descriptor, &value);
    change_put(change, KV_REFERRERS, record_key_slice(&key), (struct kv_slice){value, size});
}

static void record_manifest(const struct batch_manifest *manifest, uint64_t put_number,
                            uint64_t now_s, struct change *change)
{
    struct manifest_record record = {.manifest = manifest->manifest,
                                     .subject = manifest->subject,
                                     .put_s = now_s,
                                     .put_number = put_number};
    struct record_key key = repository_digest_key(manifest->repository, &record.manifest.digest);
    struct record_value value = manifest_value(&record);
    change_put(change, KV_MANIFESTS, record_key_slice(&key), record_value_slice(&value));
    if (manifest->tag != NULL) {
        struct record_key tagged = tag_key(manifest->repository, manifest->tag);
        struct record_value names = tag_value(&record.manifest.digest);
        change_put(change, KV_TAGS, record_key_slice(&tagged), record_value_slice(&names));
    }
}

void batch_record_front(const struct batch *batch, uint64_t now_s, struct change *change)
{
    for (size_t i = 0; i < batch->member_count; i++)
        record_member(&batch->members[i], now_s, change);
    for (size_t i = 0; i < batch->manifest_count; i++)
        record_manifest(&batch->manifests[i], change_next_number(&batch->store->last_push), now_s,
                        change);
    for (size_t i = 0; i < batch->referrer_count; i++)
        record_referrer(&batch->referrers[i], change);
    if (batch->push)
        record_push(batch, now_s, change);
    for (size_t i = 0; i < batch->session_count; i++) {
        struct record_key key = session_key(batch->sessions[i].id);
        change_delete(change, KV_SESSIONS, record_key_slice(&key));
    }
}
