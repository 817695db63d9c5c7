#include "store/local/collect_repository.h"

#include <stdio.h>

/* Referrers of referrers: those of a longer chain are kept. */
#define REFERRER_ROUNDS 64

enum errc collect_manifest_get(const struct collect_repository *repository,
                               const struct kv_txn *txn, const struct digest *digest, bool *found,
                               struct manifest_record *out, struct error *err)
{
    struct record_key key = repository_digest_key(repository->name, digest);
    struct kv_slice value;
    if (kv_get(txn, KV_MANIFESTS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    return *found ? manifest_decode(record_key_slice(&key), value, out, err) : ERR_OK;
}

enum errc collect_manifest_used(const struct kv_txn *txn, const struct manifest_record *manifest,
                                uint64_t *used_s, struct error *err)
{
    struct record_key key = blob_key(&manifest->manifest.digest);
    struct blob_record record = {.last_use_s = 0};
    struct kv_slice value;
    bool found = false;
    if (kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, &found, err) != ERR_OK ||
        (found && blob_decode(value, &record, err) != ERR_OK))
        return err->code;
    *used_s = record.last_use_s > manifest->put_s ? record.last_use_s : manifest->put_s;
    return ERR_OK;
}

/* ---- what goes ---- */

void collect_expect_and_delete(struct change *change, enum kv_table table,
                               const struct record_key *key, const struct record_value *value)
{
    const struct kv_slice expected = record_value_slice(value);
    change_expect(change, table, record_key_slice(key), &expected);
    change_delete(change, table, record_key_slice(key));
}

void collect_manifest_delete(const struct collect_repository *repository,
                             const struct collect_found *found, struct change *change)
{
    struct record_key key =
        repository_digest_key(repository->name, &found->manifest.manifest.digest);
    struct record_value value = manifest_value(&found->manifest);
    collect_expect_and_delete(change, KV_MANIFESTS, &key, &value);
}

void collect_manifest_tell(const struct collect_repository *repository,
                           const struct collect_found *found)
{
    struct collect_item *item = collect_tell(repository->collection, COLLECT_MANIFEST, true,
                                             &found->manifest.manifest.digest);
    snprintf(item->name, sizeof item->name, "%s", repository->name);
    snprintf(item->why, sizeof item->why, "%s", found->why);
    repository->collection->report->manifests++;
}

enum errc collect_manifest_submit(struct collect_repository *repository,
                                  const struct collect_found *found, struct change *change,
                                  bool *done, struct error *err)
{
    const struct digest *digest = &found->manifest.manifest.digest;
    if (collect_submit(repository->collection, change, repository->name, digest, done, err) !=
        ERR_OK)
        return err->code;
    if (*done)
        return ERR_OK;
    repository->again = true;
    return collect_trace(&repository->tracing, digest, err);
}

static enum errc trace_found(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        repository->again = true;
        if (collect_trace(&repository->tracing, &repository->items[i].manifest.manifest.digest,
                          err) != ERR_OK)
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

/* ---- which go ---- */

/* Is it held for its own sake? Those that refer to another are looked at when that is known. */
static enum errc stands_alone(const struct collect_repository *repository, const struct kv_txn *txn,
                              const struct manifest_record *manifest, bool *out, struct error *err)
{
    const struct collection *collection = repository->collection;
    const struct digest *digest = &manifest->manifest.digest;
    int64_t untagged_s = collection->options->untagged_s;
    uint64_t used_s = 0;
    if (collect_manifest_used(txn, manifest, &used_s, err) != ERR_OK)
        return err->code;
    *out = live_set_has(&repository->tagged, digest) || live_set_has(&collection->pushed, digest) ||
           collect_is_leased(collection, used_s);
    if (*out || manifest->subject.algorithm != DIGEST_NONE ||
        live_set_has(&repository->going, digest))
        return ERR_OK;
    *out = untagged_s == COLLECT_FOREVER || used_s + (uint64_t)untagged_s >= collection->now_s;
    return ERR_OK;
}

static enum errc find_root(void *self, const struct kv_txn *txn, struct kv_slice key,
                           struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct collect_found *found = &repository->items[repository->count];
    bool is_root = false;
    if (manifest_decode(key, value, &found->manifest, err) != ERR_OK ||
        stands_alone(repository, txn, &found->manifest, &is_root, err) != ERR_OK)
        return err->code;
    repository->count += is_root;
    return ERR_OK;
}

/* It refers to one that is held. */
static enum errc find_referrer(void *self, const struct kv_txn *txn, struct kv_slice key,
                               struct kv_slice value, struct error *err)
{
    (void)txn;
    struct collect_repository *repository = self;
    struct collect_found *found = &repository->items[repository->count];
    if (manifest_decode(key, value, &found->manifest, err) != ERR_OK)
        return err->code;
    repository->count +=
        found->manifest.subject.algorithm != DIGEST_NONE &&
        !live_set_has(&repository->live, &found->manifest.manifest.digest) &&
        (repository->last_round || live_set_has(&repository->live, &found->manifest.subject));
    return ERR_OK;
}

/* One that was put, or asked for, since it was traced stays, with what it needs. */
static enum errc find_going(void *self, const struct kv_txn *txn, struct kv_slice key,
                            struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct collect_found *found = &repository->items[repository->count];
    uint64_t used_s = 0;
    *found = (struct collect_found){.has_manifest = true};
    if (manifest_decode(key, value, &found->manifest, err) != ERR_OK ||
        collect_manifest_used(txn, &found->manifest, &used_s, err) != ERR_OK)
        return err->code;
    found->kept = collect_is_leased(repository->collection, used_s);
    snprintf(found->why, sizeof found->why, "%s",
             found->manifest.subject.algorithm != DIGEST_NONE
                 ? "what it refers to is not there"
                 : "no tag names it, and it was used before keep.untagged");
    /* Those of tags have gone with them, or would have. */
    repository->count += !live_set_has(&repository->live, &found->manifest.manifest.digest) &&
                         !(repository->collection->options->dry_run &&
                           live_set_has(&repository->going, &found->manifest.manifest.digest));
    return ERR_OK;
}

static enum errc drop_manifest(struct collect_repository *repository,
                               const struct collect_found *found, struct error *err)
{
    bool done = false;
    autochange struct change change;
    change_init(&change);
    collect_manifest_delete(repository, found, &change);
    if (collect_manifest_submit(repository, found, &change, &done, err) == ERR_OK && done)
        collect_manifest_tell(repository, found);
    return err->code;
}

static enum errc drop_manifests(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct collect_found *found = &repository->items[i];
        if (found->kept ? collect_trace(&repository->tracing, &found->manifest.manifest.digest, err)
                        : drop_manifest(repository, found, err))
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

enum errc collect_referrers_trace(struct collect_repository *repository, struct error *err)
{
    repository->again = true;
    for (unsigned i = 0; repository->again; i++) {
        repository->again = false;
        repository->last_round = i == REFERRER_ROUNDS;
        if (collect_repository_scan(repository, KV_MANIFESTS, find_referrer, trace_found, err) !=
            ERR_OK)
            return err->code;
    }
    repository->last_round = false;
    return ERR_OK;
}

enum errc collect_manifests_trace(struct collect_repository *repository, struct error *err)
{
    if (collect_repository_scan(repository, KV_MANIFESTS, find_root, trace_found, err) != ERR_OK)
        return err->code;
    return collect_referrers_trace(repository, err);
}

enum errc collect_manifests_drop(struct collect_repository *repository, struct error *err)
{
    return collect_repository_scan(repository, KV_MANIFESTS, find_going, drop_manifests, err);
}
