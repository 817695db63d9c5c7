#include "base/line_file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct line_file {
    char *path;
    int fd;
    bool torn; /* it ends within a line */
};

/* A pipe without a reader would keep a writer waiting in open(2) but for O_NONBLOCK. */
static enum errc open_path(const char *path, int *out, bool *torn, struct error *err)
{
    struct stat found;
    char last = '\n';
    int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, flags, 0600);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open %s", path);
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) {
        close(fd);
        return fail(err, ERR_IO, 0, "open %s: it is no regular file", path);
    }
    if (found.st_size > 0 && pread(fd, &last, 1, found.st_size - 1) != 1)
        last = '\n';
    *torn = last != '\n';
    *out = fd;
    return ERR_OK;
}

enum errc line_file_open(const char *path, struct line_file **out, struct error *err)
{
    int fd = -1;
    bool torn = false;
    if (open_path(path, &fd, &torn, err) != ERR_OK)
        return err->code;
    struct line_file *file = xcalloc(1, sizeof *file);
    *file = (struct line_file){.path = xstrdup(path), .fd = fd, .torn = torn};
    *out = file;
    return ERR_OK;
}

void line_file_close(struct line_file *file)
{
    if (file == NULL)
        return;
    close(file->fd);
    free(file->path);
    free(file);
}

/* A file that may only grow (chattr +a) keeps the part. */
static void take_back(struct line_file *file, size_t size)
{
    struct stat now;
    if (size > 0 && (fstat(file->fd, &now) != 0 || now.st_size < (off_t)size ||
                     ftruncate(file->fd, now.st_size - (off_t)size) != 0))
        file->torn = true;
}

static enum errc append(struct line_file *file, const char *text, size_t size, struct error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t written = write(file->fd, text + done, size - done);
        int why = errno;
        if (written < 0 && why == EINTR)
            continue;
        if (written < 0) {
            take_back(file, done);
            return fail(err, why == EFBIG ? ERR_NO_SPACE : ERR_IO, why, "write to %s", file->path);
        }
        done += (size_t)written;
    }
    return ERR_OK;
}

enum errc line_file_append(struct line_file *file, const char *line, size_t size, struct error *err)
{
    if (file->torn && append(file, "\n", 1, err) != ERR_OK)
        return err->code;
    file->torn = false;
    return append(file, line, size, err);
}

static bool is_there(const struct line_file *file)
{
    struct stat named;
    struct stat open;
    return lstat(file->path, &named) == 0 && fstat(file->fd, &open) == 0 &&
           named.st_ino == open.st_ino && named.st_dev == open.st_dev;
}

enum errc line_file_renew(struct line_file *file, bool always, struct error *err)
{
    int fd = -1;
    if (!always && is_there(file))
        return ERR_OK;
    if (open_path(file->path, &fd, &file->torn, err) != ERR_OK)
        return err->code;
    close(file->fd);
    file->fd = fd;
    return ERR_OK;
}
