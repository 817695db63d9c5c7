/*
 * An upload session at a registry: where its next request goes and how much the registry has.
 * OCI distribution-spec, "Pushing a blob in chunks": every answer may carry another Location, and
 * the last one counts. It is followed under the rules of url_follow(); its query is kept as it
 * came.
 *
 * A session is opened by a POST, or by a mount that the registry answered with 202. It outlives the
 * connection and the attempt that opened it; it is part of an unfinished upload
 * (upstream/upload/upload.h), whose owner ends it.
 *
 * One thread at a time; a zeroed value is "none is open".
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_SESSION_H
#define SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_SESSION_H

#include "upstream/client/exchange.h"

/* A session that nobody knows cannot be taken back, so a stop waits so long for the answer of the
 * request that opens one. */
#define UPLOAD_OPEN_GRACE_MS 500

struct upload_session {
    struct url url;       /* owned; text NULL: none is open */
    uint64_t offset;      /* bytes the registry is believed to have */
    uint64_t chunk_least; /* OCI-Chunk-Min-Length; 0: none was named */
    bool doubted;         /* the registry's Range says something else than our count: */
    uint64_t said;        /* bytes that it named last */
};

bool upload_session_is_open(const struct upload_session *session);

/* A POST without a body, which opens a session or mounts; given a moment to end when it is
 * cancelled, so that no session stays open unknown. */
enum errc upload_session_post(struct registry_client *client, struct url *url,
                              struct http_response *response, struct error *err);

/* POST, end-4a; with what the blob's digest has, end-4c, where that is not sha256. Errors: those of
 * exchange(), what a refusal says, ERR_REGISTRY_ANSWER for an answer without a Location. */
enum errc upload_session_open(struct registry_client *client, enum digest_algorithm algorithm,
                              struct upload_session *session, struct error *err);

/* The session that `response`, the 202 answer of a POST to `url`, opened. `session` holds none.
 * ERR_REGISTRY_ANSWER when there is no Location, ERR_ADDRESS_REFUSED when it must not be followed.
 */
enum errc upload_session_begin(struct registry_client *client, const struct url *url,
                               const struct http_response *response, struct upload_session *session,
                               struct error *err);

/*
 * `response` accepted `sent` bytes more, sent to `url`: take in its Location. Our own count is what
 * is believed: of registries that store every byte some name the last chunk only in Range, some one
 * byte too many, some always the first chunk. The digest decides in the end; what Range said else
 * is noted, to be named when the digest does not fit.
 */
enum errc upload_session_sent(struct registry_client *client, const struct url *url,
                              const struct http_response *response, uint64_t sent,
                              struct upload_session *session, struct error *err);

/*
 * GET, end-13: ask how much of it the registry has; at most `size` can be. *known is false when the
 * registry does not know the session any more, refuses the question or does not say; then it is of
 * no more use. Errors, which leave the session as it was: those of exchange(), and what 408, 429
 * and 5xx say.
 */
enum errc upload_session_ask(struct registry_client *client, uint64_t size,
                             struct upload_session *session, bool *known, struct error *err);

/* Take it back: DELETE, whose answer is ignored; at most 2 s, and no stop applies. The session is
 * none afterwards; a no-op when it was none. */
void upload_session_cancel(struct repository *repository, struct upload_session *session);

/* Forget it without a word to the registry. */
void upload_session_drop(struct upload_session *session);

/* How many bytes a Range says are there: "0-N" and "bytes=0-N" are N + 1, "0--1" is none. "0-0" is
 * what some registries say for none, others for one: 0. False, *bytes untouched, for anything else,
 * NULL among it. */
bool upload_range_parse(const char *range, uint64_t *bytes);

#endif
