/*
 * Is what the store holds what its records say? Every blob is read and hashed, every file looked
 * for in the records, every record held against the blobs and records that it is about.
 *
 * A check is made in steps, each of them short: at most CHECK_STEP_BYTES are hashed or some hundred
 * records read, in one transaction of its own. So a gateway goes on working meanwhile, and the
 * owner decides when the next step is made. While others use the store (`shared`), nothing is
 * called wrong that was seen once: what a change under way, or a collection, has half done is whole
 * a moment later. So each problem is looked at again CHECK_AGAIN_MS later, and a file without a
 * record counts only when it was not touched for CHECK_STRAY_AGE_S.
 *
 *     check_new, check_step until there are no more, check_free
 *
 * Repair never deletes bytes that somebody may want. Blobs with other bytes than their digest says
 * and records of manifests, tags and names that lead nowhere go to the quarantine
 * (store/quarantine.h); a file without a record whose bytes are right gets its record back, any
 * other goes to the quarantine; records that only repeat what others say are written or dropped as
 * those others say. Each record is changed in one change, together with what has to agree with it,
 * and only if nobody has changed it since it was judged.
 *
 * Threads: a check belongs to one thread at a time; any number of others may use the store.
 */
#ifndef SLIPWAY_STORE_CHECK_H
#define SLIPWAY_STORE_CHECK_H

#include "store/quarantine.h"

#define CHECK_STEP_BYTES ((size_t)4 << 20)
#define CHECK_AGAIN_MS 5000
#define CHECK_STRAY_AGE_S 60

#define CHECK_KIND_TABLE(X)                                                                        \
    X(CHECK_CORRUPT, "corrupt")       /* a blob's bytes are not those of its digest */             \
    X(CHECK_LOST, "lost")             /* a blob's record, and no file */                           \
    X(CHECK_STRAY, "stray")           /* a file, and no record */                                  \
    X(CHECK_UNREADABLE, "unreadable") /* a record that nobody can read */                          \
    X(CHECK_DANGLING, "dangling")     /* a record that leads to what is not held */                \
    X(CHECK_DISAGREES, "disagrees")   /* two records that have to agree and do not */              \
    X(CHECK_INCOMPLETE, "incomplete") /* a manifest or a push that lacks a part of its image */

enum check_kind {
    CHECK_WELL,
#define X(kind, name) kind,
    CHECK_KIND_TABLE(X)
#undef X
};

/* What was done about it. */
#define CHECK_ACTION_TABLE(X)                                                                      \
    X(CHECK_LEFT, "left") /* nothing: no repair was asked for, or none is possible */              \
    X(CHECK_QUARANTINED, "quarantined") /* moved, bytes and all */                                 \
    X(CHECK_DROPPED, "dropped")         /* a record that said nothing that is true any more */     \
    X(CHECK_MENDED, "mended")           /* right again */

enum check_action {
#define X(action, name) action,
    CHECK_ACTION_TABLE(X)
#undef X
};

const char *check_kind_name(enum check_kind kind);
const char *check_action_name(enum check_action action);

struct check_problem {
    enum check_kind kind;
    enum check_action action;
    char table[32];                 /* of a record; "" of a file */
    char name[QUARANTINE_NAME_MAX]; /* digest, name, id or path */
    char text[ERROR_TEXT_MAX];      /* what is wrong */
};

struct check_options {
    bool repair;
    bool shared;          /* others use the store */
    uint64_t bytes_per_s; /* hashed at most; 0: as fast as it goes */
    int64_t again_ms;     /* in place of CHECK_AGAIN_MS; 0: that */
    /* Called with each problem, on the thread of the step. Borrowed until it returns. */
    void (*found)(void *self, const struct check_problem *problem);
    /* May be NULL. The records of this push were mended, and are in the store: the queue may not
     * know of a target that is open. As found(). */
    void (*mended)(void *self, const char *push);
    void *self;
};

struct check_counts {
    uint64_t blobs;
    uint64_t bytes; /* hashed */
    uint64_t files;
    uint64_t records;
    uint64_t leftovers; /* records of layers whose blob was dropped to make room: no fault */
    uint64_t problems;
    uint64_t repaired; /* of them */
};

struct check;

/* `options` is copied. */
struct check *check_new(struct store *store, const struct check_options *options);
void check_free(struct check *check); /* at any time; NULL is a no-op */

/* The next step. *more false: it was the last. *wait_ms: the one after it is not to be made sooner.
 * An error ends the check: ERR_STORE, ERR_IO and the others of the store. */
enum errc check_step(struct check *check, bool *more, int64_t *wait_ms, struct error *err);

struct check_counts check_counts(const struct check *check);

#endif
