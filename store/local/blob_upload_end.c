#include "base/clock.h"
#include "base/mem.h"
#include "store/local/blob_upload_internal.h"
#include "store/local/quarantine_local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Sessions that end in one change: LMDB takes a hundred times as many in one transaction. */
#define EXPIRE_BATCH 1000

static enum errc remove_file(struct store *store, const char *id, bool *found, struct error *err)
{
    *found = unlinkat(store->uploads_fd, id, 0) == 0;
    if (!*found && errno != ENOENT)
        return fail(err, ERR_IO, errno, "remove the file of an upload");
    return ERR_OK;
}

void upload_delete_record(struct change *change, const char *id)
{
    struct record_key key = session_key(id);
    change_delete(change, KV_SESSIONS, record_key_slice(&key));
}

enum errc upload_remove(struct store *store, struct upload_slot *slot, struct error *err)
{
    bool found = false;
    autochange struct change change;
    if (remove_file(store, slot->id, &found, err) != ERR_OK) {
        upload_table_release(store->uploads, slot);
        return err->code;
    }
    change_init(&change);
    upload_delete_record(&change, slot->id);
    /* A record that stays is removed by blob_uploads_expire(). */
    enum errc rc = writer_submit(store->writer, &change, err);
    upload_table_end(store->uploads, slot);
    return rc;
}

enum errc blob_upload_cancel(struct store *store, const char *repository, const char *id,
                             struct error *err)
{
    struct upload_slot *slot = NULL;
    if (upload_table_take(store->uploads, repository, id, NULL, BLOB_UPLOAD_OVERTAKE_MS, &slot,
                          err) != ERR_OK)
        return err->code;
    return upload_remove(store, slot, err);
}

/* ---- what is on the disk ---- */

/* Records and files, of which those that have no session are kept. */
struct id_list {
    struct store *store;
    struct batch_session *items;
    size_t count;
    size_t capacity;
};

static void id_list_deinit(struct id_list *list)
{
    free(list->items);
}

#define autoids __attribute__((cleanup(id_list_deinit)))

static void add_lost(struct id_list *list, const char *id)
{
    if (upload_table_has(list->store->uploads, id))
        return;
    list->items = mem_grow(list->items, list->count, &list->capacity, sizeof *list->items);
    memcpy(list->items[list->count++].id, id, BLOB_UPLOAD_ID_SIZE + 1);
}

static enum errc decode_id(struct kv_slice key, char id[BLOB_UPLOAD_ID_SIZE + 1], struct error *err)
{
    if (key.size != BLOB_UPLOAD_ID_SIZE)
        return fail(err, ERR_STORE, 0, "a record of the table sessions is damaged");
    memcpy(id, key.data, key.size);
    id[key.size] = '\0';
    return ERR_OK;
}

static enum errc on_record(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    struct id_list *list = self;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    *enough = false;
    if (decode_id(key, id, err) != ERR_OK)
        return quarantine_skip(list->store, KV_SESSIONS, key, value, err);
    add_lost(list, id);
    return ERR_OK;
}

static enum errc each_record(struct store *store, kv_visit *visit, void *self, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_SESSIONS, (struct kv_slice){NULL, 0}, visit, self, err);
}

static bool is_id(const char *text)
{
    return strlen(text) == BLOB_UPLOAD_ID_SIZE &&
           strspn(text, "0123456789abcdef") == BLOB_UPLOAD_ID_SIZE;
}

static enum errc each_file(struct id_list *list, struct error *err)
{
    int fd = openat(list->store->uploads_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        fail(err, ERR_IO, errno, "read folder uploads");
        file_close_at(&fd);
        return err->code;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (is_id(entry->d_name))
            add_lost(list, entry->d_name);
    closedir(folder);
    return ERR_OK;
}

static enum errc load_record(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                             struct error *err)
{
    struct store *store = self;
    struct session_record record;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    *enough = false;
    if (decode_id(key, id, err) != ERR_OK || session_decode(value, &record, err) != ERR_OK)
        return quarantine_skip(store, KV_SESSIONS, key, value, err);
    upload_table_load(store->uploads, id, record.repository);
    return ERR_OK;
}

enum errc uploads_load(struct store *store, struct error *err)
{
    return each_record(store, load_record, store, err);
}

/* ---- expiry ---- */

/* At most EXPIRE_BATCH sessions that are idle. Each of them is over, whatever becomes of its
 * record. */
static enum errc expire_idle(struct store *store, int64_t since_ms, size_t *count,
                             struct error *err)
{
    autochange struct change change;
    *count = 0;
    change_init(&change);
    for (struct upload_slot *slot;
         *count < EXPIRE_BATCH &&
         (slot = upload_table_take_idle(store->uploads, since_ms)) != NULL;) {
        bool found = false;
        if (remove_file(store, slot->id, &found, err) != ERR_OK) {
            upload_table_release(store->uploads, slot);
            break;
        }
        upload_delete_record(&change, slot->id);
        upload_table_end(store->uploads, slot);
        ++*count;
    }
    if (*count == 0)
        return err->code;
    struct error unwritten = ERROR_INIT;
    if (writer_submit(store->writer, &change, &unwritten) != ERR_OK && err->code == ERR_OK)
        *err = unwritten;
    return err->code;
}

static enum errc remove_records(struct store *store, const struct id_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count;) {
        autochange struct change change;
        change_init(&change);
        for (size_t end = i + EXPIRE_BATCH; i < end && i < list->count; i++)
            upload_delete_record(&change, list->items[i].id);
        if (writer_submit(store->writer, &change, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* What a crash, or a change that failed, has left of a session that is over. */
static enum errc remove_lost(struct store *store, size_t *count, struct error *err)
{
    autoids struct id_list records = {.store = store};
    autoids struct id_list files = {.store = store};
    if (each_record(store, on_record, &records, err) != ERR_OK ||
        remove_records(store, &records, err) != ERR_OK || each_file(&files, err) != ERR_OK)
        return err->code;
    *count += records.count;
    for (size_t i = 0; i < files.count; i++) {
        bool found = false;
        if (remove_file(store, files.items[i].id, &found, err) != ERR_OK)
            return err->code;
        *count += found;
    }
    return ERR_OK;
}

enum errc blob_uploads_expire(struct store *store, int64_t since_ms, size_t *count,
                              struct error *err)
{
    size_t expired = 0;
    size_t some = EXPIRE_BATCH;
    while (some == EXPIRE_BATCH) {
        if (expire_idle(store, since_ms, &some, err) != ERR_OK)
            return err->code;
        expired += some;
    }
    if (remove_lost(store, &expired, err) != ERR_OK)
        return err->code;
    *count = expired;
    return ERR_OK;
}
