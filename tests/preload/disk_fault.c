/*
 * Makes a disk fail, for a program that is run with LD_PRELOAD of this library and DISK_FAULT, the
 * path of a control file. What is in that file counts from the next call on:
 *
 *     CALLS ERRNO SKIP TIMES PATTERN
 *     fsync,fdatasync 5 2 1 /data/blobs
 *
 * The calls of these names on files whose path begins with PATTERN, or matches it as fnmatch()
 * does, fail with the number ERRNO: TIMES of them (0: all), after the first SKIP since the file was
 * changed. An empty or missing file: nothing fails. With the first that fails, a file is made
 * beside the control file, with ".fired" behind its name, to which each adds its name as a line.
 * "any" is all calls; with 0 as ERRNO they are only written there.
 *
 * Names: fsync, fdatasync, msync (of any path), syncfs, write (also pwrite, pwrite64, writev,
 * pwritev), short (of a write, which takes the first half of its bytes; the writes behind it among
 * the TIMES fail with ERRNO), create (open, openat with O_CREAT), mkdir (mkdirat), fallocate,
 * rename (also renameat, renameat2; the new path), link (linkat), unlink (also unlinkat),
 * ftruncate, mmap (of a file). Of LMDB, on an environment in that folder: put (mdb_put), del
 * (mdb_del), commit (mdb_txn_commit, whose transaction is dropped then, as LMDB does) and envsync
 * (mdb_env_sync). They give ERRNO as it is, so it may be one of LMDB's own, which are below zero.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTROL_MAX 1024
#define PATH_SIZE 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static char last[CONTROL_MAX];
static unsigned long seen;

/* ISO C knows no conversion from what dlsym() gives; POSIX asks for this one. */
#define NEXT(RESULT, NAME, ...)                                                                    \
    RESULT (*next)(__VA_ARGS__) = NULL;                                                            \
    *(void **)&next = dlsym(RTLD_NEXT, NAME)

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

/* Of the descriptor, or of a name below its folder. Empty when there is none. */
static void find_path(int fd, const char *below, char path[PATH_SIZE])
{
    char name[64];
    path[0] = '\0';
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = below && below[0] == '/' ? 0 : readlink(name, path, PATH_SIZE - 1);
    if (size >= 0 && below)
        snprintf(path + size, PATH_SIZE - (size_t)size, "%s%s", size > 0 ? "/" : "", below);
    else if (size >= 0)
        path[size] = '\0';
}

static bool matches(int fd, const char *below, const char *pattern)
{
    char path[PATH_SIZE];
    if (fd < 0 && below == NULL)
        return true;
    find_path(fd, below, path);
    return strncmp(path, pattern, strlen(pattern)) == 0 || fnmatch(pattern, path, 0) == 0;
}

static void tell_fired(const char *call)
{
    char path[PATH_SIZE];
    char line[32];
    snprintf(path, sizeof path, "%s.fired", getenv("DISK_FAULT"));
    int size = snprintf(line, sizeof line, "%s\n", call);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    NEXT(ssize_t, "write", int, const void *, size_t);
    next(fd, line, (size_t)size);
    close(fd);
}

/* 0, or the errno with which the call has to fail. `below` is NULL but for a name in a folder.
 * `first`, unless NULL, is told whether it is the first that fails. */
static int fault_of_first(const char *call, int fd, const char *below, bool *first)
{
    char text[CONTROL_MAX];
    char calls[128] = "";
    char pattern[512];
    int error = 0;
    unsigned long skip = 0;
    unsigned long times = 0;
    int kept = errno;
    bool fails =
        read_control(text) &&
        sscanf(text, "%127s %d %lu %lu %511s", calls, &error, &skip, &times, pattern) == 5 &&
        (is_named(calls, call) || is_named(calls, "any")) && matches(fd, below, pattern);
    if (fails) {
        pthread_mutex_lock(&lock);
        if (strcmp(last, text) != 0) {
            memcpy(last, text, sizeof last);
            seen = 0;
        }
        fails = seen >= skip && (times == 0 || seen - skip < times);
        if (first != NULL)
            *first = seen == skip;
        seen++;
        pthread_mutex_unlock(&lock);
    }
    if (fails)
        tell_fired(call);
    errno = kept;
    return fails ? error : 0;
}

static int fault_of(const char *call, int fd, const char *below)
{
    return fault_of_first(call, fd, below, NULL);
}

#define FAIL_IF_TOLD_AS(RESULT, CALL, FD, BELOW)                                                   \
    int error = fault_of(CALL, FD, BELOW);                                                         \
    if (error != 0) {                                                                              \
        errno = error;                                                                             \
        return RESULT;                                                                             \
    }
#define FAIL_IF_TOLD(CALL, FD) FAIL_IF_TOLD_AS(-1, CALL, FD, NULL)
#define FAIL_OR_SHORTEN(FD, SIZE)                                                                  \
    FAIL_IF_TOLD("write", FD);                                                                     \
    bool first = false;                                                                            \
    errno = (SIZE) > 1 ? fault_of_first("short", FD, NULL, &first) : 0;                            \
    if (errno != 0 && !first)                                                                      \
        return -1;                                                                                 \
    if (errno != 0)                                                                                \
    (SIZE) /= 2

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
    FAIL_OR_SHORTEN(fd, size);
    NEXT(ssize_t, "write", int, const void *, size_t);
    return next(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    FAIL_OR_SHORTEN(fd, size);
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return next(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    FAIL_OR_SHORTEN(fd, size);
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return next(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    FAIL_OR_SHORTEN(fd, count);
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    return next(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    FAIL_OR_SHORTEN(fd, count);
    NEXT(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
    return next(fd, parts, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    FAIL_OR_SHORTEN(fd, count);
    NEXT(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    return next(fd, parts, count, offset);
}

int syncfs(int fd)
{
    FAIL_IF_TOLD("syncfs", fd);
    NEXT(int, "syncfs", int);
    return next(fd);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    FAIL_IF_TOLD("fallocate", fd);
    NEXT(int, "fallocate", int, int, off_t, off_t);
    return next(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    FAIL_IF_TOLD("fallocate", fd);
    NEXT(int, "fallocate64", int, int, off64_t, off64_t);
    return next(fd, mode, offset, size);
}

/* There is a mode with O_CREAT only. */
#define OPEN_AT(NAME, FOLDER)                                                                      \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;                               \
    va_end(rest);                                                                                  \
    if ((flags & O_CREAT) != 0) {                                                                  \
        FAIL_IF_TOLD_AS(-1, "create", FOLDER, path);                                               \
    }                                                                                              \
    NEXT(int, NAME, int, const char *, int, ...);                                                  \
    return next(FOLDER, path, flags, mode)

int openat(int fd, const char *path, int flags, ...)
{
    OPEN_AT("openat", fd);
}

int openat64(int fd, const char *path, int flags, ...)
{
    OPEN_AT("openat64", fd);
}

int open(const char *path, int flags, ...)
{
    OPEN_AT("openat", AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_AT("openat64", AT_FDCWD);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
    FAIL_IF_TOLD_AS(-1, "mkdir", fd, path);
    NEXT(int, "mkdirat", int, const char *, mode_t);
    return next(fd, path, mode);
}

int ftruncate(int fd, off_t size)
{
    FAIL_IF_TOLD("ftruncate", fd);
    NEXT(int, "ftruncate", int, off_t);
    return next(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    FAIL_IF_TOLD("ftruncate", fd);
    NEXT(int, "ftruncate64", int, off64_t);
    return next(fd, size);
}

int rename(const char *from, const char *to)
{
    FAIL_IF_TOLD_AS(-1, "rename", AT_FDCWD, to);
    NEXT(int, "rename", const char *, const char *);
    return next(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    FAIL_IF_TOLD_AS(-1, "rename", to_fd, to);
    NEXT(int, "renameat", int, const char *, int, const char *);
    return next(from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    FAIL_IF_TOLD_AS(-1, "rename", to_fd, to);
    NEXT(int, "renameat2", int, const char *, int, const char *, unsigned);
    return next(from_fd, from, to_fd, to, flags);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    FAIL_IF_TOLD_AS(-1, "link", to_fd, to);
    NEXT(int, "linkat", int, const char *, int, const char *, int);
    return next(from_fd, from, to_fd, to, flags);
}

/* Memory without a file is not asked about: there is more of it before this library is set up. */
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0) {
        FAIL_IF_TOLD_AS(MAP_FAILED, "mmap", fd, NULL);
    }
    NEXT(void *, "mmap", void *, size_t, int, int, int, off_t);
    return next(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    if (fd >= 0) {
        FAIL_IF_TOLD_AS(MAP_FAILED, "mmap", fd, NULL);
    }
    NEXT(void *, "mmap64", void *, size_t, int, int, int, off64_t);
    return next(at, size, protection, flags, fd, offset);
}

int unlink(const char *path)
{
    FAIL_IF_TOLD_AS(-1, "unlink", AT_FDCWD, path);
    NEXT(int, "unlink", const char *);
    return next(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    FAIL_IF_TOLD_AS(-1, "unlink", fd, path);
    NEXT(int, "unlinkat", int, const char *, int);
    return next(fd, path, flags);
}

/* ---- LMDB, as far as the program under test has it; its types are of no interest here ---- */

static const char *environment_path(void *environment)
{
    NEXT(int, "mdb_env_get_path", void *, const char **);
    const char *path = "";
    return next && next(environment, &path) == 0 ? path : "";
}

static const char *transaction_path(void *transaction)
{
    NEXT(void *, "mdb_txn_env", void *);
    return next ? environment_path(next(transaction)) : "";
}

#define GIVE_IF_TOLD(CALL, PATH)                                                                   \
    int told = fault_of(CALL, AT_FDCWD, PATH);                                                     \
    if (told != 0)                                                                                 \
    return told

int mdb_put(void *transaction, unsigned table, void *key, void *value, unsigned flags);
int mdb_put(void *transaction, unsigned table, void *key, void *value, unsigned flags)
{
    GIVE_IF_TOLD("put", transaction_path(transaction));
    NEXT(int, "mdb_put", void *, unsigned, void *, void *, unsigned);
    return next(transaction, table, key, value, flags);
}

int mdb_del(void *transaction, unsigned table, void *key, void *value);
int mdb_del(void *transaction, unsigned table, void *key, void *value)
{
    GIVE_IF_TOLD("del", transaction_path(transaction));
    NEXT(int, "mdb_del", void *, unsigned, void *, void *);
    return next(transaction, table, key, value);
}

int mdb_env_sync(void *environment, int force);
int mdb_env_sync(void *environment, int force)
{
    GIVE_IF_TOLD("envsync", environment_path(environment));
    NEXT(int, "mdb_env_sync", void *, int);
    return next(environment, force);
}

int mdb_txn_commit(void *transaction);
int mdb_txn_commit(void *transaction)
{
    int told = fault_of("commit", AT_FDCWD, transaction_path(transaction));
    if (told != 0) {
        NEXT(void, "mdb_txn_abort", void *);
        next(transaction);
        return told;
    }
    NEXT(int, "mdb_txn_commit", void *);
    return next(transaction);
}
