/*
 * The files under DATA/blobs: where a blob's file is and how it gets there.
 *
 * A file is moved there only after all its bytes were written, so in one boot of the machine
 * whatever is there is complete. How it is moved keeps durable files durable without a lock between
 * batches: one that the disk has may replace a file (same content), one that the disk may not have
 * never does.
 *
 * `blobs_fd` is the folder DATA/blobs, which has a folder for each algorithm.
 */
#ifndef SLIPWAY_STORE_LOCAL_BLOB_FILES_H
#define SLIPWAY_STORE_LOCAL_BLOB_FILES_H

#include "image/digest.h"

#include <stdatomic.h>

#define BLOB_FOLDERS 256
#define BLOB_PATH_MAX (DIGEST_TEXT_MAX + 4)

/* "sha256/ab/abcd..."; returns `path`. */
const char *blob_path(const struct digest *digest, char path[BLOB_PATH_MAX]);

/* A regular file of exactly this size is there. */
bool blob_file_is_there(int blobs_fd, const struct digest *digest, uint64_t size);

/* Move the file `name` of `folder_fd` in, over what is there. */
enum errc blob_file_replace(int folder_fd, const char *name, int blobs_fd,
                            const struct digest *digest, struct error *err);

/* Bring the file `name` of `folder_fd`, which has `size` bytes, in unless it is there already
 * (*added false); `name` may or may not be left. */
enum errc blob_file_add(int folder_fd, const char *name, uint64_t size, int blobs_fd,
                        const struct digest *digest, bool *added, struct error *err);

/* Wait until the disk has the blob's bytes. */
enum errc blob_file_sync(int blobs_fd, const struct digest *digest, struct error *err);

/* The folders into which files were moved. */
struct blob_folders {
    bool touched[DIGEST_SHA512 + 1][BLOB_FOLDERS];
};
void blob_folders_add(struct blob_folders *folders, const struct digest *digest);

/* Folders whose own names the disk has, as this process knows from syncs of its own. None is ever
 * removed, so what is kept here stays. Begins with zeroes; any thread. */
struct blob_folders_kept {
    atomic_bool kept[DIGEST_SHA512 + 1][BLOB_FOLDERS];
};

/* Wait until the disk has the names in them, and theirs. `kept` saves the sync of the folder above
 * where it has all of them, and learns from one; NULL: nothing is known, nor learned. */
enum errc blob_folders_sync(const struct blob_folders *folders, int blobs_fd,
                            struct blob_folders_kept *kept, struct error *err);

#endif
