/*
 * Keys and values of the table of promised pushes; the layout is in store/local/records.h, with all
 * others.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_PUSHES_H
#define SLIPWAY_STORE_LOCAL_RECORDS_PUSHES_H

#include "store/local/records.h"
#include "store/pushes.h"

#define PUSH_MANIFEST_SIZE_MAX (1 + DIGEST_BYTES_MAX + 8 + 1 + MEDIA_TYPE_MAX - 1)
#define PUSH_TARGET_SIZE_MAX                                                                       \
    (3 + 1 + REFERENCE_NAME_MAX + 1 + REFERENCE_TAG_MAX + 1 + DIGEST_BYTES_MAX)
/* A push of the most targets and referrers, each of the longest texts. */
#define PUSH_VALUE_OF(TARGETS, REFERRERS)                                                          \
    (1 + 8 + PUSH_MANIFEST_SIZE_MAX + 2 + (size_t)(TARGETS)*PUSH_TARGET_SIZE_MAX + 2 +             \
     (size_t)(REFERRERS) * (PUSH_MANIFEST_SIZE_MAX + 1 + REFERENCE_TAG_MAX) + 1 +                  \
     REPOSITORY_NAME_MAX)
#define PUSH_VALUE_MAX PUSH_VALUE_OF(PUSH_TARGETS_MAX, REFERRERS_MAX)

/* An id is a number (store/local/kv/change.h) and a suffix that is random. */
#define PUSH_SUFFIX_SIZE 12
void push_suffix_make(char suffix[PUSH_SUFFIX_SIZE + 1]);
void push_id_make(uint64_t number, const char *suffix, char id[PUSH_ID_MAX]);

/* `id` is not empty, and shorter than PUSH_ID_MAX: asserted. */
struct record_key push_key(const char *id);

/* Those of its targets that are pushed after the answer; at most PUSH_VALUE_MAX bytes, owned
 * (free()). */
size_t push_value(const struct push *push, uint8_t **value);

/* What it gives is owned: push_deinit(). ERR_STORE. */
enum errc push_decode(struct kv_slice key, struct kv_slice value, struct push *out,
                      struct error *err);

#endif
