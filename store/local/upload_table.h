/*
 * The upload sessions that there are, and the running SHA-256 of those that are between two
 * requests. In memory, loaded at open; what a session is on the disk is
 * store/local/blob_upload.c's.
 *
 * A slot stands for a session. It has one holder at a time; who wants it asks the holder and those
 * who came before it whether they give way, and waits. Of those who did not, the oldest gets it.
 *
 * Sessions are counted in all, for each repository and for each client (struct upload_limits).
 * Where a limit is met, the oldest session there that nobody has asked for since it was begun, and
 * that is older than `yield_ms`, gives way to a new one.
 *
 * Times are of the monotonic clock, and begin anew when a store is opened.
 *
 * Threads: any. One lock guards the table; no I/O and no callback under it. A slot's public members
 * are its holder's.
 *
 * Limits: running digests are kept for at most UPLOAD_DIGESTS_MAX sessions that nobody holds; what
 * is beyond it is hashed again from its file.
 */
#ifndef SLIPWAY_STORE_LOCAL_UPLOAD_TABLE_H
#define SLIPWAY_STORE_LOCAL_UPLOAD_TABLE_H

#include "store/local/upload_slot.h"
#include "store/store_local.h"

#define UPLOAD_DIGESTS_MAX 4096

struct upload_table;

/* `limits` is copied. */
struct upload_table *upload_table_new(const struct upload_limits *limits);
/* Nobody holds or wants a slot any more. NULL is a no-op. */
void upload_table_free(struct upload_table *table);

/* A new session, held. `client` may be "": it is not known. *yields, NULL where none has to, is
 * another session that is to be ended for it; held, too. ERR_TOO_MANY. */
enum errc upload_table_add(struct upload_table *table, const char *id, const char *repository,
                           const char *client, struct upload_slot **out,
                           struct upload_slot **yields, struct error *err);

/* A session that was there before the store was opened: of no client, whatever the limits. */
void upload_table_load(struct upload_table *table, const char *id, const char *repository);

/* Is there such a session? `id` is any text. */
bool upload_table_has(struct upload_table *table, const char *id);

/* A request for the session has come, so it does not give way any more; its time to expire goes on
 * until somebody holds it. False when there is none in this repository; `id` is any text. */
bool upload_table_touch(struct upload_table *table, const char *repository, const char *id);

/* Become the holder. `overtaken` (may be NULL) is copied. ERR_NO_UPLOAD when there is no such
 * session in the repository, or it has ended meanwhile; ERR_UPLOAD_BUSY when those before it do not
 * let go in `wait_ms`, or it gave way to somebody younger. */
enum errc upload_table_take(struct upload_table *table, const char *repository, const char *id,
                            const struct overtaken *overtaken, int64_t wait_ms,
                            struct upload_slot **out, struct error *err);

/* A session that nobody holds or wants and that had no request since `since_ms` (clock_ms()), the
 * one that is idle for the longest time, held now. NULL: none. */
struct upload_slot *upload_table_take_idle(struct upload_table *table, int64_t since_ms);

/* Let go. Returns after a call of the holder's `overtaken` that is under way has ended. */
void upload_table_release(struct upload_table *table, struct upload_slot *slot);
/* The same, and the session is over. */
void upload_table_end(struct upload_table *table, struct upload_slot *slot);

/* Forget the digest: the bytes it is of are gone. The holder's. */
void upload_slot_reset(struct upload_slot *slot);

/* ERR_NO_UPLOAD, with both named. */
enum errc upload_fail_unknown(const char *repository, const char *id, struct error *err);

#endif
