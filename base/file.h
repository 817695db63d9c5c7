/*
 * Files and folders: the few operations slipway needs, with errors that name the path.
 *
 * Functions take a folder descriptor and a name relative to it (the *at family) so that nothing
 * depends on the working folder and no path is built from what a stranger sent.
 */
#ifndef SLIPWAY_BASE_FILE_H
#define SLIPWAY_BASE_FILE_H

#include "base/error.h"
#include "base/stream.h"

#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#define autofd __attribute__((cleanup(file_close_at)))

static inline void file_close_at(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* mkdir -p: what is there already is fine when it is a folder (or a link to one). */
enum errc file_make_folders(const char *path, mode_t mode, struct error *err);

/* Write all of `data` at the file's position, whatever write(2) takes at a time. */
enum errc file_write_all(int fd, const void *data, size_t size, struct error *err);

/* Read `size` bytes at `offset`; fewer only at the end of the file; the count in *got. */
enum errc file_read_at(int fd, void *data, size_t size, uint64_t offset, size_t *got,
                       struct error *err);

/* The whole file as owned bytes followed by NUL. More than `limit_bytes` is ERR_IO. A path of "-"
 * is not special. */
enum errc file_read_all(const char *path, size_t limit_bytes, char **data, size_t *size,
                        struct error *err);

/* ERR_SYNC: nobody knows what the disk has of it, and another try would not tell. ERR_NO_SPACE. */
enum errc file_sync(int fd, const char *what, struct error *err);

/* What is free on the file system of `fd`, to others than the superuser; false when it does not
 * say.
 */
bool file_free_bytes(int fd, uint64_t *out);
/* Put in front of an error of too little room how much `place`, which `fd` is in, has. */
enum errc file_add_room(int fd, const char *place, struct error *err);

/* Remove everything below the folder `name` of `folder_fd`, and the folder; absent is success.
 * Symbolic links are removed, not followed. What cannot be removed keeps nothing else from going.
 */
enum errc file_remove_tree(int folder_fd, const char *name, struct error *err);

/* A source that reads the descriptor from where it is to its end, in pieces of up to 256 KiB: small
 * ones first, and behind what was passed over. A regular file can be passed over and begun again.
 * `reader` is borrowed. */
struct file_source {
    int fd;
    const char *name; /* for messages; borrowed */
    uint8_t *memory;
    size_t piece;    /* bytes to read next */
    bool sought;     /* it is a regular file, */
    off_t beginning; /* and the source begins here */
};
void file_source_init(struct file_source *reader, int fd, const char *name);
void file_source_deinit(struct file_source *reader);
struct source file_source(struct file_source *reader);

#endif
