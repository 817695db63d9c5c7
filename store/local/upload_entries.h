/*
 * The inside of the table of upload sessions (upload_table.h): what there is, and whether there is
 * room for another one. All of it with the table's lock.
 *
 *     upload_table.c    who holds a slot, who waits for it
 *     upload_entries.c  sessions, and the repositories and clients that they count for
 *     upload_room.c     the limits, and who gives way
 */
#ifndef SLIPWAY_STORE_LOCAL_UPLOAD_ENTRIES_H
#define SLIPWAY_STORE_LOCAL_UPLOAD_ENTRIES_H

#include "store/local/upload_slot.h"
#include "store/store_local.h"

#include <pthread.h>
#include <sys/queue.h>

#define UPLOAD_BUCKETS 4096

/* Who wants a slot, on the stack of its thread, or has it. */
struct upload_request {
    struct upload_request *younger;
    struct overtaken overtaken;
    bool asked;     /* whether it gives way */
    bool calling;   /* the question is under way */
    bool gives_way; /* it said so */
};

/* A repository or a client that has sessions. */
struct upload_owner {
    struct upload_owner *next;
    size_t count;
    char name[];
};

struct upload_owners {
    struct upload_owner *buckets[UPLOAD_BUCKETS];
};

struct upload_entry {
    struct upload_slot slot;
    struct upload_entry *next;
    TAILQ_ENTRY(upload_entry)
    link; /* of those that are not over; idle for the longest time first */
    struct upload_owner *repository;
    struct upload_owner *client; /* NULL: not known */
    int64_t used_ms;
    bool untouched; /* nobody has asked for it since it was begun */
    bool over;
    bool held;
    struct upload_request holder;
    struct upload_request *waiting; /* oldest first */
    bool remembered;                /* counted among the table's digests */
};

struct upload_table {
    struct upload_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct upload_entry *buckets[UPLOAD_BUCKETS];
    TAILQ_HEAD(upload_entry_list, upload_entry) sessions;
    size_t count;
    struct upload_owners repositories;
    struct upload_owners clients;
    size_t digests; /* of slots that nobody holds */
};

/* ---- upload_entries.c ---- */

/* NULL: it has no sessions. */
struct upload_owner *upload_owner_find(const struct upload_owners *owners, const char *name);

/* A session that is not over; NULL: there is none, or none in this repository. */
struct upload_entry *upload_entry_find(const struct upload_table *table, const char *id);
struct upload_entry *upload_entry_find_in(const struct upload_table *table, const char *repository,
                                          const char *id);
/* Owned by the table. `client` may be "". */
struct upload_entry *upload_entry_add(struct upload_table *table, const char *id,
                                      const char *repository, const char *client);
/* It has had a request now. */
void upload_entry_use(struct upload_table *table, struct upload_entry *entry);
/* The session is over; the entry stays as long as somebody holds or wants it. */
void upload_entry_end(struct upload_table *table, struct upload_entry *entry);
/* One that is over goes. */
void upload_entry_unlink(struct upload_table *table, struct upload_entry *entry);
/* Of a table that goes with all of its entries. */
void upload_entry_free(struct upload_entry *entry);
/* Nobody holds or wants it. */
bool upload_entry_is_free(const struct upload_entry *entry);

/* ---- upload_room.c ---- */

/* *yields: who has to end for a new session, NULL: nobody. ERR_TOO_MANY. */
enum errc upload_table_make_room(const struct upload_table *table, const char *repository,
                                 const char *client, struct upload_entry **yields,
                                 struct error *err);

#endif
