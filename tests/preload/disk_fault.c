/*
 * Makes a disk fail, for a program that is run with LD_PRELOAD of this library and DISK_FAULT, the
 * path of a control file. What is in that file counts from the next call on:
 *
 *     CALLS ERRNO SKIP PREFIX
 *     fsync,fdatasync 5 2 /data/blobs
 *
 * The calls of these names on files whose path begins with PREFIX fail with the number ERRNO, after
 * the first SKIP of them since the file was changed. An empty or missing file: nothing fails.
 * Names: fsync, fdatasync, msync (of any path), write (also pwrite, pwrite64, writev, pwritev).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTROL_MAX 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static char last[CONTROL_MAX];
static unsigned long seen;

static bool read_control(char text[CONTROL_MAX])
{
    const char *path = getenv("DISK_FAULT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, CONTROL_MAX - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    return size > 0;
}

static bool is_named(const char *calls, const char *call)
{
    size_t size = strlen(call);
    for (const char *at = calls; (at = strstr(at, call)) != NULL; at += size)
        if ((at == calls || at[-1] == ',') && (at[size] == ',' || at[size] == '\0'))
            return true;
    return false;
}

static bool is_below(int fd, const char *prefix)
{
    char name[64];
    char path[4096];
    if (fd < 0)
        return true;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* 0, or the errno with which the call has to fail. */
static int fault_of(const char *call, int fd)
{
    char text[CONTROL_MAX];
    char calls[128];
    char prefix[512];
    int error = 0;
    unsigned long skip = 0;
    int kept = errno;
    bool fails = read_control(text) &&
                 sscanf(text, "%127s %d %lu %511s", calls, &error, &skip, prefix) == 4 &&
                 is_named(calls, call) && is_below(fd, prefix);
    if (fails) {
        pthread_mutex_lock(&lock);
        if (strcmp(last, text) != 0) {
            memcpy(last, text, sizeof last);
            seen = 0;
        }
        fails = seen++ >= skip;
        pthread_mutex_unlock(&lock);
    }
    errno = kept;
    return fails ? error : 0;
}

/* ISO C knows no conversion from what dlsym() gives; POSIX asks for this one. */
#define NEXT(RESULT, NAME, ...)                                                                    \
    RESULT (*next)(__VA_ARGS__) = NULL;                                                            \
    *(void **)&next = dlsym(RTLD_NEXT, NAME)

#define FAIL_IF_TOLD(CALL, FD)                                                                     \
    int error = fault_of(CALL, FD);                                                                \
    if (error != 0) {                                                                              \
        errno = error;                                                                             \
        return -1;                                                                                 \
    }

int fsync(int fd)
{
    FAIL_IF_TOLD("fsync", fd);
    NEXT(int, "fsync", int);
    return next(fd);
}

int fdatasync(int fd)
{
    FAIL_IF_TOLD("fdatasync", fd);
    NEXT(int, "fdatasync", int);
    return next(fd);
}

int msync(void *address, size_t size, int flags)
{
    FAIL_IF_TOLD("msync", -1);
    NEXT(int, "msync", void *, size_t, int);
    return next(address, size, flags);
}

ssize_t write(int fd, const void *data, size_t size)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "write", int, const void *, size_t);
    return next(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return next(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return next(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    return next(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
    return next(fd, parts, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    FAIL_IF_TOLD("write", fd);
    NEXT(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    return next(fd, parts, count, offset);
}
