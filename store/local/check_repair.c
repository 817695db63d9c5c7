#include "store/local/check_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/proofs.h"
#include "store/local/records_repositories.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static void init_repair(struct change *change)
{
    change_init(change);
    change->durable = true;
    change->essential = true;
}

static struct kv_slice value_of(const struct judged *judged)
{
    return (struct kv_slice){judged->value, judged->size};
}

static void expect(struct change *change, const struct judged *judged)
{
    const struct kv_slice value = value_of(judged);
    if (judged->known)
        change_expect(change, judged->table, record_key_slice(&judged->key),
                      judged->value ? &value : NULL);
}

static void expect_judged(const struct check *check, struct change *change)
{
    expect(change, &check->self);
    expect(change, &check->other);
}

static enum errc submit(struct check *check, struct change *change, enum check_action done,
                        enum check_action *action, struct error *err)
{
    if (writer_submit(check->store->writer, change, err) == ERR_OK && !change->superseded)
        *action = done;
    return err->code;
}

/* With its bytes; unless it was changed meanwhile, or what it needs came. */
static enum errc move_record(struct check *check, const struct finding *finding,
                             enum check_action *action, struct error *err)
{
    const struct kv_slice key = record_key_slice(&finding->key);
    autochange struct change change;
    init_repair(&change);
    expect_judged(check, &change);
    change_delete(&change, finding->table, key);
    autoquarantined struct quarantined moved = {.store = check->store, .change = &change};
    if (quarantine_record(&moved, finding->table, key, value_of(&check->self), finding->text,
                          err) != ERR_OK)
        return err->code;
    if (quarantined_submit(&moved, err) == ERR_OK && !change.superseded)
        *action = CHECK_QUARANTINED;
    return err->code;
}

static enum errc repair_push(struct check *check, const struct finding *finding,
                             enum check_action *action, struct error *err)
{
    char id[PUSH_ID_MAX];
    bool mended = false;
    autopush_records struct push_records records = {.id = ""};
    if (!push_mend_id(finding->table, record_key_slice(&finding->key), id))
        return move_record(check, finding, action, err);
    if (push_records_read(check->store, id, &records, err) != ERR_OK ||
        push_records_mend(check->store, &records, &mended, err) != ERR_OK)
        return err->code;
    if (!mended)
        return ERR_OK;
    *action = records.verdict == PUSH_UNREADABLE ? CHECK_QUARANTINED : CHECK_MENDED;
    if (records.verdict != PUSH_UNREADABLE && check->options.mended != NULL)
        check->options.mended(check->options.self, id);
    return ERR_OK;
}

/* ---- blobs in repositories ---- */

/* Both keys that say it; the name is that of either. */
static bool membership(const struct finding *finding, char name[REPOSITORY_NAME_MAX + 1],
                       struct digest *digest)
{
    struct error err = ERROR_INIT;
    const struct kv_slice key = record_key_slice(&finding->key);
    return finding->table == KV_MEMBERS
               ? repository_digest_decode(key, name, digest, &err) == ERR_OK
               : check_holder_decode(key, name, digest, &err) == ERR_OK;
}

static enum errc repair_membership(struct check *check, const struct finding *finding,
                                   enum check_action *action, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    autochange struct change change;
    init_repair(&change);
    if (!membership(finding, name, &digest))
        return ERR_OK;
    struct record_key member = repository_digest_key(name, &digest);
    struct record_key holder = holder_key(&digest, name);
    struct record_key blob = blob_key(&digest);
    struct record_value value = member_value((uint64_t)clock_wall_s());
    const struct kv_slice added = record_value_slice(&value);
    if (finding->kind == CHECK_DANGLING) {
        change_expect(&change, KV_BLOBS, record_key_slice(&blob), NULL);
        change_delete(&change, KV_MEMBERS, record_key_slice(&member));
        change_delete(&change, KV_HOLDERS, record_key_slice(&holder));
        return submit(check, &change, CHECK_DROPPED, action, err);
    }
    /* One of them is there. */
    expect_judged(check, &change);
    change_put_new(&change, KV_MEMBERS, record_key_slice(&member), added);
    change_put_new(&change, KV_HOLDERS, record_key_slice(&holder), added);
    return submit(check, &change, CHECK_MENDED, action, err);
}

/* ---- locations ---- */

static enum errc repair_locations(struct check *check, const struct finding *finding,
                                  enum check_action *action, struct error *err)
{
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    struct digest layer;
    autochange struct change change;
    init_repair(&change);
    if (blob_key_decode(record_key_slice(&finding->key), &layer, err) != ERR_OK ||
        known_locations_decode(value_of(&check->self), list, err) != ERR_OK)
        return err->code;
    struct record_value names = associated_value(&layer);
    expect_judged(check, &change);
    for (size_t i = 0; i < list->count; i++) {
        struct record_key digest = blob_key(&list->items[i].digest);
        if (!digest_equal(&list->items[i].digest, &layer))
            change_put_new(&change, KV_ASSOCIATED, record_key_slice(&digest),
                           record_value_slice(&names));
    }
    return submit(check, &change, CHECK_MENDED, action, err);
}

static enum errc drop_record(struct check *check, const struct finding *finding,
                             enum check_action *action, struct error *err)
{
    autochange struct change change;
    init_repair(&change);
    expect_judged(check, &change);
    change_delete(&change, finding->table, record_key_slice(&finding->key));
    return submit(check, &change, CHECK_DROPPED, action, err);
}

/* ---- blobs and files ---- */

/* A file of another size than its record says: the one that is open, and not the right one that
 * somebody may put in its place meanwhile. */
static enum errc move_blob(struct check *check, const struct digest *digest,
                           enum check_action *action, struct error *err)
{
    char path[BLOB_PATH_MAX];
    struct stat st;
    struct blob_record record;
    struct error refuted = ERROR_INIT;
    bool found = false;
    autoblob struct blob blob = BLOB_INIT;
    blob.fd =
        openat(check->store->blobs_fd, blob_path(digest, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (blob.fd < 0 || fstat(blob.fd, &st) != 0 ||
        blob_find(check->store, digest, &found, &record, err) != ERR_OK || !found ||
        (S_ISREG(st.st_mode) && (uint64_t)st.st_size == record.size))
        return err->code;
    blob_refute(check->store, digest, &blob, &refuted);
    if (blob_find(check->store, digest, &found, &record, err) == ERR_OK && !found)
        *action = CHECK_QUARANTINED;
    return err->code;
}

/* Of a record without a file, or with one of another size. */
static enum errc repair_blob(struct check *check, const struct finding *finding,
                             enum check_action *action, struct error *err)
{
    struct digest digest;
    if (blob_key_decode(record_key_slice(&finding->key), &digest, err) != ERR_OK)
        return err->code;
    if (finding->kind == CHECK_CORRUPT)
        return move_blob(check, &digest, action, err);
    proofs_refute(check->store->proofs, &digest);
    return drop_record(check, finding, action, err);
}

static enum errc repair_file(struct check *check, const struct finding *finding,
                             enum check_action *action, struct error *err)
{
    const char *path = (const char *)finding->key.bytes;
    bool is_upload = finding->place == CHECK_UPLOAD_FILE;
    struct digest digest;
    if (!is_upload && check_blob_path(check, path, &digest))
        return check_hash_begin(check, &digest, true, err);
    if (quarantine_file(check->store, is_upload ? check->store->uploads_fd : check->store->blobs_fd,
                        path, "file", path, finding->text, err) == ERR_OK)
        *action = CHECK_QUARANTINED;
    return err->code;
}

enum errc check_adopt(struct check *check, const struct digest *digest, uint64_t size, bool *done,
                      struct error *err)
{
    struct store *store = check->store;
    uint64_t now_s = (uint64_t)clock_wall_s();
    const struct blob_record record = {
        .state = BLOB_DURABLE, .size = size, .created_s = now_s, .last_use_s = now_s};
    struct record_key key = blob_key(digest);
    struct record_value value = blob_value(&record);
    struct blob_folders folders = {0};
    autochange struct change change;
    init_repair(&change);
    change_expect(&change, KV_BLOBS, record_key_slice(&key), NULL);
    change_put(&change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
    change_delete(&change, KV_TOMBS, record_key_slice(&key));
    blob_folders_add(&folders, digest);
    if (blob_file_sync(store->blobs_fd, digest, err) != ERR_OK ||
        blob_folders_sync(&folders, store->blobs_fd, &store->folders_kept, err) != ERR_OK)
        return store_tell(store, err);
    if (writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    *done = !change.superseded;
    if (!*done || blob_file_is_there(store->blobs_fd, digest, size)) {
        proofs_note(store->proofs, digest);
        return ERR_OK;
    }
    /* Its file was about to be removed. */
    *done = false;
    autochange struct change undo;
    init_repair(&undo);
    change_delete_same(&undo, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
    return writer_submit(store->writer, &undo, err);
}

/* ---- which of them ---- */

static enum errc repair_disagreeing(struct check *check, const struct finding *finding,
                                    enum check_action *action, struct error *err)
{
    switch (finding->table) {
    case KV_KNOWN_LOCATIONS:
        return repair_locations(check, finding, action, err);
    case KV_ASSOCIATED:
        return drop_record(check, finding, action, err);
    case KV_MEMBERS:
    case KV_HOLDERS:
        return repair_membership(check, finding, action, err);
    default:
        return repair_push(check, finding, action, err);
    }
}

/* A manifest whose blob is not held, or a tag without its manifest. */
static enum errc repair_dangling(struct check *check, const struct finding *finding,
                                 enum check_action *action, struct error *err)
{
    if (finding->table == KV_MEMBERS || finding->table == KV_HOLDERS)
        return repair_membership(check, finding, action, err);
    if (push_mend_is_for(finding->table))
        return repair_push(check, finding, action, err);
    return move_record(check, finding, action, err);
}

enum errc check_repair(struct check *check, const struct finding *finding,
                       enum check_action *action, struct error *err)
{
    if (finding->place != CHECK_RECORD)
        return repair_file(check, finding, action, err);
    switch (finding->kind) {
    case CHECK_CORRUPT:
    case CHECK_LOST:
        return repair_blob(check, finding, action, err);
    case CHECK_UNREADABLE:
        if (finding->table == KV_META) /* without it nobody knows what the others mean */
            return ERR_OK;
        return push_mend_is_for(finding->table) ? repair_push(check, finding, action, err)
                                                : move_record(check, finding, action, err);
    case CHECK_DANGLING:
        return repair_dangling(check, finding, action, err);
    case CHECK_DISAGREES:
        return repair_disagreeing(check, finding, action, err);
    case CHECK_INCOMPLETE: /* a promise stays: its target may have what is missing here */
        return finding->table == KV_PUSHES ? ERR_OK : move_record(check, finding, action, err);
    default:
        return ERR_OK;
    }
}
