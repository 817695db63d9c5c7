#include "base/clock.h"
#include "base/mem.h"
#include "store/local/blob_upload_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool upload_id_valid(const char *id)
{
    return strlen(id) == BLOB_UPLOAD_ID_SIZE &&
           strspn(id, "0123456789abcdef") == BLOB_UPLOAD_ID_SIZE;
}

enum errc upload_fail_unknown(const char *repository, const char *id, struct error *err)
{
    return fail(err, ERR_NO_UPLOAD, 0, "there is no upload %.64s in the repository %s", id,
                repository);
}

static enum errc read_session(struct store *store, const char *id, bool *found,
                              struct session_record *out, struct error *err)
{
    struct record_key key = session_key(id);
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_SESSIONS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    return *found ? session_decode(value, out, err) : ERR_OK;
}

enum errc upload_check(struct store *store, const char *repository, const char *id,
                       struct error *err)
{
    struct session_record record;
    bool found = false;
    if (upload_id_valid(id) && read_session(store, id, &found, &record, err) != ERR_OK)
        return err->code;
    if (!found || strcmp(record.repository, repository) != 0)
        return upload_fail_unknown(repository, id, err);
    return ERR_OK;
}

/* The record is of no use from here on, whether it is removed or not. */
static enum errc remove_file(struct store *store, struct upload_slot *slot, const char *id,
                             bool *found, struct error *err)
{
    upload_slot_reset(slot);
    *found = unlinkat(store->uploads_fd, id, 0) == 0;
    if (!*found && errno != ENOENT)
        return fail(err, ERR_IO, errno, "remove the file of an upload");
    return ERR_OK;
}

static void delete_record(struct change *change, const char *id)
{
    struct record_key key = session_key(id);
    change_delete(change, KV_SESSIONS, record_key_slice(&key));
}

enum errc upload_remove(struct store *store, struct upload_slot *slot, const char *id, bool *found,
                        struct error *err)
{
    if (remove_file(store, slot, id, found, err) != ERR_OK)
        return err->code;
    autochange struct change change;
    change_init(&change);
    delete_record(&change, id);
    return writer_submit(store->writer, &change, err);
}

enum errc blob_upload_cancel(struct store *store, const char *repository, const char *id,
                             struct error *err)
{
    struct upload_slot *slot = NULL;
    bool found = false;
    if (upload_check(store, repository, id, err) != ERR_OK ||
        upload_table_take(store->uploads, id, NULL, BLOB_UPLOAD_OVERTAKE_MS, &slot, err) != ERR_OK)
        return err->code;
    enum errc rc = upload_remove(store, slot, id, &found, err);
    upload_table_release(store->uploads, slot);
    return rc == ERR_OK && !found ? upload_fail_unknown(repository, id, err) : rc;
}

struct id_list {
    struct batch_session *items;
    size_t count;
    size_t capacity;
};

static void id_list_deinit(struct id_list *list)
{
    free(list->items);
}

#define autoids __attribute__((cleanup(id_list_deinit)))

static void add_id(struct id_list *list, const char *id)
{
    list->items = mem_grow(list->items, list->count, &list->capacity, sizeof *list->items);
    memcpy(list->items[list->count++].id, id, BLOB_UPLOAD_ID_SIZE + 1);
}

static enum errc add_record(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                            struct error *err)
{
    (void)value;
    *enough = false;
    char id[BLOB_UPLOAD_ID_SIZE + 1] = "";
    if (key.size != BLOB_UPLOAD_ID_SIZE)
        return fail(err, ERR_STORE, 0, "a record of the table sessions is damaged");
    memcpy(id, key.data, key.size);
    add_id(self, id);
    return ERR_OK;
}

static enum errc list_records(struct store *store, struct id_list *list, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_SESSIONS, (struct kv_slice){NULL, 0}, add_record, list, err);
}

static enum errc list_files(struct store *store, struct id_list *list, struct error *err)
{
    int fd = openat(store->uploads_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        fail(err, ERR_IO, errno, "read folder uploads");
        file_close_at(&fd);
        return err->code;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (upload_id_valid(entry->d_name))
            add_id(list, entry->d_name);
    closedir(folder);
    return ERR_OK;
}

static bool is_idle(struct store *store, const char *id, uint64_t idle_s)
{
    struct stat st;
    if (fstatat(store->uploads_fd, id, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT;
    int64_t since_s = clock_wall_s() - (int64_t)st.st_mtim.tv_sec;
    return since_s >= 0 && (uint64_t)since_s >= idle_s;
}

/* *over: nothing can come of the session, and its file is not there any more. */
static enum errc expire_held(struct store *store, struct upload_slot *slot, const char *id,
                             uint64_t idle_s, bool *over, struct error *err)
{
    struct session_record record;
    bool recorded = false;
    bool found = false;
    if (read_session(store, id, &recorded, &record, err) != ERR_OK)
        return err->code;
    if (recorded && !is_idle(store, id, idle_s))
        return ERR_OK;
    if (remove_file(store, slot, id, &found, err) != ERR_OK)
        return err->code;
    *over = recorded || found;
    return ERR_OK;
}

static enum errc expire(struct store *store, const struct id_list *list, uint64_t idle_s,
                        struct change *change, size_t *count, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *id = list->items[i].id;
        bool over = false;
        struct upload_slot *slot = upload_table_try(store->uploads, id);
        if (slot == NULL)
            continue;
        enum errc rc = expire_held(store, slot, id, idle_s, &over, err);
        upload_table_release(store->uploads, slot);
        if (rc != ERR_OK)
            return rc;
        if (!over)
            continue;
        delete_record(change, id);
        ++*count;
    }
    return ERR_OK;
}

enum errc blob_uploads_expire(struct store *store, uint64_t idle_s, size_t *count,
                              struct error *err)
{
    autoids struct id_list records = {.items = NULL};
    autoids struct id_list files = {.items = NULL};
    size_t expired = 0;
    autochange struct change change;
    change_init(&change);
    if (list_records(store, &records, err) != ERR_OK ||
        expire(store, &records, idle_s, &change, &expired, err) != ERR_OK ||
        list_files(store, &files, err) != ERR_OK ||
        expire(store, &files, idle_s, &change, &expired, err) != ERR_OK)
        return err->code;
    if (change.first != NULL && writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    *count = expired;
    return ERR_OK;
}
