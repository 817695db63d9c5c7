#include "store/local/blob_files.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FOLDER_PATH_MAX 16 /* "sha256/ab" */

static void folder_path(enum digest_algorithm algorithm, unsigned number,
                        char path[FOLDER_PATH_MAX])
{
    snprintf(path, FOLDER_PATH_MAX, "%s/%02x", digest_algorithm_name(algorithm), number);
}

const char *blob_path(const struct digest *digest, char path[BLOB_PATH_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    snprintf(path, BLOB_PATH_MAX, "%s/%02x/%s", digest_algorithm_name(digest->algorithm),
             digest->bytes[0], digest_hex(digest, hex));
    return path;
}

bool blob_file_is_there(int blobs_fd, const struct digest *digest, uint64_t size)
{
    char path[BLOB_PATH_MAX];
    struct stat st;
    return fstatat(blobs_fd, blob_path(digest, path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

/* 0 or an errno. */
static int make_folder(int blobs_fd, const struct digest *digest)
{
    char path[FOLDER_PATH_MAX];
    folder_path(digest->algorithm, digest->bytes[0], path);
    return mkdirat(blobs_fd, path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* 0 or an errno. The 256 folders of an algorithm are made when they are first needed. */
static int move(bool replace, int folder_fd, const char *name, int blobs_fd,
                const struct digest *digest, const char *path)
{
    for (bool made = false;; made = true) {
        int rc = replace ? renameat(folder_fd, name, blobs_fd, path)
                         : linkat(folder_fd, name, blobs_fd, path, 0);
        if (rc == 0)
            return 0;
        if (errno != ENOENT || made)
            return errno;
        rc = make_folder(blobs_fd, digest);
        if (rc != 0)
            return rc;
    }
}

enum errc blob_file_replace(int folder_fd, const char *name, int blobs_fd,
                            const struct digest *digest, struct error *err)
{
    char path[BLOB_PATH_MAX];
    int sys = move(true, folder_fd, name, blobs_fd, digest, blob_path(digest, path));
    return sys == 0 ? ERR_OK : fail(err, ERR_IO, sys, "move a blob to %s", path);
}

enum errc blob_file_add(int folder_fd, const char *name, uint64_t size, int blobs_fd,
                        const struct digest *digest, bool *added, struct error *err)
{
    char path[BLOB_PATH_MAX];
    *added = true;
    int sys = move(false, folder_fd, name, blobs_fd, digest, blob_path(digest, path));
    if (sys == 0)
        return ERR_OK;
    if (sys != EEXIST)
        return fail(err, ERR_IO, sys, "link a blob to %s", path);
    *added = !blob_file_is_there(blobs_fd, digest, size);
    if (!*added)
        return ERR_OK;
    return blob_file_replace(folder_fd, name, blobs_fd, digest, err);
}

enum errc blob_file_sync(int blobs_fd, const struct digest *digest, struct error *err)
{
    char path[BLOB_PATH_MAX];
    autofd int fd = openat(blobs_fd, blob_path(digest, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open blob %s", path);
    return file_sync(fd, path, err);
}

void blob_folders_add(struct blob_folders *folders, const struct digest *digest)
{
    folders->touched[digest->algorithm][digest->bytes[0]] = true;
}

static enum errc sync_folder(int blobs_fd, const char *path, struct error *err)
{
    autofd int fd = openat(blobs_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open folder %s", path);
    return file_sync(fd, path, err);
}

/* *above: the disk may not have the name of one of them. */
static enum errc sync_touched(const bool touched[BLOB_FOLDERS], enum digest_algorithm algorithm,
                              int blobs_fd, const struct blob_folders_kept *kept, bool *above,
                              struct error *err)
{
    for (unsigned i = 0; i < BLOB_FOLDERS; i++) {
        char path[FOLDER_PATH_MAX];
        if (!touched[i])
            continue;
        folder_path(algorithm, i, path);
        if (sync_folder(blobs_fd, path, err) != ERR_OK)
            return err->code;
        *above |= kept == NULL || !atomic_load(&kept->kept[algorithm][i]);
    }
    return ERR_OK;
}

static void learn_kept(const bool touched[BLOB_FOLDERS], atomic_bool kept[BLOB_FOLDERS])
{
    for (unsigned i = 0; i < BLOB_FOLDERS; i++)
        if (touched[i])
            atomic_store(&kept[i], true);
}

enum errc blob_folders_sync(const struct blob_folders *folders, int blobs_fd,
                            struct blob_folders_kept *kept, struct error *err)
{
    for (enum digest_algorithm a = DIGEST_SHA256; a <= DIGEST_SHA512; a++) {
        bool above = false;
        if (sync_touched(folders->touched[a], a, blobs_fd, kept, &above, err) != ERR_OK ||
            (above && sync_folder(blobs_fd, digest_algorithm_name(a), err) != ERR_OK))
            return err->code;
        if (above && kept)
            learn_kept(folders->touched[a], kept->kept[a]);
    }
    return ERR_OK;
}
