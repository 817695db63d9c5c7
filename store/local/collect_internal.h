/*
 * The parts of a collection (store/collect.h), in the order in which they work:
 *
 *     collect.c               leases are written; the parts one after another; what is reported
 *     collect_trace.c         a digest and all that it needs
 *     collect_roots.c         what is held, pushes, names of archives
 *     collect_repositories.c  the manifests and members of each repository (collect_repository.h)
 *     collect_rules.c         which tags the rules keep
 *     collect_sweep.c         marks, the sweep, and records that lead nowhere
 *
 * Whoever commits a record that needs a blob holds that blob, or was told of it, after the
 * collection began; or a root needed it before. So what is not in `live`, and was used last before
 * the beginning, is needed by nobody; and a step that deletes condemns first, and looks again.
 */
#ifndef SLIPWAY_STORE_LOCAL_COLLECT_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_COLLECT_INTERNAL_H

#include "store/collect.h"
#include "store/local/internal.h"
#include "store/local/live_set.h"
#include "store/local/records_repositories.h"

/* Records that are read in one step, which is one transaction. */
#define COLLECT_STEP 256

struct collection {
    struct store *store;
    const struct collect_options *options;
    struct collect_report *report;
    uint64_t now_s; /* when it began */
    uint64_t all_s; /* everything counts as leased then */
    struct live_set live;
    struct live_set pushed; /* needed by pushes and holds: no rule and no age is for them */
};

/* ---- steps ---- */

/* Look at the entry, in a transaction: nothing else is read or written meanwhile. */
typedef enum errc collect_look(void *self, const struct kv_txn *txn, struct kv_slice key,
                               struct kv_slice value, struct error *err);
/* After at most COLLECT_STEP entries, without a transaction. */
typedef enum errc collect_act(void *self, struct error *err);
struct collect_scan {
    enum kv_table table;
    struct kv_slice prefix; /* borrowed; size 0: all */
    collect_look *look;
    collect_act *act;
    void *self;
};
enum errc collect_each(struct collection *collection, const struct collect_scan *scan,
                       struct error *err);

/* Used so recently that it stays. */
bool collect_is_leased(const struct collection *collection, uint64_t used_s);

/* Submit a change that deletes what makes this digest believed in the repository ("": by a name of
 * none). *done false, and nothing happens, when it is held or was noted there, or the change is
 * superseded. In a dry run nothing happens, either. */
enum errc collect_submit(struct collection *collection, struct change *change,
                         const char *repository, const struct digest *digest, bool *done,
                         struct error *err);

/* For the tests: between two steps. */
void collect_point(const struct collection *collection, const char *point);

/* ---- what is told ---- */

struct collect_item *collect_tell(struct collection *collection, enum collect_kind kind, bool goes,
                                  const struct digest *digest);

/* ---- the parts ---- */

struct collect_tracing {
    struct collection *collection;
    struct live_set *set;
    const struct live_set *without; /* digests whose bytes do not count; NULL: none counts */
    uint64_t bytes;                 /* of what was added */
    bool unreadable;                /* a manifest could not be read */
};
/* Add the digest, and if it is a manifest what it needs. */
enum errc collect_trace(struct collect_tracing *tracing, const struct digest *digest,
                        struct error *err);

enum errc collect_pushes(struct collection *collection, struct error *err);
enum errc collect_cache(struct collection *collection, struct error *err);
enum errc collect_repositories(struct collection *collection, struct error *err);
enum errc collect_sweep(struct collection *collection, struct error *err);

/* Which rules are for a repository, and what each keeps of its tags. */
struct keep_ruling {
    struct keep_state *rules; /* owned */
    size_t count;             /* 0: no rule is for it, so all is kept */
};
/* Of a tag: when its manifest was put, and manifest_number(), in the order of which the last ones
 * are found. */
struct keep_age {
    uint64_t put_s;
    uint64_t number;
};
void keep_ruling_init(struct keep_ruling *ruling, const struct collect_options *options,
                      const char *repository);
void keep_ruling_deinit(struct keep_ruling *ruling);
/* Each tag once, before the first keep_judge(). */
void keep_meet(struct keep_ruling *ruling, const struct collect_options *options, const char *tag,
               struct keep_age age);
/* Is it kept? `why` says by which rule. */
bool keep_judge(const struct keep_ruling *ruling, const struct collect_options *options,
                const char *tag, struct keep_age age, uint64_t now_s, char *why, size_t size);

/* ---- leases ---- */

/* At open and close: what a crash has cost is known by the record that stayed open. */
enum errc leases_open(struct store *store, struct error *err);
enum errc leases_close(struct store *store, struct error *err);

#endif
