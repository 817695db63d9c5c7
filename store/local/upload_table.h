/*
 * Which upload sessions are in use, and the running SHA-256 of those that are between two requests.
 * In memory; what a session is on the disk is store/local/blob_upload.c's.
 *
 * A slot stands for a session. It has one holder at a time; who wants it asks the holder and those
 * who came before it whether they give way, and waits. Of those who did not, the oldest gets it.
 *
 * Threads: any. One lock guards the table; no I/O and no callback under it. A slot's public members
 * are its holder's.
 *
 * Limits: running digests are kept for at most UPLOAD_DIGESTS_MAX sessions that nobody holds; what
 * is beyond it is hashed again from its file.
 */
#ifndef SLIPWAY_STORE_LOCAL_UPLOAD_TABLE_H
#define SLIPWAY_STORE_LOCAL_UPLOAD_TABLE_H

#include "image/digest.h"
#include "store/blob_upload.h"

#define UPLOAD_DIGESTS_MAX 4096

struct upload_table;

struct upload_slot {
    struct digester *sha256; /* of the session's first `hashed` bytes; NULL: not known */
    uint64_t hashed;
};

struct upload_table *upload_table_new(void);
/* Nobody holds or wants a slot any more. NULL is a no-op. */
void upload_table_free(struct upload_table *table);

/* Become the holder. `overtaken` (may be NULL) is copied. ERR_UPLOAD_BUSY when those before it do
 * not let go in `wait_ms`, or it gave way to somebody younger. */
enum errc upload_table_take(struct upload_table *table, const char *id,
                            const struct overtaken *overtaken, int64_t wait_ms,
                            struct upload_slot **out, struct error *err);

/* The same for who does not disturb: NULL when it is held or wanted. */
struct upload_slot *upload_table_try(struct upload_table *table, const char *id);

/* Let go. Returns after a call of the holder's `overtaken` that is under way has ended. */
void upload_table_release(struct upload_table *table, struct upload_slot *slot);

/* Forget the digest: the bytes it is of are gone. The holder's. */
void upload_slot_reset(struct upload_slot *slot);

#endif
