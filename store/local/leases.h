/*
 * Who was told that a blob is there, and who is at work with one: in memory, between two changes.
 *
 * A note is a lease that is not written yet: its time becomes the blob's last use, and that of its
 * place in the repository, when the notes are written (leases_write() in store/local/collect.c).
 * Until that change is in, the note stays here, so one of both always says it. A note that finds no
 * room makes `all_s` the time to which everything counts as leased.
 *
 * A hold keeps a blob until it is let go of. What is about to be deleted is condemned first, if it
 * is neither held nor noted: of it nobody is told any more that it is there, and a hold waits until
 * that is over. So until the end of the deletion none can come.
 *
 * While a collection watches, nothing of this is forgotten: a hold that ends leaves a note, notes
 * stay when they are written, and one that finds no room makes leases_has() true of everything. So
 * what was used since the collection looked at its record is not condemned, of which somebody would
 * be told that it is not there.
 *
 * Threads: any. One lock; no I/O and no waiting under it but for the condemned.
 */
#ifndef SLIPWAY_STORE_LOCAL_LEASES_H
#define SLIPWAY_STORE_LOCAL_LEASES_H

#include "image/digest.h"
#include "image/repository_name.h"

#include <stdbool.h>
#include <stddef.h>

#define LEASES_MAX 16384
#define CONDEMNED_MAX 64

struct leases;

struct leases *leases_new(void);
void leases_free(struct leases *leases); /* NULL is a no-op */

/* False, and nothing is noted, for what is condemned: it is not there. `repository` is "" where it
 * is of none. */
bool leases_note(struct leases *leases, const char *repository, const struct digest *digest,
                 uint64_t now_s);

void leases_hold(struct leases *leases, const struct digest *digest);
void leases_let_go(struct leases *leases, const struct digest *digest);

struct lease {
    char repository[REPOSITORY_NAME_MAX + 1]; /* "": of none */
    struct digest digest;
    uint64_t at_s;
};
/* Some of the notes (at most `most`), none while a collection watches; they stay until
 * leases_written(). */
size_t leases_some(struct leases *leases, struct lease *out, size_t most);
/* These are written: they go, unless they were noted again since. */
void leases_written(struct leases *leases, const struct lease *written, size_t count);

/* Those that are neither held nor noted there, which `condemned` says, until leases_pardon(): in
 * this repository, or wherever they are (NULL). At most CONDEMNED_MAX at a time; `repository` is
 * borrowed until then. */
void leases_condemn(struct leases *leases, const char *repository, const struct digest *digests,
                    size_t count, bool condemned[]);
void leases_pardon(struct leases *leases);
/* From before the first look at a record to the end of a collection. */
void leases_watch(struct leases *leases);
void leases_unwatch(struct leases *leases);

/* It is held, or noted there, or as a blob of no repository. */
bool leases_has(struct leases *leases, const char *repository, const struct digest *digest);

/* The digests that are held, owned. */
size_t leases_held(struct leases *leases, struct digest **out);

/* What the clocks say now: of the wall, and the one that nobody sets (base/clock.h). When the
 * wall's has been set forward by more than LEASES_STEP_S since the last call, everything counts as
 * leased from now on: what was used a minute ago would look older than any grace. Set back, leases
 * last longer. To be called before leases are judged by their time. */
#define LEASES_STEP_S 30
void leases_see_clocks(struct leases *leases, uint64_t wall_s, int64_t steady_ms);

/* Everything counts as leased at this time; it only grows. */
uint64_t leases_all_s(struct leases *leases);
void leases_set_all_s(struct leases *leases, uint64_t all_s);

#endif
