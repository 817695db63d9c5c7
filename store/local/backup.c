#include "store/backup.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/internal.h"
#include "store/trust_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* In the folder staging/, which is emptied at a start. */
#define DRAFT "backup"
#define EARLIER "backup-earlier"

struct backup {
    struct store *store;
    const struct cancel *cancel;
    struct backup_report *report;
    int root_fd; /* of the copy */
    int blobs_fd;
    struct blob_folders folders;
};

static enum errc make_folder(int parent_fd, const char *name, struct error *err)
{
    if (mkdirat(parent_fd, name, 0700) == 0)
        return ERR_OK;
    return fail(err, ERR_IO, errno, "make folder %s of a backup", name);
}

static enum errc open_folder(int parent_fd, const char *name, int *out, struct error *err)
{
    *out = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *out >= 0 ? ERR_OK : fail(err, ERR_IO, errno, "open folder %s of a backup", name);
}

static enum errc make_folders(struct backup *backup, struct error *err)
{
    int staging_fd = backup->store->staging_fd;
    if (file_remove_tree(staging_fd, DRAFT, err) != ERR_OK ||
        make_folder(staging_fd, DRAFT, err) != ERR_OK ||
        open_folder(staging_fd, DRAFT, &backup->root_fd, err) != ERR_OK ||
        make_folder(backup->root_fd, "meta", err) != ERR_OK ||
        make_folder(backup->root_fd, "blobs", err) != ERR_OK ||
        open_folder(backup->root_fd, "blobs", &backup->blobs_fd, err) != ERR_OK)
        return err->code;
    for (enum digest_algorithm a = DIGEST_SHA256; a <= DIGEST_SHA512; a++)
        if (make_folder(backup->blobs_fd, digest_algorithm_name(a), err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static enum errc copy_metadata(const struct backup *backup, struct error *err)
{
    autofd int fd =
        openat(backup->root_fd, "meta/data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "make the metadata of a backup");
    return kv_copy(backup->store->kv, fd, err) == ERR_OK
               ? file_sync(fd, "the metadata of a backup", err)
               : err->code;
}

/* A damaged blob may be dropped at any time: what is not there in the store is not missed here. */
static enum errc link_blob(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    struct backup *backup = self;
    struct blob_record record;
    struct digest digest;
    struct error unread = ERROR_INIT;
    char path[BLOB_PATH_MAX];
    bool added = false;
    *enough = false;
    if (blob_key_decode(key, &digest, &unread) != ERR_OK ||
        blob_decode(value, &record, &unread) != ERR_OK) {
        backup->report->missing++;
        return cancel_check(backup->cancel, err);
    }
    if (blob_file_add(backup->store->blobs_fd, blob_path(&digest, path), record.size,
                      backup->blobs_fd, &digest, &added, err) == ERR_OK) {
        blob_folders_add(&backup->folders, &digest);
        backup->report->blobs++;
        backup->report->bytes += record.size;
    } else if (!blob_file_is_there(backup->store->blobs_fd, &digest, record.size)) {
        error_clear(err);
        backup->report->missing++;
    }
    return err->code == ERR_OK ? cancel_check(backup->cancel, err) : err->code;
}

static enum errc link_named(struct backup *backup, struct kv *copy, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(copy, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_BLOBS, (struct kv_slice){NULL, 0}, link_blob, backup, err);
}

/* By the copy's own records: those of the store have changed since, and a read of them that lasts
 * as long as this makes its file grow. */
static enum errc link_blobs(struct backup *backup, struct error *err)
{
    autofree char *path = xasprintf("%s/staging/" DRAFT "/meta", backup->store->path);
    struct kv *copy = NULL;
    if (kv_open(path, 1, &copy, err) == ERR_OK)
        link_named(backup, copy, err);
    kv_close(copy);
    if (err->code == ERR_OK && unlinkat(backup->root_fd, "meta/lock.mdb", 0) != 0)
        fail(err, ERR_IO, errno, "remove the lock of the metadata of a backup");
    return err->code == ERR_OK ? blob_folders_sync(&backup->folders, backup->blobs_fd, NULL, err)
                               : err->code;
}

/* The key, and then all names are on the disk. */
static enum errc finish(const struct backup *backup, struct error *err)
{
    if (linkat(backup->store->root_fd, TRUST_KEY_NAME, backup->root_fd, TRUST_KEY_NAME, 0) != 0 &&
        errno != ENOENT)
        return fail(err, ERR_IO, errno, "link %s", TRUST_KEY_NAME);
    autofd int meta_fd = -1;
    if (open_folder(backup->root_fd, "meta", &meta_fd, err) != ERR_OK ||
        file_sync(meta_fd, "the folder of a backup's metadata", err) != ERR_OK ||
        file_sync(backup->blobs_fd, "the folder of a backup's blobs", err) != ERR_OK)
        return err->code;
    return file_sync(backup->root_fd, "the folder of a backup", err);
}

/* Where it fails the earlier one stays. */
static enum errc publish(const struct store *store, struct error *err)
{
    if (file_remove_tree(store->staging_fd, EARLIER, err) != ERR_OK)
        return err->code;
    if ((renameat(store->root_fd, BACKUP_FOLDER, store->staging_fd, EARLIER) != 0 &&
         errno != ENOENT) ||
        renameat(store->staging_fd, DRAFT, store->root_fd, BACKUP_FOLDER) != 0) {
        fail(err, ERR_IO, errno, "move a backup to %s/" BACKUP_FOLDER, store->path);
        renameat(store->staging_fd, EARLIER, store->root_fd, BACKUP_FOLDER);
        return err->code;
    }
    if (file_sync(store->root_fd, "the data folder", err) != ERR_OK)
        return err->code;
    return file_remove_tree(store->staging_fd, EARLIER, err);
}

static enum errc make(struct backup *backup, struct error *err)
{
    if (make_folders(backup, err) != ERR_OK || copy_metadata(backup, err) != ERR_OK ||
        link_blobs(backup, err) != ERR_OK || finish(backup, err) != ERR_OK)
        return err->code;
    return publish(backup->store, err);
}

enum errc store_backup(struct store *store, const struct cancel *cancel, struct backup_report *out,
                       struct error *err)
{
    struct error unremoved = ERROR_INIT;
    struct backup *backup = xcalloc(1, sizeof *backup);
    *out = (struct backup_report){.blobs = 0};
    *backup = (struct backup){
        .store = store, .cancel = cancel, .report = out, .root_fd = -1, .blobs_fd = -1};
    if (atomic_flag_test_and_set(&store->collecting)) {
        free(backup);
        return fail(err, ERR_COLLECTING, 0,
                    "a collection, or another backup, is running; try again when it is over");
    }
    if (make(backup, err) != ERR_OK) {
        store_tell(store, err);
        file_remove_tree(store->staging_fd, DRAFT, &unremoved);
    }
    file_close_at(&backup->blobs_fd);
    file_close_at(&backup->root_fd);
    free(backup);
    atomic_flag_clear(&store->collecting);
    return err->code == ERR_OK ? ERR_OK : error_wrap(err, "back up the data folder");
}
