/*
 * Uploads to registries that have not ended: which session a blob was being sent in, so that the
 * next process goes on with it. A session that is not recorded any more, or whose record is old,
 * costs bytes that are sent twice, never more: the registry says how much of it there is.
 *
 * A Location may hold a secret in its query, as a password of this one session.
 *
 * Any thread. Beside the errors named: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_OPEN_UPLOADS_H
#define SLIPWAY_STORE_OPEN_UPLOADS_H

#include "image/digest.h"
#include "image/reference.h"
#include "store/store.h"

#include <stdint.h>

#define OPEN_UPLOAD_URL_MAX ((size_t)16384) /* longer ones are not recorded */

struct open_upload {
    /* which it is */
    char source[REFERENCE_NAME_MAX + 1]; /* "host/path" of the repository */
    struct digest digest;                /* of the blob */
    char
        hmac[HMAC_HEX_SIZE + 1]; /* whose it is: upstream/auth/location_hmac.h; "" when anonymous */
    /* where it is */
    uint64_t at_s;        /* when that was recorded, seconds since the epoch */
    uint64_t offset;      /* bytes that the registry acknowledged by then */
    uint64_t chunk_least; /* OCI-Chunk-Min-Length */
    char *endpoint;       /* owned: base URL of the endpoint that opened it */
    char *location;       /* owned: where its next request goes */
};

void open_upload_deinit(struct open_upload *upload);
void open_upload_copy(const struct open_upload *from, struct open_upload *to);
/* They are the same one, wherever it is. */
bool open_upload_same(const struct open_upload *a, const struct open_upload *b);

/* Write where each is; one without a location has ended, and its record goes. In one change, not
 * durable, and refused first when much is to be written. */
enum errc open_uploads_write(struct store *store, const struct open_upload *uploads, size_t count,
                             struct error *err);

/* Fill in where `upload` is; *found false, nothing filled in, when it is not recorded. */
enum errc open_uploads_get(struct store *store, struct open_upload *upload, bool *found,
                           struct error *err);

/* Those that were recorded before `before_s`: at most `most` into `out`, each to be deinited. One
 * that cannot be read is passed over. */
enum errc open_uploads_older(struct store *store, uint64_t before_s, struct open_upload *out,
                             size_t most, size_t *count, struct error *err);

#endif
