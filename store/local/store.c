#include "store/store_local.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/health.h"
#include "store/local/blob_upload_internal.h"
#include "store/local/collect_internal.h"
#include "store/local/internal.h"
#include "store/local/leases.h"
#include "store/local/meta.h"
#include "store/local/proofs.h"
#include "store/local/quarantine_local.h"
#include "store/local/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAP_SIZE_DEFAULT ((uint64_t)32 << 30)
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

/* A folder that is made is on the disk before anything in it can be. */
static enum errc make_folder(int parent_fd, const char *name, struct error *err)
{
    if (mkdirat(parent_fd, name, 0700) == 0)
        return file_sync(parent_fd, "the data folder", err);
    return errno == EEXIST ? ERR_OK : fail(err, ERR_IO, errno, "make folder %s", name);
}

static enum errc open_folder(int parent_fd, const char *name, int *out, struct error *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open folder %s", name);
    *out = fd;
    return ERR_OK;
}

static enum errc fail_locked(const struct store *store, struct error *err)
{
    char pid[24] = "";
    size_t got = 0;
    struct error unread = ERROR_INIT;
    file_read_at(store->lock_fd, pid, sizeof pid - 1, 0, &got, &unread);
    pid[got] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return fail(err, ERR_STORE_LOCKED, 0,
                "the data folder %s is in use by process %s; if that is a gateway, push through it "
                "(--gateway), or give another folder (--data)",
                store->path, pid[0] ? pid : "(not known)");
}

static enum errc take_lock(const struct store *store, int fd, struct error *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    if (errno == EWOULDBLOCK)
        return fail_locked(store, err);
    return fail(err, ERR_IO, errno, "lock the data folder %s", store->path);
}

/* The lock is the folder's own, which nobody can delete from under us and make anew; the file says
 * whose it is, and is locked for the sake of versions that know no other lock. */
static enum errc lock(struct store *store, struct error *err)
{
    store->lock_fd = openat(store->root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return fail(err, ERR_IO, errno, "open %s/lock", store->path);
    if (take_lock(store, store->root_fd, err) != ERR_OK ||
        take_lock(store, store->lock_fd, err) != ERR_OK)
        return err->code;
    if (ftruncate(store->lock_fd, 0) != 0 || dprintf(store->lock_fd, "%ld\n", (long)getpid()) < 0)
        return fail(err, ERR_IO, errno, "write %s/lock", store->path);
    return ERR_OK;
}

static enum errc empty_staging(struct store *store, struct error *err)
{
    if (file_remove_tree(store->root_fd, "staging", err) != ERR_OK)
        return err->code;
    if (mkdirat(store->root_fd, "staging", 0700) != 0)
        return fail(err, ERR_IO, errno, "make folder %s/staging", store->path);
    return open_folder(store->root_fd, "staging", &store->staging_fd, err);
}

static enum errc open_folders(struct store *store, struct error *err)
{
    if (file_make_folders(store->path, 0700, err) != ERR_OK)
        return err->code;
    store->root_fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->root_fd < 0)
        return fail(err, ERR_IO, errno, "open folder %s", store->path);
    if (lock(store, err) != ERR_OK || empty_staging(store, err) != ERR_OK ||
        make_folder(store->root_fd, "meta", err) != ERR_OK ||
        make_folder(store->root_fd, "uploads", err) != ERR_OK ||
        open_folder(store->root_fd, "uploads", &store->uploads_fd, err) != ERR_OK ||
        make_folder(store->root_fd, "blobs", err) != ERR_OK ||
        open_folder(store->root_fd, "blobs", &store->blobs_fd, err) != ERR_OK)
        return err->code;
    for (enum digest_algorithm a = DIGEST_SHA256; a <= DIGEST_SHA512; a++)
        if (make_folder(store->blobs_fd, digest_algorithm_name(a), err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* Is there a file in a folder of the blobs' folder `fd`? The names are blobs/ALG/AB/HEX. */
static bool any_blob_below(int fd, unsigned depth)
{
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    bool any = false;
    if (folder == NULL) {
        file_close_at(&fd);
        return false;
    }
    for (const struct dirent *entry; !any && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            any = depth == 0 ||
                  any_blob_below(openat(dirfd(folder), entry->d_name,
                                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                                 depth - 1);
    closedir(folder);
    return any;
}

/* Without its metadata nobody knows of the blobs, and a new start would sweep them away. */
static enum errc check_metadata_is_there(const struct store *store, struct error *err)
{
    struct stat st;
    if (fstatat(store->root_fd, "meta/data.mdb", &st, 0) == 0 && st.st_size > 0)
        return ERR_OK;
    int fd = openat(store->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!any_blob_below(fd, 2))
        return ERR_OK;
    return fail(err, ERR_STORE, 0,
                "the data folder %s has blobs, but no metadata: %s/meta/data.mdb is missing or "
                "empty; put it back from a copy, or begin anew with an empty store by moving "
                "%s/blobs away",
                store->path, store->path, store->path);
}

static enum errc open_metadata(struct store *store, uint64_t map_size_bytes, struct error *err)
{
    if (check_metadata_is_there(store, err) != ERR_OK)
        return err->code;
    autofree char *path = xasprintf("%s/meta", store->path);
    if (map_size_bytes == 0)
        map_size_bytes = MAP_SIZE_DEFAULT;
    if (kv_open(path, map_size_bytes, &store->kv, err) != ERR_OK)
        return err->code;
    store_keep_ahead(store);
    if (writer_start(store->kv, &store->fault, &store->writer, err) != ERR_OK ||
        store_check_schema(store, err) != ERR_OK || store_recover(store, err) != ERR_OK ||
        leases_open(store, err) != ERR_OK || store_meet_id(store, err) != ERR_OK)
        return err->code;
    return store_meet_pushes(store, err);
}

static void store_free(struct store *store)
{
    writer_stop(store->writer);
    kv_close(store->kv);
    fault_deinit(&store->fault);
    proofs_free(store->proofs);
    leases_free(store->leases);
    quarantine_close(store);
    upload_table_free(store->uploads);
    file_close_at(&store->uploads_fd);
    file_close_at(&store->staging_fd);
    file_close_at(&store->blobs_fd);
    file_close_at(&store->lock_fd);
    /* The lock goes last: nothing of the folder is in use when another process gets it. */
    file_close_at(&store->root_fd);
    free(store->path);
    free(store);
}

enum errc store_open_in_boot(const char *path, const struct store_options *options,
                             const char *boot_id, struct store **out, struct error *err)
{
    struct store *store = xcalloc(1, sizeof *store);
    store->path = xstrdup(path);
    store->root_fd = store->lock_fd = store->blobs_fd = store->staging_fd = store->uploads_fd = -1;
    store->uploads = upload_table_new(&options->uploads);
    store->proofs = proofs_new();
    store->leases = leases_new();
    store->has_leases = options->has_leases;
    atomic_flag_clear(&store->collecting);
    fault_init(&store->fault);
    store->keep_free_bytes = options->keep_free_bytes;
    store->leave_volatile = options->leave_volatile;
    snprintf(store->boot_id, sizeof store->boot_id, "%s", boot_id);
    if (open_folders(store, err) != ERR_OK || quarantine_open(store, err) != ERR_OK ||
        open_metadata(store, options->map_size_bytes, err) != ERR_OK ||
        uploads_load(store, err) != ERR_OK || quarantine_unreadable(store, NULL, err) != ERR_OK) {
        store_free(store);
        return err->code;
    }
    *out = store;
    return ERR_OK;
}

enum errc store_open_local(const char *path, const struct store_options *options,
                           struct store **out, struct error *err)
{
    autofree char *boot_id = NULL;
    size_t size = 0;
    struct error unread = ERROR_INIT;
    if (file_read_all(BOOT_ID_PATH, BOOT_ID_MAX - 1, &boot_id, &size, &unread) != ERR_OK) {
        log_warn("%s; after a crash, blobs that were not durable are dropped", unread.text);
        boot_id = xstrdup("");
    }
    boot_id[strcspn(boot_id, "\n")] = '\0';
    return store_open_in_boot(path, options, boot_id, out, err);
}

const char *store_id(const struct store *store)
{
    return store->id;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    struct error err = ERROR_INIT;
    /* What is in doubt stays so. */
    if (store_health(store, NULL) != STORE_BROKEN && leases_close(store, &err) != ERR_OK)
        log_warn("close the data folder %s: %s", store->path, err.text);
    error_clear(&err);
    if (store_health(store, NULL) != STORE_BROKEN && store_settle(store, &err) != ERR_OK)
        log_warn("close the data folder %s: %s", store->path, err.text);
    store_free(store);
}
