#include "image/layout_source.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "image/archive_guess.h"
#include "image/catalog.h"
#include "image/oci_layout.h"
#include "image/tar_header.h"
#include "image/tar_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE ((size_t)256 * 1024)
#define PIECE_FIRST ((size_t)4 * 1024)
#define OUT_LIMIT_BYTES (PIECE + ((size_t)64 * 1024))

struct layout_file {
    char *name;
    uint64_t size;
};

struct layout_source {
    int folder;
    struct layout_file *files;
    size_t count;
    size_t capacity;
    struct buf out;
    size_t out_used;
    size_t current; /* the file that is being sent */
    int fd;         /* of it; -1 before its header */
    uint64_t left;  /* bytes of it that are still to come */
    size_t want;    /* bytes to read next: few of a file that may be passed over */
    bool closed;    /* the end of the archive was written */
    uint8_t piece[PIECE];
};

/* ---- links ---- */

static int open_beneath(int folder, const char *name)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH};
    return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
}

/* For kernels before 5.6, and containers that do not let openat2() through. */
static int open_compared(int folder, const char *name)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    autofree char *path = xasprintf("%s/%s", link, name);
    autofree char *root = realpath(link, NULL);
    autofree char *real = realpath(path, NULL);
    if (root == NULL || real == NULL)
        return -1;
    size_t size = strlen(root);
    if (strncmp(real, root, size) != 0 || (real[size] != '/' && size > 1)) {
        errno = EXDEV;
        return -1;
    }
    return open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

/* The name says which bytes these have to be, or what they are. */
static bool may_be_outside(const char *name)
{
    return strchr(name, '/') == NULL || layout_blob_digest(name).algorithm != DIGEST_NONE;
}

static int open_file(int folder, const char *name)
{
    if (may_be_outside(name))
        return openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int fd = open_beneath(folder, name);
    return fd < 0 && (errno == ENOSYS || errno == EPERM) ? open_compared(folder, name) : fd;
}

static enum errc cannot_open(const struct layout_source *layout, const char *name, int why,
                             struct error *err)
{
    char target[PATH_MAX] = "";
    if (readlinkat(layout->folder, name, target, sizeof target - 1) < 0)
        return fail(err, ERR_IO, why, "open %s of the layout", name);
    return fail(err, ERR_LINK_INVALID, 0, "%s of the layout is a link to %.300s, which %s", name,
                target,
                why == EXDEV    ? "is outside of the folder: copy the file into the layout"
                : why == ENOENT ? "is not there: make the layout whole"
                : why == 0      ? "is no file"
                                : strerror(why));
}

/* ---- what there is ---- */

static enum errc no_layout(const struct layout_source *layout, struct error *err)
{
    struct archive_guess guess = {.tables = false};
    int fd = openat(layout->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        archive_guess_see(&guess, entry->d_name);
    if (folder)
        closedir(folder);
    if (faccessat(layout->folder, "manifest.json", F_OK, 0) == 0)
        return fail(err, ERR_NOT_AN_IMAGE, 0,
                    "the folder is no OCI layout: it has a manifest.json but no index.json; what "
                    "skopeo calls dir: becomes an archive with skopeo copy dir:FOLDER "
                    "oci-archive:FILE");
    if (archive_guess_file_system(&guess))
        return fail(err, ERR_NOT_AN_IMAGE, 0,
                    "the folder is a file system, not an OCI layout: it has no index.json");
    return fail(err, ERR_NOT_AN_IMAGE, 0, "the folder is no OCI layout: it has no index.json");
}

static enum errc add_file(struct layout_source *layout, const char *name, bool required,
                          struct error *err)
{
    struct stat info;
    if (fstatat(layout->folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            return fail(err, ERR_IO, errno, "look at %s of the layout", name);
        return required ? no_layout(layout, err) : ERR_OK;
    }
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return ERR_OK;
    int fd = open_file(layout->folder, name);
    int why = fd < 0 ? errno : 0;
    bool file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    if (fd >= 0)
        close(fd);
    if (!file)
        return cannot_open(layout, name, why, err);
    if (layout->count == CATALOG_ENTRIES_MAX)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0, "the layout has more than %d files",
                    CATALOG_ENTRIES_MAX);
    layout->files =
        mem_grow(layout->files, layout->count, &layout->capacity, sizeof *layout->files);
    layout->files[layout->count++] =
        (struct layout_file){.name = xstrdup(name), .size = (uint64_t)info.st_size};
    return ERR_OK;
}

static enum errc add_folder(struct layout_source *layout, const char *name, int depth,
                            struct error *err)
{
    int fd = openat(layout->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return why == ENOENT || why == ENOTDIR
                   ? ERR_OK
                   : fail(err, ERR_IO, why, "read folder %s of the layout", name);
    }
    enum errc rc = ERR_OK;
    for (const struct dirent *entry; rc == ERR_OK && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        autofree char *child = xasprintf("%s/%s", name, entry->d_name);
        rc = depth > 1 ? add_folder(layout, child, depth - 1, err)
                       : add_file(layout, child, false, err);
    }
    closedir(folder);
    return rc;
}

enum errc layout_source_open(const char *path, struct layout_source **out, struct error *err)
{
    struct layout_source *layout = xcalloc(1, sizeof *layout);
    layout->fd = -1;
    layout->out.limit_bytes = OUT_LIMIT_BYTES;
    layout->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum errc rc = layout->folder < 0 ? fail(err, ERR_IO, errno, "open folder %s", path) : ERR_OK;
    if (rc != ERR_OK || add_file(layout, "oci-layout", false, err) != ERR_OK ||
        add_file(layout, "index.json", true, err) != ERR_OK ||
        add_file(layout, "manifest.json", false, err) != ERR_OK ||
        add_folder(layout, "blobs", 2, err) != ERR_OK) {
        layout_source_close(layout);
        return err->code;
    }
    *out = layout;
    return ERR_OK;
}

void layout_source_close(struct layout_source *layout)
{
    if (layout == NULL)
        return;
    for (size_t i = 0; i < layout->count; i++)
        free(layout->files[i].name);
    free(layout->files);
    buf_deinit(&layout->out);
    if (layout->fd >= 0)
        close(layout->fd);
    if (layout->folder >= 0)
        close(layout->folder);
    free(layout);
}

static enum errc begin_file(struct layout_source *layout, struct error *err)
{
    const struct layout_file *file = &layout->files[layout->current];
    layout->fd = open_file(layout->folder, file->name);
    if (layout->fd < 0)
        return cannot_open(layout, file->name, errno, err);
    layout->left = file->size;
    layout->want = PIECE_FIRST;
    return tar_write_header(&layout->out, file->name, file->size, NULL, err);
}

static enum errc became_shorter(const struct layout_file *file, struct error *err)
{
    return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "%s of the layout became shorter while it was read",
                file->name);
}

static enum errc send_piece(struct layout_source *layout, struct error *err)
{
    const struct layout_file *file = &layout->files[layout->current];
    size_t want = layout->left < layout->want ? (size_t)layout->left : layout->want;
    size_t got = 0;
    if (file_read_at(layout->fd, layout->piece, want, file->size - layout->left, &got, err) !=
        ERR_OK)
        return error_wrap(err, "%s of the layout", file->name);
    if (got < want)
        return became_shorter(file, err);
    layout->left -= got;
    if (layout->want < PIECE)
        layout->want *= 2;
    buf_append(&layout->out, layout->piece, got);
    return ERR_OK;
}

static void add_zeros(struct layout_source *layout, size_t size)
{
    static const uint8_t zeros[TAR_END_BYTES];
    buf_append(&layout->out, zeros, size);
}

static enum errc end_file(struct layout_source *layout)
{
    close(layout->fd);
    layout->fd = -1;
    add_zeros(layout, (size_t)tar_padding(layout->files[layout->current++].size));
    return ERR_OK;
}

static enum errc end_archive(struct layout_source *layout)
{
    layout->closed = true;
    add_zeros(layout, TAR_END_BYTES);
    return ERR_OK;
}

static enum errc step(struct layout_source *layout, struct error *err)
{
    if (layout->fd >= 0)
        return layout->left > 0 ? send_piece(layout, err) : end_file(layout);
    return layout->current < layout->count ? begin_file(layout, err) : end_archive(layout);
}

/* The next bytes that are not content, or of content when that is to be read. */
static enum errc fill(struct layout_source *layout, bool content, struct error *err)
{
    while (layout->out_used == layout->out.size && !layout->closed &&
           (content || layout->left == 0)) {
        buf_clear(&layout->out);
        layout->out_used = 0;
        if (step(layout, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct layout_source *layout = self;
    if (fill(layout, true, err) != ERR_OK)
        return err->code;
    *data = (const uint8_t *)buf_cstr(&layout->out) + layout->out_used;
    *size = layout->out.size - layout->out_used;
    layout->out_used = layout->out.size;
    return ERR_OK;
}

/* Of the content of the file at hand. */
static enum errc skip_content(struct layout_source *layout, uint64_t count, uint64_t *skipped,
                              struct error *err)
{
    const struct layout_file *file = &layout->files[layout->current];
    struct stat info;
    if (fstat(layout->fd, &info) != 0)
        return fail(err, ERR_IO, errno, "look at %s of the layout", file->name);
    if ((uint64_t)info.st_size < file->size)
        return became_shorter(file, err);
    uint64_t n = count < layout->left ? count : layout->left;
    layout->left -= n;
    *skipped += n;
    return ERR_OK;
}

static enum errc skip(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    struct layout_source *layout = self;
    *skipped = 0;
    while (*skipped < count) {
        if (fill(layout, false, err) != ERR_OK)
            return err->code;
        size_t ready = layout->out.size - layout->out_used;
        uint64_t wanted = count - *skipped;
        if (ready > 0) {
            size_t n = wanted < ready ? (size_t)wanted : ready;
            layout->out_used += n;
            *skipped += n;
        } else if (layout->closed) {
            break;
        } else if (skip_content(layout, wanted, skipped, err) != ERR_OK) {
            return err->code;
        }
    }
    return ERR_OK;
}

static enum errc begin_again(void *self, struct error *err)
{
    struct layout_source *layout = self;
    (void)err;
    file_close_at(&layout->fd);
    buf_clear(&layout->out);
    layout->out_used = 0;
    layout->current = 0;
    layout->left = 0;
    layout->closed = false;
    return ERR_OK;
}

struct source layout_source(struct layout_source *layout)
{
    return (struct source){.pull = pull, .self = layout, .pass_over = skip, .rewind = begin_again};
}
