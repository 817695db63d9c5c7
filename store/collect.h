/*
 * Collection: what nobody needs any more goes, with its bytes.
 *
 * What is needed. A blob is held as long as something that has a name needs it: a manifest of a
 * repository, a push that has not come to its end (recorded, or running), an open batch, or a name
 * that an archive brought, while it is kept (below). Liveness is for each digest over all of them.
 * Beside that whatever made a client believe that a blob is there
 * is a lease on it: each call of the store that says so (an upload, HEAD, a mount, a layer that
 * need not be sent) keeps it for `grace_s` from then on.
 *
 * - A manifest of a repository is held while a tag names it, an index that is held has it as a
 *   member, or it refers to one that is held. What only a digest names is held, too, unless
 *   `untagged_s` says for how long. One whose subject is not there is held for the grace.
 * - A tag is held unless a rule is for its repository and none keeps it; it goes with its manifest.
 *   No tag goes before its push has come to its end.
 * - That a blob is in a repository is forgotten when no manifest of the repository needs it and
 *   nobody has asked for it there in the grace.
 * - What archives brought, and digests that were pushed, are a cache (store/references.h): the
 *   youngest names are kept, as far as `cache_bytes` and `cache_s` allow.
 *
 * Two phases. What is not needed is marked, in changes of a bounded size; then all that is marked
 * is looked at again, and its record goes in a durable change, and only then its bytes. A use in
 * between takes the mark away in its own change. A crash may leave a file without a record, never a
 * record without its bytes.
 *
 * No step reads or writes for long; memory grows with 16 to 32 bytes for each blob that is needed.
 * One collection at a time, and none during a backup (store/backup.h): ERR_COLLECTING. Each thing
 * that goes is logged with its reason.
 */
#ifndef SLIPWAY_STORE_COLLECT_H
#define SLIPWAY_STORE_COLLECT_H

#include "base/cancel.h"
#include "image/digest.h"
#include "image/reference.h"
#include "image/repository_name.h"
#include "store/store.h"

#define COLLECT_RULES_MAX 64
#define COLLECT_LAST_MAX 10000
#define COLLECT_FOREVER INT64_MAX
#define COLLECT_ITEMS_MAX 1000

/* A rule for the repositories whose name matches: which tags it keeps. */
struct keep_rule {
    const char *match; /* a pattern of repositories */
    const char *tags;  /* a pattern of tags; NULL: all. Only of those does what follows keep */
    unsigned last;     /* so many that were put last; 0: it does not say */
    int64_t age_s;     /* those that were put since; 0: it does not say */
};

struct collect_options {
    int64_t grace_s;      /* at least 1 */
    int64_t untagged_s;   /* what only a digest names is held for so long; COLLECT_FOREVER */
    uint64_t cache_bytes; /* UINT64_MAX: any number */
    int64_t cache_s;      /* COLLECT_FOREVER: for ever */
    const struct keep_rule *rules; /* a rule that says neither `last` nor `age_s` keeps all */
    size_t rule_count;
    /* Does the pattern match the whole of the name? */
    bool (*matches)(const char *pattern, const char *name);
    bool dry_run; /* nothing is changed */
    const struct cancel *cancel;
};

/* What goes, or stays, and why. */
enum collect_kind { COLLECT_BLOB, COLLECT_MANIFEST, COLLECT_TAG, COLLECT_NAME };
struct collect_item {
    enum collect_kind kind;
    bool goes;
    char name[REFERENCE_NAME_MAX + 1]; /* repository, or "host/path" of a name; "" for a blob */
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    uint64_t bytes; /* of a blob that goes */
    char why[96];
};

struct collect_count {
    uint64_t blobs, bytes;
};

struct collect_report {
    struct collect_count held;   /* before */
    struct collect_count needed; /* of them */
    struct collect_count leased; /* not needed, but asked for within the grace */
    struct collect_count gone;
    uint64_t tags, manifests, names; /* that went */
    uint64_t members;                /* blobs that are not in a repository any more */
    uint64_t records;                /* of layers and referrers that led nowhere */
    uint64_t unreadable;             /* manifests whose parts nobody can tell: their repositories
                                        keep all */
    bool waits; /* nothing is marked: a crash, or a flood, may have cost leases */
    uint64_t waits_until_s;
    struct collect_item *items; /* owned; the fate of each tag that a rule is for, and what goes */
    size_t item_count;
    size_t item_capacity;
    bool more; /* than COLLECT_ITEMS_MAX */
};
void collect_report_deinit(struct collect_report *report);

/* `out` is to be deinited, also on failure: what went before it has gone. ERR_COLLECTING,
 * ERR_CANCELLED, ERR_STORE, ERR_STORE_FULL, ERR_IO. */
enum errc store_collect(struct store *store, const struct collect_options *options,
                        struct collect_report *out, struct error *err);

/* Write the leases that are in memory only: now and then, so that a crash costs few. */
enum errc store_write_leases(struct store *store, struct error *err);

/* The blob, and what it needs if it is a manifest, is held until it is let go of as many times.
 * May wait for the end of a step of a collection. */
void store_hold(struct store *store, const struct digest *digest);
void store_let_go(struct store *store, const struct digest *digest);

#endif
