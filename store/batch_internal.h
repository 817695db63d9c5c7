/*
 * What a batch has collected, for the files of store/ and of the store at hand.
 */
#ifndef SLIPWAY_STORE_BATCH_INTERNAL_H
#define SLIPWAY_STORE_BATCH_INTERNAL_H

#include "image/digest_map.h"
#include "store/batch.h"
#include "store/blob_upload.h"
#include "store/repositories.h"

/* A blob that is complete, and staged under the number. */
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
    struct repository_manifest manifest;
    struct digest subject; /* DIGEST_NONE: refers to none */
};

struct batch_referrer {
    char *repository; /* owned */
    struct digest subject;
    struct digest manifest;
    char *descriptor; /* owned */
};

struct batch_session {
    char id[BLOB_UPLOAD_ID_SIZE + 1];
};

struct batch {
    struct store *store;
    enum durability durability;
    struct stage *stage; /* owned; of the store at hand: store/backend.h */
    size_t open_writers;
    struct expansion expansion; /* without received_bytes: not limited */
    uint64_t written_bytes;
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
    struct batch_referrer *referrers;
    size_t referrer_count, referrer_capacity;
    struct push *push;              /* borrowed; NULL: none */
    struct batch_session *sessions; /* that are over when the batch is in */
    size_t session_count, session_capacity;
    struct error error; /* of a call that could not report it: the commit's failure */
};

/* Room for one more item in an array, NULL when the batch has its limit. */
void *batch_grow(void *items, size_t count, size_t *capacity, size_t item_size, struct error *err);

/* A writer is about to write so many bytes: what batch_limit_expansion() says to that. */
enum errc batch_count_write(struct batch *batch, size_t size, struct error *err);

/* The blob of this batch, NULL when it is not in it. */
struct batch_blob *batch_find(struct batch *batch, const struct digest *digest);

/* Room for one more blob. */
enum errc batch_make_room(struct batch *batch, struct error *err);

/* Takes the complete blob that is staged under `number` into the batch; drops it there when the
 * batch has that blob, and on failure. */
enum errc batch_add_blob(struct batch *batch, const struct digest *digest, uint64_t size,
                         uint32_t number, struct error *err);

/* The upload session is over when the batch is in. */
void batch_end_session(struct batch *batch, const char *id);

/* What batch_repositories.c has put aside. */
void batch_free_repositories(struct batch *batch);

#endif
