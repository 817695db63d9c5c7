#include "base/mem.h"
#include "store/local/collect_internal.h"
#include "store/local/leases.h"

#include <stdio.h>
#include <string.h>

/* Referrers of referrers: those of a longer chain are kept. */
#define REFERRER_ROUNDS 64

/* A manifest, with the tag by which it was found, as its records were. */
struct found {
    struct manifest_record manifest;
    bool has_manifest;
    char tag[REFERENCE_TAG_MAX + 1];
    char why[96];
    bool kept;
};

struct repository {
    struct collection *collection;
    char name[REPOSITORY_NAME_MAX + 1];
    struct record_key prefix;
    struct keep_ruling ruling;
    struct live_set live;   /* needed by a manifest of this repository that is held */
    struct live_set tagged; /* manifests that a tag which is kept names */
    struct live_set going;  /* those of tags that go */
    struct collect_tracing tracing;
    struct found items[COLLECT_STEP];
    size_t count;
    struct digest members[COLLECT_STEP];
    uint64_t members_used_s[COLLECT_STEP];
    struct change change;
    bool last_round; /* of those that refer to another */
    bool again;      /* something that was to go has to stay, with what it needs */
};

static enum errc scan(struct repository *repository, enum kv_table table, collect_look *look,
                      collect_act *act, struct error *err)
{
    const struct collect_scan scan_is = {.table = table,
                                         .prefix = record_key_slice(&repository->prefix),
                                         .look = look,
                                         .act = act,
                                         .self = repository};
    return collect_each(repository->collection, &scan_is, err);
}

static enum errc do_nothing(void *self, struct error *err)
{
    (void)self;
    (void)err;
    return ERR_OK;
}

static enum errc trace_found(void *self, struct error *err)
{
    struct repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        repository->again = true;
        if (collect_trace(&repository->tracing, &repository->items[i].manifest.manifest.digest,
                          err) != ERR_OK)
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

static enum errc get_manifest(const struct repository *repository, const struct kv_txn *txn,
                              const struct digest *digest, bool *found, struct manifest_record *out,
                              struct error *err)
{
    struct record_key key = repository_digest_key(repository->name, digest);
    struct kv_slice value;
    if (kv_get(txn, KV_MANIFESTS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    return *found ? manifest_decode(record_key_slice(&key), value, out, err) : ERR_OK;
}

/* When it was put or asked for last. */
static enum errc last_use(const struct kv_txn *txn, const struct manifest_record *manifest,
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

/* ---- tags ---- */

static enum errc look_at_tag(const struct repository *repository, const struct kv_txn *txn,
                             struct kv_slice key, struct kv_slice value, struct found *out,
                             struct error *err)
{
    struct digest digest;
    *out = (struct found){.kept = false};
    if (tag_decode(key, value, out->tag, &digest, err) != ERR_OK ||
        get_manifest(repository, txn, &digest, &out->has_manifest, &out->manifest, err) != ERR_OK)
        return err->code;
    out->manifest.manifest.digest = digest;
    return ERR_OK;
}

static struct keep_age age_of(const struct found *found)
{
    return (struct keep_age){found->manifest.put_s, found->manifest.put_number};
}

static enum errc meet_tag(void *self, const struct kv_txn *txn, struct kv_slice key,
                          struct kv_slice value, struct error *err)
{
    struct repository *repository = self;
    struct found found;
    if (look_at_tag(repository, txn, key, value, &found, err) != ERR_OK)
        return err->code;
    if (found.has_manifest)
        keep_meet(&repository->ruling, repository->collection->options, found.tag, age_of(&found));
    return ERR_OK;
}

static enum errc judge_tag(const struct repository *repository, const struct kv_txn *txn,
                           struct found *found, struct error *err)
{
    const struct collection *collection = repository->collection;
    uint64_t used_s = 0;
    if (last_use(txn, &found->manifest, &used_s, err) != ERR_OK)
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
    struct repository *repository = self;
    struct found *found = &repository->items[repository->count];
    if (look_at_tag(repository, txn, key, value, found, err) != ERR_OK ||
        judge_tag(repository, txn, found, err) != ERR_OK)
        return err->code;
    live_set_add(found->kept ? &repository->tagged : &repository->going,
                 &found->manifest.manifest.digest);
    repository->count++;
    return ERR_OK;
}

static void tell_tag(const struct repository *repository, const struct found *found, bool goes)
{
    struct collect_item *item =
        collect_tell(repository->collection, COLLECT_TAG, goes, &found->manifest.manifest.digest);
    snprintf(item->name, sizeof item->name, "%s", repository->name);
    snprintf(item->tag, sizeof item->tag, "%s", found->tag);
    snprintf(item->why, sizeof item->why, "%s", found->why);
}

static enum errc tell_kept_tags(void *self, struct error *err)
{
    struct repository *repository = self;
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
    struct repository *repository = self;
    struct found *found = &repository->items[repository->count];
    if (look_at_tag(repository, txn, key, value, found, err) != ERR_OK)
        return err->code;
    if (!live_set_has(&repository->going, &found->manifest.manifest.digest))
        return ERR_OK;
    repository->count++;
    return judge_tag(repository, txn, found, err);
}

/* ---- what goes ---- */

static void expect_and_delete(struct change *change, enum kv_table table,
                              const struct record_key *key, const struct record_value *value)
{
    const struct kv_slice expected = record_value_slice(value);
    change_expect(change, table, record_key_slice(key), &expected);
    change_delete(change, table, record_key_slice(key));
}

static void delete_manifest(const struct repository *repository, const struct found *found,
                            struct change *change)
{
    struct record_key key =
        repository_digest_key(repository->name, &found->manifest.manifest.digest);
    struct record_value value = manifest_value(&found->manifest);
    expect_and_delete(change, KV_MANIFESTS, &key, &value);
}

static void tell_manifest(const struct repository *repository, const struct found *found)
{
    struct collect_item *item = collect_tell(repository->collection, COLLECT_MANIFEST, true,
                                             &found->manifest.manifest.digest);
    snprintf(item->name, sizeof item->name, "%s", repository->name);
    snprintf(item->why, sizeof item->why, "%s", found->why);
    repository->collection->report->manifests++;
}

/* One that was used meanwhile stays, with what it needs. */
static enum errc submit(struct repository *repository, const struct found *found,
                        struct change *change, bool *done, struct error *err)
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

/* A tag, and in the same change its manifest, unless something else needs that. */
static enum errc drop_tag(struct repository *repository, const struct found *found,
                          struct error *err)
{
    struct record_key key = tag_key(repository->name, found->tag);
    struct record_value value = tag_value(&found->manifest.manifest.digest);
    bool alone =
        found->has_manifest && !live_set_has(&repository->live, &found->manifest.manifest.digest);
    bool done = false;
    autochange struct change change;
    change_init(&change);
    expect_and_delete(&change, KV_TAGS, &key, &value);
    if (alone)
        delete_manifest(repository, found, &change);
    if (submit(repository, found, &change, &done, err) != ERR_OK || !done)
        return err->code;
    tell_tag(repository, found, true);
    repository->collection->report->tags++;
    if (alone)
        tell_manifest(repository, found);
    return ERR_OK;
}

static enum errc drop_tags(void *self, struct error *err)
{
    struct repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct found *found = &repository->items[i];
        repository->again |= found->kept;
        if (found->kept ? collect_trace(&repository->tracing, &found->manifest.manifest.digest, err)
                        : drop_tag(repository, found, err))
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

/* ---- manifests ---- */

/* Is it held for its own sake? Those that refer to another are looked at when that is known. */
static enum errc stands_alone(const struct repository *repository, const struct kv_txn *txn,
                              const struct manifest_record *manifest, bool *out, struct error *err)
{
    const struct collection *collection = repository->collection;
    const struct digest *digest = &manifest->manifest.digest;
    int64_t untagged_s = collection->options->untagged_s;
    uint64_t used_s = 0;
    if (last_use(txn, manifest, &used_s, err) != ERR_OK)
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
    struct repository *repository = self;
    struct found *found = &repository->items[repository->count];
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
    struct repository *repository = self;
    struct found *found = &repository->items[repository->count];
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
    struct repository *repository = self;
    struct found *found = &repository->items[repository->count];
    uint64_t used_s = 0;
    *found = (struct found){.has_manifest = true};
    if (manifest_decode(key, value, &found->manifest, err) != ERR_OK ||
        last_use(txn, &found->manifest, &used_s, err) != ERR_OK)
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

static enum errc drop_manifest(struct repository *repository, const struct found *found,
                               struct error *err)
{
    bool done = false;
    autochange struct change change;
    change_init(&change);
    delete_manifest(repository, found, &change);
    if (submit(repository, found, &change, &done, err) == ERR_OK && done)
        tell_manifest(repository, found);
    return err->code;
}

static enum errc drop_manifests(void *self, struct error *err)
{
    struct repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct found *found = &repository->items[i];
        if (found->kept ? collect_trace(&repository->tracing, &found->manifest.manifest.digest, err)
                        : drop_manifest(repository, found, err))
            return err->code;
    }
    repository->count = 0;
    return ERR_OK;
}

/* Those that refer to what is held, and those that refer to them. */
static enum errc trace_referrers(struct repository *repository, struct error *err)
{
    repository->again = true;
    for (unsigned i = 0; repository->again; i++) {
        repository->again = false;
        repository->last_round = i == REFERRER_ROUNDS;
        if (scan(repository, KV_MANIFESTS, find_referrer, trace_found, err) != ERR_OK)
            return err->code;
    }
    repository->last_round = false;
    return ERR_OK;
}

/* ---- members, and lists of referrers ---- */

static enum errc find_member(void *self, const struct kv_txn *txn, struct kv_slice key,
                             struct kv_slice value, struct error *err)
{
    (void)txn;
    struct repository *repository = self;
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest *digest = &repository->members[repository->count];
    uint64_t *used_s = &repository->members_used_s[repository->count];
    if (repository_digest_decode(key, name, digest, err) != ERR_OK ||
        member_decode(value, used_s, err) != ERR_OK)
        return err->code;
    repository->count += !live_set_has(&repository->live, digest) &&
                         !collect_is_leased(repository->collection, *used_s);
    return ERR_OK;
}

/* Of the first version, too: so the record is read again. */
static enum errc prepare_member(const struct repository *repository, const struct digest *digest,
                                struct change *change, bool *found, struct error *err)
{
    struct record_key key = repository_digest_key(repository->name, digest);
    struct record_key holder = holder_key(digest, repository->name);
    struct kv_slice value;
    uint64_t used_s = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(repository->collection->store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_MEMBERS, record_key_slice(&key), &value, found, err) != ERR_OK ||
        (*found && member_decode(value, &used_s, err) != ERR_OK))
        return err->code;
    *found = *found && !collect_is_leased(repository->collection, used_s);
    if (!*found)
        return ERR_OK;
    change_expect(change, KV_MEMBERS, record_key_slice(&key), &value);
    change_delete(change, KV_MEMBERS, record_key_slice(&key));
    change_delete(change, KV_HOLDERS, record_key_slice(&holder));
    return ERR_OK;
}

static enum errc drop_members(void *self, struct error *err)
{
    struct repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct digest *digest = &repository->members[i];
        bool found = false;
        bool done = false;
        autochange struct change change;
        change_init(&change);
        if (prepare_member(repository, digest, &change, &found, err) != ERR_OK ||
            (found && collect_submit(repository->collection, &change, repository->name, digest,
                                     &done, err) != ERR_OK))
            return err->code;
        repository->collection->report->members += done;
    }
    repository->count = 0;
    return ERR_OK;
}

/* Neither the manifest that refers nor the one that it refers to is in the repository. */
static enum errc find_past_referrer(void *self, const struct kv_txn *txn, struct kv_slice key,
                                    struct kv_slice value, struct error *err)
{
    struct repository *repository = self;
    struct manifest_record manifest;
    struct digest subject;
    struct digest referrer;
    char name[REPOSITORY_NAME_MAX + 1];
    bool has_subject = false;
    bool has_referrer = false;
    if (referrer_subject_decode(key, &subject, err) != ERR_OK ||
        referrer_key_decode(key, name, &referrer, err) != ERR_OK ||
        get_manifest(repository, txn, &subject, &has_subject, &manifest, err) != ERR_OK ||
        get_manifest(repository, txn, &referrer, &has_referrer, &manifest, err) != ERR_OK)
        return err->code;
    if (has_subject || has_referrer)
        return ERR_OK;
    struct record_key other = repository_digest_key(repository->name, &referrer);
    change_expect(&repository->change, KV_MANIFESTS, record_key_slice(&other), NULL);
    change_delete_same(&repository->change, KV_REFERRERS, key, value);
    repository->count++;
    return ERR_OK;
}

static enum errc drop_past_referrers(void *self, struct error *err)
{
    struct repository *repository = self;
    struct collection *collection = repository->collection;
    repository->change.essential = true;
    if (repository->count > 0 && !collection->options->dry_run)
        writer_submit(collection->store->writer, &repository->change, err);
    collection->report->records += repository->count;
    repository->count = 0;
    change_deinit(&repository->change);
    change_init(&repository->change);
    return err->code;
}

/* ---- one repository after another ---- */

static enum errc collect_one(struct repository *repository, struct error *err)
{
    bool ruled = repository->ruling.count > 0;
    if ((ruled && scan(repository, KV_TAGS, meet_tag, do_nothing, err) != ERR_OK) ||
        scan(repository, KV_TAGS, sort_tag, tell_kept_tags, err) != ERR_OK ||
        scan(repository, KV_MANIFESTS, find_root, trace_found, err) != ERR_OK ||
        trace_referrers(repository, err) != ERR_OK)
        return err->code;
    collect_point(repository->collection, "before names go");
    if (scan(repository, KV_TAGS, find_going_tag, drop_tags, err) != ERR_OK ||
        (repository->again && trace_referrers(repository, err) != ERR_OK) ||
        scan(repository, KV_MANIFESTS, find_going, drop_manifests, err) != ERR_OK)
        return err->code;
    repository->collection->report->unreadable += repository->tracing.unreadable;
    if (!repository->tracing.unreadable &&
        scan(repository, KV_MEMBERS, find_member, drop_members, err) != ERR_OK)
        return err->code;
    return scan(repository, KV_REFERRERS, find_past_referrer, drop_past_referrers, err);
}

/* What else may be needed by a manifest that cannot be read. */
static enum errc keep_member(void *self, const struct kv_txn *txn, struct kv_slice key,
                             struct kv_slice value, struct error *err)
{
    (void)txn;
    (void)value;
    struct repository *repository = self;
    struct digest digest;
    char name[REPOSITORY_NAME_MAX + 1];
    if (repository_digest_decode(key, name, &digest, err) == ERR_OK)
        live_set_add(&repository->live, &digest);
    return err->code;
}

static enum errc collect_repository(struct collection *collection, const char *name,
                                    struct error *err)
{
    struct repository *repository = xcalloc(1, sizeof *repository);
    repository->collection = collection;
    snprintf(repository->name, sizeof repository->name, "%s", name);
    repository->prefix = repository_prefix(name);
    repository->tracing =
        (struct collect_tracing){.collection = collection, .set = &repository->live};
    change_init(&repository->change);
    keep_ruling_init(&repository->ruling, collection->options, name);
    if (collect_one(repository, err) == ERR_OK && repository->tracing.unreadable)
        scan(repository, KV_MEMBERS, keep_member, do_nothing, err);
    live_set_merge(&collection->live, &repository->live);
    keep_ruling_deinit(&repository->ruling);
    change_deinit(&repository->change);
    live_set_deinit(&repository->live);
    live_set_deinit(&repository->tagged);
    live_set_deinit(&repository->going);
    free(repository);
    return err->code;
}

/* The first name of the table behind this one; "" when there is none. */
static enum errc next_name(const struct kv_txn *txn, enum kv_table table, const char *after,
                           char name[REPOSITORY_NAME_MAX + 1], struct error *err)
{
    struct record_key from = repository_end(after);
    struct digest digest;
    struct kv_slice key;
    struct kv_slice value;
    bool more = false;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_cursor_open(txn, table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (after[0])
        kv_cursor_seek(&cursor, record_key_slice(&from));
    name[0] = '\0';
    if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK || !more)
        return err->code;
    return repository_digest_decode(key, name, &digest, err);
}

static enum errc next_repository(struct collection *collection, const char *after,
                                 char name[REPOSITORY_NAME_MAX + 1], struct error *err)
{
    char other[REPOSITORY_NAME_MAX + 1];
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(collection->store->kv, &txn, err) != ERR_OK ||
        next_name(&txn, KV_MANIFESTS, after, name, err) != ERR_OK ||
        next_name(&txn, KV_MEMBERS, after, other, err) != ERR_OK)
        return err->code;
    if (name[0] == '\0' || (other[0] && strcmp(other, name) < 0))
        memcpy(name, other, sizeof other);
    return ERR_OK;
}

enum errc collect_repositories(struct collection *collection, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1] = "";
    char next[REPOSITORY_NAME_MAX + 1];
    for (;;) {
        if (next_repository(collection, name, next, err) != ERR_OK)
            return err->code;
        if (next[0] == '\0')
            return ERR_OK;
        memcpy(name, next, sizeof name);
        if (collect_repository(collection, name, err) != ERR_OK)
            return err->code;
    }
}
