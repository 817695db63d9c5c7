/*
 * Keys and values of the tables of pushes; the layout is in store/local/records.h, with all others.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_PUSHES_H
#define SLIPWAY_STORE_LOCAL_RECORDS_PUSHES_H

#include "store/local/kv/change.h"
#include "store/local/records.h"
#include "store/pushes.h"
#include "store/targets.h"

#define PUSH_MANIFEST_SIZE_MAX (1 + DIGEST_BYTES_MAX + 8 + 1 + MEDIA_TYPE_MAX - 1)
/* A push of so many referrers, with the longest texts. */
#define PUSH_VALUE_OF(REFERRERS)                                                                   \
    (1 + 8 + PUSH_MANIFEST_SIZE_MAX + 1 + 1 + DIGEST_BYTES_MAX + 1 + REPOSITORY_NAME_MAX + 2 + 2 + \
     1 + VIA_TEXT_MAX + 1 + PUSH_BY_KIND_MAX + 1 + PUSH_BY_NAME_MAX +                              \
     (size_t)(REFERRERS) * (PUSH_MANIFEST_SIZE_MAX + 1 + REFERENCE_TAG_MAX))
#define PUSH_VALUE_MAX PUSH_VALUE_OF(REFERRERS_MAX)

/* A target with the longest texts: what it is, what came of it, and why it failed. */
#define PUSH_TARGET_VALUE_MAX                                                                      \
    (1 + 1 + 1 + 1 + REFERENCE_NAME_MAX + 1 + REFERENCE_TAG_MAX + 1 + 1 + DIGEST_BYTES_MAX + 1 +   \
     TARGET_NAME_MAX + 4 + 4 * 8 + 1 + DIGEST_BYTES_MAX + 8 + 1 + MEDIA_TYPE_MAX - 1 + 4 * 4 + 8 + \
     4 + 1 + ERROR_NAME_MAX + 2 + 2 + ERROR_TEXT_MAX - 1 + 1 + DIGEST_BYTES_MAX)

/* The longest of the names in base/error.h. */
#define ERROR_NAME_MAX 40

struct push_target_value {
    size_t size;
    uint8_t bytes[PUSH_TARGET_VALUE_MAX];
};

/* Of the table of targets. */
#define TARGET_RECORD_VALUE_MAX (1 + 3 * 8 + 1 + ERROR_NAME_MAX + 2 + 2 + ERROR_TEXT_MAX - 1)

struct target_record_value {
    size_t size;
    uint8_t bytes[TARGET_RECORD_VALUE_MAX];
};

struct record_key target_record_key(const char *name);
void target_record_value(const struct target_record *record, struct target_record_value *value);
enum errc target_record_decode(struct kv_slice key, struct kv_slice value,
                               struct target_record *out, struct error *err);

/* An id is a number (store/local/kv/change.h) and a suffix that is random. */
#define PUSH_SUFFIX_SIZE 12
void push_suffix_make(char suffix[PUSH_SUFFIX_SIZE + 1]);
void push_id_make(uint64_t number, const char *suffix, char id[PUSH_ID_MAX]);

/* `id` is not empty, and shorter than PUSH_ID_MAX: asserted. */
struct record_key push_key(const char *id);
/* Keys of the tables of targets and of open targets. All targets of a push have the prefix. */
struct record_key push_targets_prefix(const char *id);
struct record_key push_target_key(const char *id, size_t index);
enum errc push_target_key_decode(struct kv_slice key, char id[PUSH_ID_MAX], size_t *index,
                                 struct error *err);

/* Without its targets; at most PUSH_VALUE_MAX bytes, owned (free()). */
size_t push_value(const struct push *push, uint8_t **value);
void push_target_value(const struct push_target *target, struct push_target_value *value);

/* What it gives is owned: push_deinit(). The targets are as many as were recorded, and zeroed.
 * ERR_STORE. */
enum errc push_decode(struct kv_slice key, struct kv_slice value, struct push *out,
                      struct error *err);
/* What an error's name says that is none of ours is ERR_INTERNAL. */
enum errc push_target_decode(struct kv_slice value, struct push_target *out, struct error *err);

/* Of the table of keys, whose own keys are ids; `key` has a name. ERR_STORE. */
struct record_value request_key_value(const struct request_key *key);
enum errc request_key_decode(struct kv_slice value, struct request_key *out, struct error *err);

/* A record of schema 1, which has its targets in it. *is_old false, nothing else done, for one of
 * now. */
enum errc push_decode_schema_1(struct kv_slice key, struct kv_slice value, bool *is_old,
                               struct push *out, struct error *err);

/* All keys of a push into a change: itself, its targets, which of them are open, and the
 * key of its request. */
void push_put(struct change *change, const struct push *push);
/* The same for a push whose id is given when the change is applied: a number, and `suffix`. */
void push_put_numbered(struct change *change, const struct push *push, const char *suffix,
                       _Atomic uint64_t *last);
/* One target, and whether it is open. */
void push_target_put(struct change *change, const char *id, size_t index,
                     const struct push_target *target);
void push_remove_all(struct change *change, const char *id, size_t target_count);

#endif
