/*
 * One repository of a collection (store/local/collect_internal.h), for those that collect in it:
 *
 *     collect_repositories.c  one repository after another; members, and lists of referrers
 *     collect_tags.c          which tags go
 *     collect_manifests.c     which manifests go, and what those that stay need
 */
#ifndef SLIPWAY_STORE_LOCAL_COLLECT_REPOSITORY_H
#define SLIPWAY_STORE_LOCAL_COLLECT_REPOSITORY_H

#include "store/local/collect_internal.h"

/* A manifest, with the tag by which it was found, as its records were. */
struct collect_found {
    struct manifest_record manifest;
    bool has_manifest;
    char tag[REFERENCE_TAG_MAX + 1];
    char why[96];
    bool kept;
};

struct collect_repository {
    struct collection *collection;
    char name[REPOSITORY_NAME_MAX + 1];
    struct record_key prefix;
    struct keep_ruling ruling;
    struct live_set live;   /* needed by a manifest of this repository that is held */
    struct live_set tagged; /* manifests that a tag which is kept names */
    struct live_set going;  /* those of tags that go */
    struct collect_tracing tracing;
    struct collect_found items[COLLECT_STEP];
    size_t count;
    struct digest members[COLLECT_STEP];
    uint64_t members_used_s[COLLECT_STEP];
    struct change change;
    bool last_round; /* of those that refer to another */
    bool again;      /* something that was to go has to stay, with what it needs */
};

/* ---- collect_repositories.c ---- */

/* Those of its records in the table; `look` and `act` get the repository. */
enum errc collect_repository_scan(struct collect_repository *repository, enum kv_table table,
                                  collect_look *look, collect_act *act, struct error *err);
enum errc collect_nothing(void *self, struct error *err);

/* ---- collect_tags.c ---- */

/* Into `tagged` and `going`; which are kept by a rule is told. */
enum errc collect_tags_sort(struct collect_repository *repository, struct error *err);
/* Those in `going`, each with its manifest unless that is in `live`. */
enum errc collect_tags_drop(struct collect_repository *repository, struct error *err);

/* ---- collect_manifests.c ---- */

/* Add to `live` what is held for its own sake, and what that needs. */
enum errc collect_manifests_trace(struct collect_repository *repository, struct error *err);
/* Those that refer to what is held, and those that refer to them. */
enum errc collect_referrers_trace(struct collect_repository *repository, struct error *err);
/* Those that are not in `live`. */
enum errc collect_manifests_drop(struct collect_repository *repository, struct error *err);

enum errc collect_manifest_get(const struct collect_repository *repository,
                               const struct kv_txn *txn, const struct digest *digest, bool *found,
                               struct manifest_record *out, struct error *err);
/* When it was put or asked for last. */
enum errc collect_manifest_used(const struct kv_txn *txn, const struct manifest_record *manifest,
                                uint64_t *used_s, struct error *err);
void collect_expect_and_delete(struct change *change, enum kv_table table,
                               const struct record_key *key, const struct record_value *value);
void collect_manifest_delete(const struct collect_repository *repository,
                             const struct collect_found *found, struct change *change);
void collect_manifest_tell(const struct collect_repository *repository,
                           const struct collect_found *found);
/* One that was used meanwhile stays, with what it needs: *done false. */
enum errc collect_manifest_submit(struct collect_repository *repository,
                                  const struct collect_found *found, struct change *change,
                                  bool *done, struct error *err);

#endif
