#include "store/local/collect_repository.h"

#include <stdio.h>

static enum errc look_at_tag(const struct collect_repository *repository, const struct kv_txn *txn,
                             struct kv_slice key, struct kv_slice value, struct collect_found *out,
                             struct error *err)
{
    struct digest digest;
    *out = (struct collect_found){.kept = false};
    if (tag_decode(key, value, out->tag, &digest, err) != ERR_OK ||
        collect_manifest_get(repository, txn, &digest, &out->has_manifest, &out->manifest, err) !=
            ERR_OK)
        return err->code;
    out->manifest.manifest.digest = digest;
    return ERR_OK;
}

static struct keep_age age_of(const struct collect_found *found)
{
    return (struct keep_age){found->manifest.put_s, manifest_number(&found->manifest)};
}

static enum errc meet_tag(void *self, const struct kv_txn *txn, struct kv_slice key,
                          struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct collect_found found;
    if (look_at_tag(repository, txn, key, value, &found, err) != ERR_OK)
        return err->code;
    if (found.has_manifest)
        keep_meet(&repository->ruling, repository->collection->options, found.tag, age_of(&found));
    return ERR_OK;
}

static enum errc judge_tag(const struct collect_repository *repository, const struct kv_txn *txn,
                           struct collect_found *found, struct error *err)
{
    const struct collection *collection = repository->collection;
    uint64_t used_s = 0;
    if (collect_manifest_used(txn, &found->manifest, &used_s, err) != ERR_OK)
        return err->code;
    if (!found->has_manifest && !collect_is_leased(collection, used_s)) {
        snprintf(found->why, sizeof found->why, "its manifest is not there");
        return ERR_OK;
    }
    found->kept = keep_judge(&repository->ruling, collection->options, found->tag, age_of(found),
                             collection->now_s, found->why, sizeof found->why);
    if (found->kept)
        return ERR_OK;
    found->kept = true;
    if (live_set_has(&collection->pushed, &found->manifest.manifest.digest))
        snprintf(found->why, sizeof found->why, "kept: its push has not come to its end");
    else if (collect_is_leased(collection, used_s))
        snprintf(found->why, sizeof found->why, "kept: it was used in the last %lld s",
                 (long long)collection->options->grace_s);
    else
        found->kept = false;
    return ERR_OK;
}

static enum errc sort_tag(void *self, const struct kv_txn *txn, struct kv_slice key,
                          struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct collect_found *found = &repository->items[repository->count];
    if (look_at_tag(repository, txn, key, value, found, err) != ERR_OK ||
        judge_tag(repository, txn, found, err) != ERR_OK)
        return err->code;
    live_set_add(found->kept ? &repository->tagged : &repository->going,
                 &found->manifest.manifest.digest);
    repository->count++;
    return ERR_OK;
}

static void tell_tag(const struct collect_repository *repository, const struct collect_found *found,
                     bool goes)
{
    struct collect_item *item =
        collect_tell(repository->collection, COLLECT_TAG, goes, &found->manifest.manifest.digest);
    snprintf(item->name, sizeof item->name, "%s", repository->name);
    snprintf(item->tag, sizeof item->tag, "%s", found->tag);
    snprintf(item->why, sizeof item->why, "%s", found->why);
}

static enum errc tell_kept_tags(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    (void)err;
    for (size_t i = 0; i < repository->count; i++)
        if (repository->ruling.count > 0 && repository->items[i].kept)
            tell_tag(repository, &repository->items[i], false);
    repository->count = 0;
    return ERR_OK;
}

static enum errc find_going_tag(void *self, const struct kv_txn *txn, struct kv_slice key,
                                struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct collect_found *found = &repository->items[repository->count];
    if (look_at_tag(repository, txn, key, value, found, err) != ERR_OK)
        return err->code;
    if (!live_set_has(&repository->going, &found->manifest.manifest.digest))
        return ERR_OK;
    repository->count++;
    return judge_tag(repository, txn, found, err);
}

/* A tag, and in the same change its manifest, unless something else needs that. */
static enum errc drop_tag(struct collect_repository *repository, const struct collect_found *found,
                          struct error *err)
{
    struct record_key key = tag_key(repository->name, found->tag);
    struct record_value value = tag_value(&found->manifest.manifest.digest);
    bool alone =
        found->has_manifest && !live_set_has(&repository->live, &found->manifest.manifest.digest);
    bool done = false;
    autochange struct change change;
    change_init(&change);
    collect_expect_and_delete(&change, KV_TAGS, &key, &value);
    if (alone)
        collect_manifest_delete(repository, found, &change);
    if (collect_manifest_submit(repository, found, &change, &done, err) != ERR_OK || !done)
        return err->code;
    tell_tag(repository, found, true);
    repository->collection->report->tags++;
    if (alone)
        collect_manifest_tell(repository, found);
    return ERR_OK;
}

static enum errc drop_tags(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct collect_found *found = &repository->items[i];
        repository->again |= found->kept;
        if (found->kept ? collect_trace(&repository->tracing, &found->manifest.manifest.digest, err)
                        : drop_tag(repository, found, err))
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

enum errc collect_tags_sort(struct collect_repository *repository, struct error *err)
{
    bool ruled = repository->ruling.count > 0;
    if (ruled &&
        collect_repository_scan(repository, KV_TAGS, meet_tag, collect_nothing, err) != ERR_OK)
        return err->code;
    return collect_repository_scan(repository, KV_TAGS, sort_tag, tell_kept_tags, err);
}

enum errc collect_tags_drop(struct collect_repository *repository, struct error *err)
{
    return collect_repository_scan(repository, KV_TAGS, find_going_tag, drop_tags, err);
}
