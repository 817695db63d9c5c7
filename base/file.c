#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SOURCE_PIECE ((size_t)256 * 1024)
#define SOURCE_PIECE_FIRST ((size_t)4 * 1024) /* a header, and what a small file has */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum errc file_make_folders(const char *path, mode_t mode, struct error *err)
{
    if (path[0] == '\0')
        return fail(err, ERR_IO, ENOENT, "make a folder without a name");
    autofree char *partial = xstrdup(path);
    for (char *slash = partial + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char kept = *slash;
        *slash = '\0';
        if (mkdir(partial, mode) != 0) {
            int why = errno;
            if (why != EEXIST || !is_folder(partial))
                return fail(err, ERR_IO, why, "make folder %s", partial);
        }
        *slash = kept;
        if (kept == '\0')
            return ERR_OK;
    }
}

enum errc file_write_all(int fd, const void *data, size_t size, struct error *err)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        /* EFBIG: the file system's limit, or the process's (RLIMIT_FSIZE). */
        if (n < 0)
            return fail(err, errno == EFBIG ? ERR_NO_SPACE : ERR_IO, errno, "write");
        at += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

enum errc file_read_at(int fd, void *data, size_t size, uint64_t offset, size_t *got,
                       struct error *err)
{
    size_t have = 0;
    while (have < size) {
        ssize_t n = pread(fd, (uint8_t *)data + have, size - have, (off_t)(offset + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, ERR_IO, errno, "read");
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *got = have;
    return ERR_OK;
}

enum errc file_read_all(const char *path, size_t limit_bytes, char **data, size_t *size,
                        struct error *err)
{
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open %s", path);
    size_t capacity = 4096;
    size_t have = 0;
    autofree char *bytes = xmalloc(capacity + 1);
    for (;;) {
        ssize_t n = read(fd, bytes + have, capacity - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, ERR_IO, errno, "read %s", path);
        if (n == 0)
            break;
        have += (size_t)n;
        if (have > limit_bytes)
            return fail(err, ERR_IO, EFBIG, "read %s (limit %zu bytes)", path, limit_bytes);
        if (have == capacity) {
            capacity *= 2;
            bytes = xrealloc(bytes, capacity + 1, 1);
        }
    }
    bytes[have] = '\0';
    *size = have;
    *data = mem_take(&bytes);
    return ERR_OK;
}

enum errc file_sync(int fd, const char *what, struct error *err)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return ERR_OK;
    bool full = errno == ENOSPC || errno == EDQUOT;
    return fail(err, full ? ERR_IO : ERR_SYNC, errno, "sync %s to the disk", what);
}

bool file_free_bytes(int fd, uint64_t *out)
{
    struct statvfs room;
    if (fstatvfs(fd, &room) != 0 || room.f_blocks == 0)
        return false;
    *out = (uint64_t)room.f_bavail * room.f_frsize;
    return true;
}

enum errc file_add_room(int fd, const char *place, struct error *err)
{
    uint64_t free_bytes = 0;
    if (!file_free_bytes(fd, &free_bytes))
        return err->code;
    return error_wrap(
        err, "the file system of %s has %" PRIu64 " KiB free, which is too little: make room there",
        place, free_bytes >> 10);
}

enum errc file_remove_tree(int folder_fd, const char *name, struct error *err)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : fail(err, ERR_IO, errno, "open folder %s", name);
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        close(fd);
        return fail(err, ERR_IO, errno, "read folder %s", name);
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno == EISDIR || errno == EPERM)
            file_remove_tree(fd, entry->d_name, err);
        else
            fail(err, ERR_IO, errno, "remove %s", entry->d_name);
    }
    closedir(folder);
    if (err->code == ERR_OK && unlinkat(folder_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        fail(err, ERR_IO, errno, "remove folder %s", name);
    return err->code;
}

void file_source_init(struct file_source *reader, int fd, const char *name)
{
    struct stat info;
    *reader = (struct file_source){
        .fd = fd, .name = name, .memory = xmalloc(SOURCE_PIECE), .piece = SOURCE_PIECE_FIRST};
    /* Files of /proc have bytes, but no size. */
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0)
        return;
    reader->beginning = lseek(fd, 0, SEEK_CUR);
    reader->sought = reader->beginning >= 0;
}

void file_source_deinit(struct file_source *reader)
{
    free(reader->memory);
    reader->memory = NULL;
}

static enum errc file_source_pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct file_source *reader = self;
    ssize_t n;
    do
        n = read(reader->fd, reader->memory, reader->piece);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail(err, ERR_IO, errno, "read %s", reader->name);
    *data = reader->memory;
    *size = (size_t)n;
    if (reader->piece < SOURCE_PIECE)
        reader->piece *= 2;
    return ERR_OK;
}

static enum errc move_to(struct file_source *reader, off_t place, struct error *err)
{
    if (lseek(reader->fd, place, SEEK_SET) < 0)
        return fail(err, ERR_IO, errno, "seek in %s", reader->name);
    reader->piece = SOURCE_PIECE_FIRST;
    return ERR_OK;
}

static enum errc file_source_skip(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    struct file_source *reader = self;
    struct stat info;
    off_t place = lseek(reader->fd, 0, SEEK_CUR);
    if (place < 0 || fstat(reader->fd, &info) != 0)
        return fail(err, ERR_IO, errno, "look at %s", reader->name);
    uint64_t left = info.st_size > place ? (uint64_t)(info.st_size - place) : 0;
    uint64_t n = count < left ? count : left;
    if (move_to(reader, place + (off_t)n, err) != ERR_OK)
        return err->code;
    *skipped = n;
    return ERR_OK;
}

static enum errc file_source_rewind(void *self, struct error *err)
{
    struct file_source *reader = self;
    return move_to(reader, reader->beginning, err);
}

struct source file_source(struct file_source *reader)
{
    return (struct source){.pull = file_source_pull,
                           .self = reader,
                           .pass_over = reader->sought ? file_source_skip : NULL,
                           .rewind = reader->sought ? file_source_rewind : NULL};
}
