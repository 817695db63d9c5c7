#include "store/repositories.h"

#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_repositories.h"

/* A record of a blob says only that it was put; what was lost with the machine is not held. */
static enum errc blob_is_held(struct store *store, const char *repository,
                              const struct digest *digest, bool *held, struct error *err)
{
    struct blob_record record;
    bool found = false;
    if (blob_find_leased(store, repository, digest, &found, &record, err) != ERR_OK)
        return err->code;
    *held = found && blob_file_is_there(store->blobs_fd, digest, record.size);
    return ERR_OK;
}

static enum errc any_with_prefix(struct store *store, enum kv_table table,
                                 const struct record_key *prefix, bool *any, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_any(&txn, table, record_key_slice(prefix), any, err);
}

enum errc repository_held(struct store *store, const char *repository, bool *held,
                          struct error *err)
{
    bool any = false;
    if (repository_name_fits(repository)) {
        struct record_key prefix = repository_prefix(repository);
        if (any_with_prefix(store, KV_MANIFESTS, &prefix, &any, err) != ERR_OK ||
            (!any && any_with_prefix(store, KV_MEMBERS, &prefix, &any, err) != ERR_OK))
            return err->code;
    }
    *held = any;
    return ERR_OK;
}

static enum errc is_member(struct store *store, const char *repository, const struct digest *digest,
                           bool *member, struct error *err)
{
    struct record_key key = repository_digest_key(repository, digest);
    return any_with_prefix(store, KV_MEMBERS, &key, member, err);
}

/* As blob_find_leased(): asked, noted, and asked again. */
enum errc repository_has_blob(struct store *store, const char *repository,
                              const struct digest *digest, bool *held, struct error *err)
{
    bool member = false;
    if ((repository_name_fits(repository) &&
         is_member(store, repository, digest, &member, err) != ERR_OK) ||
        (member && blob_is_held(store, repository, digest, &member, err) != ERR_OK) ||
        (member && is_member(store, repository, digest, &member, err) != ERR_OK))
        return err->code;
    *held = member;
    return ERR_OK;
}

struct holders {
    bool (*counts)(void *self, const char *repository);
    void *self;
    size_t left;
    bool found;
};

static enum errc ask_holder(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                            struct error *err)
{
    (void)value;
    struct holders *holders = self;
    char name[REPOSITORY_NAME_MAX + 1];
    if (holder_name_decode(key, name, err) != ERR_OK)
        return err->code;
    holders->found = holders->counts == NULL || holders->counts(holders->self, name);
    *enough = holders->found || --holders->left == 0;
    return ERR_OK;
}

static enum errc ask_holders(struct store *store, const struct digest *digest,
                             struct holders *holders, struct error *err)
{
    struct record_key prefix = blob_key(digest);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_HOLDERS, record_key_slice(&prefix), ask_holder, holders, err);
}

enum errc repositories_have_blob(struct store *store, const struct digest *digest,
                                 bool (*counts)(void *self, const char *repository), void *self,
                                 bool *held, struct error *err)
{
    struct holders holders = {.counts = counts, .self = self, .left = HOLDERS_MAX};
    if (ask_holders(store, digest, &holders, err) != ERR_OK)
        return err->code;
    for (; counts && !holders.found && holders.left > 0; holders.left--)
        counts(self, NO_HOLDER);
    if (holders.found && blob_is_held(store, "", digest, &holders.found, err) != ERR_OK)
        return err->code;
    *held = holders.found;
    return ERR_OK;
}

static enum errc get_manifest(struct store *store, const struct kv_txn *txn, const char *repository,
                              const struct digest *digest, bool *found, struct manifest_record *out,
                              struct error *err)
{
    struct record_key key = repository_digest_key(repository, digest);
    struct kv_slice value;
    if (kv_get(txn, KV_MANIFESTS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && manifest_decode(record_key_slice(&key), value, out, err) != ERR_OK)
        return quarantine_note(store, KV_MANIFESTS, record_key_slice(&key), value, err);
    return ERR_OK;
}

static enum errc get_tag(struct store *store, const struct kv_txn *txn, const char *repository,
                         const char *tag, bool *found, struct digest *digest, struct error *err)
{
    char text[REFERENCE_TAG_MAX + 1];
    struct record_key key = tag_key(repository, tag);
    struct kv_slice value;
    if (kv_get(txn, KV_TAGS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && tag_decode(record_key_slice(&key), value, text, digest, err) != ERR_OK)
        return quarantine_note(store, KV_TAGS, record_key_slice(&key), value, err);
    return ERR_OK;
}

static enum errc find_manifest(struct store *store, const char *repository, const char *tag,
                               const struct digest *digest, bool *found,
                               struct manifest_record *out, struct error *err)
{
    struct digest named;
    *found = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    if (digest == NULL) {
        if (get_tag(store, &txn, repository, tag, found, &named, err) != ERR_OK)
            return err->code;
        digest = &named;
    }
    return *found ? get_manifest(store, &txn, repository, digest, found, out, err) : ERR_OK;
}

/* By digest, or where that is NULL by tag. */
static enum errc held_manifest(struct store *store, const char *repository, const char *tag,
                               const struct digest *digest, bool *found,
                               struct repository_manifest *out, struct error *err)
{
    struct manifest_record record;
    bool held = false;
    if (find_manifest(store, repository, tag, digest, &held, &record, err) != ERR_OK ||
        (held && blob_is_held(store, repository, &record.manifest.digest, &held, err) != ERR_OK) ||
        (held && find_manifest(store, repository, tag, digest, &held, &record, err) != ERR_OK))
        return err->code;
    if (held) {
        *out = record.manifest;
        out->put_s = record.put_s;
        out->put_number = manifest_number(&record);
    }
    *found = held;
    return ERR_OK;
}

enum errc repository_tag(struct store *store, const char *repository, const char *tag, bool *found,
                         struct repository_manifest *out, struct error *err)
{
    if (repository_name_fits(repository) && tag_fits(tag))
        return held_manifest(store, repository, tag, NULL, found, out, err);
    *found = false;
    return ERR_OK;
}

enum errc repository_manifest(struct store *store, const char *repository,
                              const struct digest *digest, bool *found,
                              struct repository_manifest *out, struct error *err)
{
    if (repository_name_fits(repository))
        return held_manifest(store, repository, NULL, digest, found, out, err);
    *found = false;
    return ERR_OK;
}

/* *found: it was there and is not any more. */
static enum errc remove_expected(struct store *store, struct change *change, bool *found,
                                 struct error *err)
{
    change->durable = true;
    if (writer_submit(store->writer, change, err) != ERR_OK)
        return err->code;
    *found = !change->superseded;
    return ERR_OK;
}

enum errc repository_remove_blob(struct store *store, const char *repository,
                                 const struct digest *digest, bool *found, struct error *err)
{
    if (!repository_name_fits(repository)) {
        *found = false;
        return ERR_OK;
    }
    struct record_key key = repository_digest_key(repository, digest);
    struct record_key holder = holder_key(digest, repository);
    struct record_value value = holder_value();
    const struct kv_slice expected = record_value_slice(&value);
    autochange struct change change;
    change_init(&change);
    change_expect(&change, KV_HOLDERS, record_key_slice(&holder), &expected);
    change_delete(&change, KV_MEMBERS, record_key_slice(&key));
    change_delete(&change, KV_HOLDERS, record_key_slice(&holder));
    return remove_expected(store, &change, found, err);
}

static enum errc read_tag(struct store *store, const char *repository, const char *tag, bool *found,
                          struct digest *digest, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return get_tag(store, &txn, repository, tag, found, digest, err);
}

enum errc repository_remove_tag(struct store *store, const char *repository, const char *tag,
                                bool *found, struct error *err)
{
    bool there = repository_name_fits(repository) && tag_fits(tag);
    bool removed = false;
    while (there && !removed) {
        struct digest digest;
        if (read_tag(store, repository, tag, &there, &digest, err) != ERR_OK)
            return err->code;
        if (!there)
            break;
        struct record_key key = tag_key(repository, tag);
        struct record_value value = tag_value(&digest);
        const struct kv_slice expected = record_value_slice(&value);
        autochange struct change change;
        change_init(&change);
        change_expect(&change, KV_TAGS, record_key_slice(&key), &expected);
        change_delete(&change, KV_TAGS, record_key_slice(&key));
        if (remove_expected(store, &change, &removed, err) != ERR_OK)
            return err->code;
    }
    *found = removed;
    return ERR_OK;
}

struct removal {
    const struct digest *manifest;
    struct change *change;
};

/* A tag that is moved away meanwhile does not hold what is expected of it; one that is put
 * meanwhile comes with a new record of the manifest. Either way the removal is prepared again. */
static enum errc delete_its_tag(void *self, struct kv_slice key, struct kv_slice value,
                                bool *enough, struct error *err)
{
    *enough = false;
    const struct removal *removal = self;
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest named;
    if (tag_decode(key, value, tag, &named, err) != ERR_OK)
        return err->code;
    if (digest_equal(&named, removal->manifest)) {
        change_expect(removal->change, KV_TAGS, key, &value);
        change_delete(removal->change, KV_TAGS, key);
    }
    return ERR_OK;
}

/* What removes the manifest as it stands now; *found false when it is not there. */
static enum errc prepare_removal(struct store *store, const char *repository,
                                 const struct digest *digest, struct change *change, bool *found,
                                 struct error *err)
{
    struct manifest_record record;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        get_manifest(store, &txn, repository, digest, found, &record, err) != ERR_OK)
        return err->code;
    if (!*found)
        return ERR_OK;
    struct record_key key = repository_digest_key(repository, digest);
    struct record_value value = manifest_value(&record);
    const struct kv_slice expected = record_value_slice(&value);
    change_expect(change, KV_MANIFESTS, record_key_slice(&key), &expected);
    change_delete(change, KV_MANIFESTS, record_key_slice(&key));
    struct record_key prefix = repository_prefix(repository);
    struct removal removal = {.manifest = digest, .change = change};
    return kv_each(&txn, KV_TAGS, record_key_slice(&prefix), delete_its_tag, &removal, err);
}

enum errc repository_remove_manifest(struct store *store, const char *repository,
                                     const struct digest *digest, bool *found, struct error *err)
{
    bool there = repository_name_fits(repository);
    bool removed = false;
    while (there && !removed) {
        autochange struct change change;
        change_init(&change);
        if (prepare_removal(store, repository, digest, &change, &there, err) != ERR_OK ||
            (there && remove_expected(store, &change, &removed, err) != ERR_OK))
            return err->code;
    }
    *found = removed;
    return ERR_OK;
}
