/*
 * Pushes that were promised and have not ended: a record each, so that they are started again when
 * slipway is. A record names a manifest that the store holds and where it has to go.
 *
 * It is written in the batch that brings the image (batch_put_push), so that there is no image
 * without its promise and no promise without its image, and it is rewritten as targets end.
 *
 * Ids are given by who makes the pushes and sort by the time of their making; an id is not empty.
 * After a crash of the machine a record whose manifest was lost with it is dropped; its batch was
 * not durable, so it was no promise. Any thread. Beside the errors named: ERR_STORE,
 * ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_PUSHES_H
#define SLIPWAY_STORE_PUSHES_H

#include "base/limits.h"
#include "image/descriptor.h"
#include "image/reference.h"
#include "store/batch.h"

#define PUSH_ID_MAX 32
#define PUSH_RECORD_TARGETS_MAX TARGETS_MAX
#define PUSH_RECORD_REFERRERS_MAX 128 /* what fits a value (store/local/kv/change.h) */

enum push_record_state { PUSH_RECORD_WAITING = 1, PUSH_RECORD_PUSHED = 2, PUSH_RECORD_FAILED = 3 };

struct push_record_target {
    struct reference target; /* with a tag, or with the manifest's own digest */
    bool optional;           /* its failure does not fail the push */
    enum push_record_state state;
};

struct push_record_referrer {
    struct descriptor manifest; /* media type, digest and size are kept */
    char tag[REFERENCE_TAG_MAX + 1];
};

struct push_record {
    char id[PUSH_ID_MAX];
    uint64_t created_s;
    struct descriptor manifest;         /* media type, digest and size are kept */
    struct push_record_target *targets; /* owned */
    size_t target_count;
    struct push_record_referrer *referrers; /* owned; subjects before what refers to them */
    size_t referrer_count;
};
void push_record_deinit(struct push_record *record);

/* Written at the batch's commit, whose failure is ERR_MANIFEST_INVALID when it has too many targets
 * or referrers, and ERR_BLOB_UNKNOWN when neither the batch nor the store has its manifest, or one
 * that refers to it. Copied. */
void batch_put_push(struct batch *batch, const struct push_record *record);

/* Replace a record (or write a new one of what the store holds durably). Durable.
 * ERR_MANIFEST_INVALID as above. */
enum errc pushes_put(struct store *store, const struct push_record *record, struct error *err);
/* Durable. One that is not there is success. */
enum errc pushes_remove(struct store *store, const char *id, struct error *err);

/* All records, oldest first; owned array, each to be deinited. */
enum errc pushes_list(struct store *store, struct push_record **out, size_t *count,
                      struct error *err);

#endif
