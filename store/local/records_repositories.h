/*
 * Keys and values of the tables that the registry front has; the layouts
 * are in store/local/records.h, with all others.
 *
 * Names and tags that are given to make a key are at most REPOSITORY_NAME_MAX and REFERENCE_TAG_MAX
 * bytes, and not empty: asserted; repository_name_fits() and tag_fits() tell. Only the two "ends",
 * where a list is to go on, take any text.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_FRONT_H
#define SLIPWAY_STORE_LOCAL_RECORDS_FRONT_H

#include "store/local/records.h"
#include "store/repositories.h"

/* All records of the repository have this prefix in each of its tables. */
struct record_key repository_prefix(const char *repository);
/* Behind all records of the repository `name` and before those of any greater name; only so much of
 * it is used as a name can have. */
struct record_key repository_end(const char *name);
/* KV_MEMBERS, KV_MANIFESTS. */
struct record_key repository_digest_key(const char *repository, const struct digest *digest);
/* KV_HOLDERS; blob_key() is the prefix of all holders of a blob. */
struct record_key holder_key(const struct digest *digest, const char *repository);
struct record_key tag_key(const char *repository, const char *tag);
/* A key in KV_TAGS that is behind all tags up to `tag`, which may be any text. */
struct record_key tag_end(const char *repository, const char *tag);
struct record_key referrers_prefix(const char *repository, const struct digest *subject);
struct record_key referrer_key(const char *repository, const struct digest *subject,
                               const struct digest *referrer);
/* A key in KV_REFERRERS that is behind this one and before the next. */
struct record_key referrer_end(const char *repository, const struct digest *subject,
                               const struct digest *referrer);
struct record_key session_key(const char *id);

/* What a manifest's record holds beside its key. */
struct manifest_record {
    struct repository_manifest manifest;
    uint64_t put_s;
    uint64_t put_number;   /* of the same numbers as push ids: no two puts have the same. Below
                              MANIFEST_NUMBER_MIN: none, of a store from before there were any */
    struct digest subject; /* DIGEST_NONE: refers to none */
};

#define MANIFEST_NUMBER_MIN ((uint64_t)1 << 32)
/* Greater of what was put later, whatever the clock said: store/repositories.h. */
uint64_t manifest_number(const struct manifest_record *record);

/* Of KV_MEMBERS: when somebody was told last that it is there. */
struct record_value member_value(uint64_t used_s);
/* Of KV_HOLDERS: being there is all. */
struct record_value holder_value(void);
struct record_value manifest_value(const struct manifest_record *record);
struct record_value tag_value(const struct digest *manifest);

struct session_record {
    uint64_t created_s;
    char repository[REPOSITORY_NAME_MAX + 1];
};
struct record_value session_value(const struct session_record *record);

/* Decoding copies. ERR_STORE names the table. */

/* The name in a key of KV_MANIFESTS or KV_MEMBERS, and its digest. */
enum errc repository_digest_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                                   struct digest *digest, struct error *err);
/* 0 where it does not say. */
enum errc member_decode(struct kv_slice value, uint64_t *used_s, struct error *err);
/* The repository that holds it. */
enum errc holder_name_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                             struct error *err);
enum errc holder_decode(struct kv_slice key, struct digest *digest, struct error *err);
enum errc manifest_decode(struct kv_slice key, struct kv_slice value, struct manifest_record *out,
                          struct error *err);
enum errc tag_decode(struct kv_slice key, struct kv_slice value, char tag[REFERENCE_TAG_MAX + 1],
                     struct digest *manifest, struct error *err);
/* The one that is referred to. */
enum errc referrer_subject_decode(struct kv_slice key, struct digest *subject, struct error *err);
/* The digest of the manifest that refers. */
enum errc referrer_key_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                              struct digest *referrer, struct error *err);
enum errc session_decode(struct kv_slice value, struct session_record *out, struct error *err);

/* A referrer's descriptor as a value, owned (free()), and back as owned text. */
size_t descriptor_value(const char *descriptor, uint8_t **value);
enum errc descriptor_decode(struct kv_slice value, char **descriptor, struct error *err);

#endif
