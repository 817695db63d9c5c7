/*
 * What of a batch is the local store's own: its folder DATA/staging/NAME, where each blob is a file
 * with a number for its name, and the records that only this store writes.
 */
#ifndef SLIPWAY_STORE_LOCAL_BATCH_LOCAL_H
#define SLIPWAY_STORE_LOCAL_BATCH_LOCAL_H

#include "store/backend.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#define STAGE_NAME_MAX 24

/* What is small stays in memory until it is brought in, or opened: of most archives' small files
 * nothing is kept, and a file costs as much as thousands of bytes. */
#define STAGE_SMALL_BYTES ((size_t)16 << 10)
#define STAGE_SMALL_ALL_BYTES ((size_t)256 << 10) /* of a batch; what is more goes into files */

struct stage_small {
    uint32_t number;
    uint8_t *data; /* owned; NULL: dropped, or in a file by now */
    size_t size;
};

struct stage {
    uint64_t serial; /* of all batches of this process */
    char name[STAGE_NAME_MAX];
    int folder_fd; /* -1 until a blob needs it */
    uint32_t next_number;
    struct stage_small *smalls; /* owned, by number */
    size_t small_count, small_capacity;
    size_t small_bytes;
    int spare_fd; /* a file of a writer that was given up, for the next one; -1: none */
    uint32_t spare_number;
    char push_suffix[PUSH_SUFFIX_SIZE + 1];
    struct digest *holds; /* until the batch ends (store/local/leases.h) */
    size_t hold_count, hold_capacity;
};

/* No collection takes the blob away before the batch ends. May wait for the end of a step of one.
 */
void stage_hold(struct batch *batch, const struct digest *digest);

/* Make the folder, once. */
enum errc stage_open(struct batch *batch, struct error *err);

/* The name of the file `number`; returns `name`. */
const char *stage_file_name(uint32_t number, char name[STAGE_NAME_MAX]);

/* Make the file `number`, to be written; *fd is the caller's. */
enum errc stage_create(struct batch *batch, uint32_t number, int *fd, struct error *err);

/* Keep bytes as what the file `number` would have; they are taken. */
void stage_keep(struct batch *batch, uint32_t number, void *data, size_t size);
/* It is a file from now on. No-op for what is. */
enum errc stage_write_out(struct batch *batch, uint32_t number, struct error *err);

/* The complete file `name` of the folder `folder_fd`, on the store's file system, becomes a blob of
 * the batch, and stays where it is, too: nobody may write to it any more. `digest` is of its `size`
 * bytes. */
enum errc batch_take_file(struct batch *batch, int folder_fd, const char *name, uint64_t size,
                          const struct digest *digest, struct error *err);

/* What was put into repositories, pushes, and sessions that are over. */
void batch_record_front(const struct batch *batch, uint64_t now_s, struct change *change);

#endif
