#include "store/local/quarantine_local.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/push_mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER "quarantine"
#define DESCRIPTION ".json"
#define DESCRIPTION_LIMIT_BYTES ((size_t)16 << 10)
#define FILE_NAME_MAX (QUARANTINE_ID_MAX + sizeof DESCRIPTION)

/* What readers could not read and is not moved yet. */
#define SUSPECTS_MAX 64

struct suspect {
    enum kv_table table;
    struct record_key key;
    uint8_t *value; /* owned */
    size_t size;
    char reason[ERROR_TEXT_MAX];
};

struct quarantine {
    pthread_mutex_t lock;
    struct suspect *suspects[SUSPECTS_MAX];
    size_t suspect_count;
    _Atomic uint64_t count;
    _Atomic uint64_t last; /* number of the last item */
};

/* ---- the folder ---- */

/* ERR_OK and -1: there is none yet. */
static enum errc open_folder(const struct store *store, int *out, struct error *err)
{
    *out = openat(store->root_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*out < 0 && errno != ENOENT)
        return fail(err, ERR_IO, errno, "open folder " FOLDER);
    return ERR_OK;
}

static enum errc need_folder(const struct store *store, int *out, struct error *err)
{
    if (mkdirat(store->root_fd, FOLDER, 0700) == 0) {
        if (file_sync(store->root_fd, "the data folder", err) != ERR_OK)
            return err->code;
    } else if (errno != EEXIST) {
        return fail(err, ERR_IO, errno, "make folder " FOLDER);
    }
    return open_folder(store, out, err);
}

/* The id of the item that the file describes; false for any other file. */
static bool described_id(const char *name, char id[QUARANTINE_ID_MAX])
{
    size_t size = strspn(name, "0123456789abcdef");
    if (size == 0 || size >= QUARANTINE_ID_MAX || strcmp(name + size, DESCRIPTION) != 0)
        return false;
    memcpy(id, name, size);
    id[size] = '\0';
    return true;
}

struct id_list {
    char (*ids)[QUARANTINE_ID_MAX];
    size_t count;
    size_t capacity;
};

static void id_list_deinit(struct id_list *list)
{
    free(list->ids);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All ids that there are, sorted. */
static enum errc read_ids(const struct store *store, struct id_list *list, struct error *err)
{
    int fd = -1;
    char id[QUARANTINE_ID_MAX];
    if (open_folder(store, &fd, err) != ERR_OK || fd < 0)
        return err->code;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        fail(err, ERR_IO, errno, "read folder " FOLDER);
        file_close_at(&fd);
        return err->code;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (described_id(entry->d_name, id)) {
            list->ids = mem_grow(list->ids, list->count, &list->capacity, sizeof *list->ids);
            memcpy(list->ids[list->count++], id, sizeof id);
        }
    closedir(folder);
    if (list->count > 0)
        qsort(list->ids, list->count, sizeof *list->ids, by_text);
    return ERR_OK;
}

enum errc quarantine_open(struct store *store, struct error *err)
{
    __attribute__((cleanup(id_list_deinit))) struct id_list list = {NULL, 0, 0};
    struct quarantine *quarantine = xcalloc(1, sizeof *quarantine);
    pthread_mutex_init(&quarantine->lock, NULL);
    store->quarantine = quarantine;
    if (read_ids(store, &list, err) != ERR_OK)
        return err->code;
    atomic_store(&quarantine->count, list.count);
    if (list.count > 0)
        atomic_store(&quarantine->last, strtoull(list.ids[list.count - 1], NULL, 16));
    return ERR_OK;
}

static void free_suspect(struct suspect *suspect)
{
    free(suspect->value);
    free(suspect);
}

void quarantine_close(struct store *store)
{
    struct quarantine *quarantine = store->quarantine;
    if (quarantine == NULL)
        return;
    for (size_t i = 0; i < quarantine->suspect_count; i++)
        free_suspect(quarantine->suspects[i]);
    pthread_mutex_destroy(&quarantine->lock);
    free(quarantine);
    store->quarantine = NULL;
}

uint64_t quarantine_count(struct store *store)
{
    return atomic_load(&store->quarantine->count);
}

/* ---- going in ---- */

static enum errc write_file(int folder_fd, const char *name, const void *data, size_t size,
                            struct error *err)
{
    autofd int fd =
        openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "create %s in the quarantine", name);
    if (file_write_all(fd, data, size, err) != ERR_OK)
        return error_wrap(err, "write to the quarantine");
    return file_sync(fd, "a file of the quarantine", err);
}

static char *describe(const struct quarantine_item *item, const struct kv_slice *key)
{
    char hex[2 * KV_KEY_MAX + 1] = "";
    json_t *object = json_object();
    json_put_text(object, "what", item->what);
    json_put_text(object, "table", item->table);
    json_put_text(object, "name", item->name);
    for (size_t i = 0; key && i < key->size; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const uint8_t *)key->data)[i]);
    json_put_text(object, "key", hex);
    json_put_text(object, "reason", item->reason);
    json_put_number(object, "at", (uint64_t)clock_wall_s());
    return json_compact_take(object);
}

static void give_id(struct store *store, struct quarantine_item *item)
{
    snprintf(item->id, sizeof item->id, "%0*" PRIx64, CHANGE_NUMBER_HEX,
             change_next_number(&store->quarantine->last));
}

static const char *description_name(const char *id, char name[FILE_NAME_MAX])
{
    snprintf(name, FILE_NAME_MAX, "%s" DESCRIPTION, id);
    return name;
}

static enum errc write_description(int folder_fd, const struct quarantine_item *item,
                                   const struct kv_slice *key, struct error *err)
{
    char name[FILE_NAME_MAX];
    autofree char *text = describe(item, key);
    return write_file(folder_fd, description_name(item->id, name), text, strlen(text), err);
}

/* Of what stays where it is. */
static void remove_description(int folder_fd, const char *id)
{
    char name[FILE_NAME_MAX];
    unlinkat(folder_fd, description_name(id, name), 0);
}

static void tell_item(struct store *store, const struct quarantine_item *item)
{
    atomic_fetch_add(&store->quarantine->count, 1);
    log_event(LOG_ERROR, "store.quarantined",
              LOG_FIELDS(log_text("id", item->id), log_text("what", item->what),
                         log_text("table", item->table), log_text("name", item->name),
                         log_text("reason", item->reason)),
              "something wrong in the data folder was moved to its folder quarantine; look at it, "
              "and remove its files there when it is not needed any more");
}

static void remove_items(const struct quarantined *moved)
{
    struct error err = ERROR_INIT;
    autofd int folder_fd = -1;
    if (moved->count == 0 || open_folder(moved->store, &folder_fd, &err) != ERR_OK || folder_fd < 0)
        return;
    for (size_t i = 0; i < moved->count; i++) {
        remove_description(folder_fd, moved->items[i].id);
        unlinkat(folder_fd, moved->items[i].id, 0);
    }
}

enum errc quarantine_record(struct quarantined *moved, enum kv_table table, struct kv_slice key,
                            struct kv_slice value, const char *reason, struct error *err)
{
    struct store *store = moved->store;
    autofd int folder_fd = -1;
    moved->items = mem_grow(moved->items, moved->count, &moved->capacity, sizeof *moved->items);
    struct quarantine_item *item = &moved->items[moved->count++];
    *item = (struct quarantine_item){.what = "record"};
    snprintf(item->table, sizeof item->table, "%s", kv_table_name(table));
    snprintf(item->reason, sizeof item->reason, "%s", reason);
    record_name(table, key, item->name);
    give_id(store, item);
    if (need_folder(store, &folder_fd, err) == ERR_OK &&
        write_file(folder_fd, item->id, value.data, value.size, err) == ERR_OK &&
        write_description(folder_fd, item, &key, err) == ERR_OK &&
        file_sync(folder_fd, "the folder " FOLDER, err) == ERR_OK)
        return ERR_OK;
    return store_tell(store, err);
}

enum errc quarantined_submit(struct quarantined *moved, struct error *err)
{
    bool made = writer_submit(moved->store->writer, moved->change, err) == ERR_OK;
    /* After a sync that failed nobody knows whether the records are gone. */
    moved->stay = made ? !moved->change->superseded : err->code == ERR_SYNC;
    for (size_t i = 0; moved->stay && i < moved->count; i++)
        tell_item(moved->store, &moved->items[i]);
    return err->code;
}

void quarantined_deinit(struct quarantined *moved)
{
    if (!moved->stay)
        remove_items(moved);
    free(moved->items);
}

enum errc quarantine_file(struct store *store, int folder_fd, const char *path, const char *what,
                          const char *name, const char *reason, struct error *err)
{
    struct quarantine_item item = {.id = ""};
    autofd int quarantine_fd = -1;
    struct stat st;
    if (fstatat(folder_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_OK : fail(err, ERR_IO, errno, "look at %s", name);
    snprintf(item.what, sizeof item.what, "%s", what);
    snprintf(item.name, sizeof item.name, "%s", name);
    snprintf(item.reason, sizeof item.reason, "%s", reason);
    if (need_folder(store, &quarantine_fd, err) != ERR_OK)
        return store_tell(store, err);
    give_id(store, &item);
    if (write_description(quarantine_fd, &item, NULL, err) == ERR_OK &&
        renameat2(folder_fd, path, quarantine_fd, item.id, RENAME_NOREPLACE) == 0) {
        tell_item(store, &item);
        file_sync(quarantine_fd, "the folder " FOLDER, err);
    } else {
        int sys = err->code == ERR_OK ? errno : 0; /* of the rename */
        remove_description(quarantine_fd, item.id);
        if (sys != 0 && sys != ENOENT)
            fail(err, ERR_IO, sys, "move %s to the quarantine", name);
    }
    return store_tell(store, err);
}

/* ---- what readers could not read ---- */

static bool is_met(const struct quarantine *quarantine, enum kv_table table, struct kv_slice key)
{
    for (size_t i = 0; i < quarantine->suspect_count; i++) {
        const struct suspect *met = quarantine->suspects[i];
        if (met->table == table && met->key.size == key.size &&
            memcmp(met->key.bytes, key.data, key.size) == 0)
            return true;
    }
    return false;
}

enum errc quarantine_note(struct store *store, enum kv_table table, struct kv_slice key,
                          struct kv_slice value, const struct error *err)
{
    struct quarantine *quarantine = store->quarantine;
    struct suspect *suspect = xcalloc(1, sizeof *suspect);
    suspect->table = table;
    suspect->key.size = key.size;
    memcpy(suspect->key.bytes, key.data, key.size);
    suspect->value = xmalloc(value.size + 1);
    memcpy(suspect->value, value.data, value.size);
    suspect->size = value.size;
    snprintf(suspect->reason, sizeof suspect->reason, "%s", err->text);
    pthread_mutex_lock(&quarantine->lock);
    if (quarantine->suspect_count < SUSPECTS_MAX && !is_met(quarantine, table, key)) {
        quarantine->suspects[quarantine->suspect_count++] = suspect;
        suspect = NULL;
    }
    pthread_mutex_unlock(&quarantine->lock);
    if (suspect != NULL)
        free_suspect(suspect);
    return err->code;
}

enum errc quarantine_skip(struct store *store, enum kv_table table, struct kv_slice key,
                          struct kv_slice value, struct error *err)
{
    quarantine_note(store, table, key, value, err);
    error_clear(err);
    return ERR_OK;
}

static struct suspect *take_suspect(struct quarantine *quarantine)
{
    autolock pthread_mutex_t *held = lock_take(&quarantine->lock);
    return quarantine->suspect_count > 0 ? quarantine->suspects[--quarantine->suspect_count] : NULL;
}

/* Whoever has put another record there meanwhile keeps it. */
static enum errc move_record(struct store *store, const struct suspect *suspect, struct error *err)
{
    const struct kv_slice key = record_key_slice(&suspect->key);
    const struct kv_slice value = {suspect->value, suspect->size};
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    change_expect(&change, suspect->table, key, &value);
    change_delete(&change, suspect->table, key);
    autoquarantined struct quarantined moved = {.store = store, .change = &change};
    if (quarantine_record(&moved, suspect->table, key, value, suspect->reason, err) != ERR_OK)
        return err->code;
    return quarantined_submit(&moved, err);
}

enum errc quarantine_unreadable(struct store *store, size_t *moved, struct error *err)
{
    struct suspect *suspect;
    size_t count = 0;
    while (err->code == ERR_OK && (suspect = take_suspect(store->quarantine)) != NULL) {
        if (push_mend_is_for(suspect->table))
            push_mend_record(store, suspect->table, record_key_slice(&suspect->key), err);
        else
            move_record(store, suspect, err);
        count += err->code == ERR_OK;
        free_suspect(suspect);
    }
    if (moved != NULL)
        *moved = count;
    return err->code;
}

/* ---- lists ---- */

static void take_text(const json_t *object, const char *key, char *out, size_t room)
{
    const char *text = json_text(object, key);
    snprintf(out, room, "%s", text ? text : "");
}

enum errc quarantine_item_parse(const void *data, size_t size, struct quarantine_item *out,
                                struct error *err)
{
    autojson json_t *object = NULL;
    if (json_parse(data, size, DESCRIPTION_LIMIT_BYTES, "a description in the quarantine", &object,
                   err) != ERR_OK)
        return err->code = ERR_STORE;
    if (!json_is_object(object))
        return fail(err, ERR_STORE, 0, "a description in the quarantine is no object");
    json_int_t at = json_integer_value(json_object_get(object, "at"));
    take_text(object, "what", out->what, sizeof out->what);
    take_text(object, "table", out->table, sizeof out->table);
    take_text(object, "name", out->name, sizeof out->name);
    take_text(object, "reason", out->reason, sizeof out->reason);
    out->at_s = at > 0 ? (uint64_t)at : 0;
    return ERR_OK;
}

static enum errc read_description(int folder_fd, const char *id, struct quarantine_item *item,
                                  struct error *err)
{
    char name[FILE_NAME_MAX];
    size_t size = 0;
    autofree char *data = xmalloc(DESCRIPTION_LIMIT_BYTES + 1);
    autofd int fd =
        openat(folder_fd, description_name(id, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open %s in the quarantine", name);
    if (file_read_at(fd, data, DESCRIPTION_LIMIT_BYTES + 1, 0, &size, err) != ERR_OK)
        return err->code;
    return quarantine_item_parse(data, size, item, err);
}

static void read_item(int folder_fd, const char *id, struct quarantine_item *out)
{
    struct error unread = ERROR_INIT;
    struct stat st;
    *out = (struct quarantine_item){.id = ""};
    memcpy(out->id, id, sizeof out->id);
    if (read_description(folder_fd, id, out, &unread) != ERR_OK)
        snprintf(out->reason, sizeof out->reason, "%s", unread.text);
    if (fstatat(folder_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0)
        out->size = (uint64_t)st.st_size;
}

enum errc quarantine_list(struct store *store, const char *after, struct quarantine_item *out,
                          size_t most, size_t *count, bool *more, struct error *err)
{
    __attribute__((cleanup(id_list_deinit))) struct id_list list = {NULL, 0, 0};
    autofd int fd = -1;
    size_t at = 0;
    if (read_ids(store, &list, err) != ERR_OK || open_folder(store, &fd, err) != ERR_OK)
        return err->code;
    atomic_store(&store->quarantine->count, list.count);
    while (at < list.count && strcmp(list.ids[at], after) <= 0)
        at++;
    for (*count = 0; at < list.count && *count < most; at++)
        read_item(fd, list.ids[at], &out[(*count)++]);
    *more = at < list.count;
    return ERR_OK;
}
