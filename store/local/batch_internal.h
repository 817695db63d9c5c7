/*
 * The inside of a batch, for batch.c, batch_front.c, blob_writer.c and batch_commit.c.
 */
#ifndef SLIPWAY_STORE_LOCAL_BATCH_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_BATCH_INTERNAL_H

#include "image/digest_map.h"
#include "store/batch.h"
#include "store/blob_upload.h"
#include "store/local/internal.h"
#include "store/local/records_front.h"
#include "store/local/records_pushes.h"

#define BATCH_NAME_MAX 24

/* A blob that is complete in the staging folder, under the name `number`. */
struct batch_blob {
    struct digest digest;
    uint64_t size;
    uint32_t number;
};

struct batch_layer {
    struct digest diff_id;
    struct layer_form form;
};

struct batch_start {
    struct digest start;
    struct digest diff_id;
};

struct batch_reference {
    struct reference reference;
    struct digest manifest;
    char *media_type; /* owned */
};

struct batch_member {
    char *repository; /* owned */
    struct digest digest;
};

struct batch_manifest {
    char *repository; /* owned */
    char *tag;        /* owned; NULL: none */
    struct manifest_record record;
    char *descriptor; /* owned; with a subject */
};

struct batch_push {
    struct record_key key;
    uint8_t *value; /* owned */
    size_t size;
    struct digest *needs; /* owned: the manifests that are to be pushed */
    size_t need_count;
};

struct batch_session {
    char id[BLOB_UPLOAD_ID_SIZE + 1];
};

struct batch {
    struct store *store;
    enum durability durability;
    uint64_t serial; /* of all batches of this process */
    char name[BATCH_NAME_MAX];
    int folder_fd; /* staging/NAME; -1 until a blob needs it */
    uint32_t next_blob;
    size_t open_writers;
    struct batch_blob *blobs;
    size_t blob_count, blob_capacity;
    struct digest_map places; /* of the blobs, from 1; 0: dropped */
    struct digest *held;
    size_t held_count, held_capacity;
    struct batch_layer *layers;
    size_t layer_count, layer_capacity;
    struct batch_start *starts;
    size_t start_count, start_capacity;
    struct batch_reference *references;
    size_t reference_count, reference_capacity;
    struct batch_member *members;
    size_t member_count, member_capacity;
    struct batch_manifest *manifests;
    size_t manifest_count, manifest_capacity;
    struct batch_push *pushes;
    size_t push_count, push_capacity;
    struct batch_session *sessions; /* that are over when the batch is in */
    size_t session_count, session_capacity;
    struct error error; /* of a call that could not report it: the commit's failure */
};

/* Room for one more item in an array, NULL when the batch has its limit. */
void *batch_grow(void *items, size_t count, size_t *capacity, size_t item_size, struct error *err);

/* Make the staging folder, once. */
enum errc batch_open_staging(struct batch *batch, struct error *err);

/* The upload session's record goes with the commit. */
void batch_end_session(struct batch *batch, const char *id);

/* What batch_front.c has put aside for the commit. */
void batch_record_front(const struct batch *batch, uint64_t now_s, struct change *change);
void batch_free_front(struct batch *batch);

/* The blob of this batch, NULL when it is not in it. */
struct batch_blob *batch_find(struct batch *batch, const struct digest *digest);

/* Takes the complete file `number` into the batch; removes it when the batch has that blob. */
enum errc batch_add_blob(struct batch *batch, const struct digest *digest, uint64_t size,
                         uint32_t number, struct error *err);

/* The complete file `name` of the folder `folder_fd`, on the store's file system, becomes a blob of
 * the batch: it is moved. `digest` is of its `size` bytes. On failure it is where it was. Of a blob
 * that the batch has already it is removed. */
enum errc batch_take_file(struct batch *batch, int folder_fd, const char *name, uint64_t size,
                          const struct digest *digest, struct error *err);

/* Remove the file `number` from the staging folder. */
void batch_remove_file(struct batch *batch, uint32_t number);

/* The name of the file `number`; returns `name`. */
const char *batch_file_name(uint32_t number, char name[BATCH_NAME_MAX]);

#endif
