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

struct stage {
    uint64_t serial; /* of all batches of this process */
    char name[STAGE_NAME_MAX];
    int folder_fd; /* -1 until a blob needs it */
    uint32_t next_number;
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

/* The complete file `name` of the folder `folder_fd`, on the store's file system, becomes a blob of
 * the batch, and stays where it is, too: nobody may write to it any more. `digest` is of its `size`
 * bytes. */
enum errc batch_take_file(struct batch *batch, int folder_fd, const char *name, uint64_t size,
                          const struct digest *digest, struct error *err);

/* What was put into repositories, pushes, and sessions that are over. */
void batch_record_front(const struct batch *batch, uint64_t now_s, struct change *change);

#endif
