/*
 * An upload session at a registry: where its next request goes.
 * OCI distribution-spec, "Pushing a blob in chunks": every answer may carry another Location, and
 * the last one counts. It is followed under the rules of url_follow(); its query is kept as it
 * came.
 *
 * A session is opened by a POST, or by a mount that the registry answered with 202. Whoever holds
 * one gives it to upload_blob() or cancels it.
 *
 * One thread at a time; a zeroed value is "none is open".
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_SESSION_H
#define SLIPWAY_UPSTREAM_UPLOAD_SESSION_H

#include "upstream/exchange.h"

struct upload_session {
    struct url url; /* owned; text NULL: none is open */
};

bool upload_session_is_open(const struct upload_session *session);

/* POST, end-4a. Errors: those of exchange(), what a refusal says, ERR_REGISTRY_ANSWER for an answer
 * without a Location. */
enum errc upload_session_open(struct registry_client *client, struct upload_session *session,
                              struct error *err);

/* The session that `response`, the 202 answer of a POST to `url`, opened. `session` holds none.
 * ERR_REGISTRY_ANSWER when there is no Location, ERR_ADDRESS_REFUSED when it must not be followed.
 */
enum errc upload_session_begin(struct registry_client *client, const struct url *url,
                               const struct http_response *response, struct upload_session *session,
                               struct error *err);

/* Take it back: DELETE, whose answer is ignored; at most 2 s, and also when the client is stopped.
 * The session is none afterwards; a no-op when it was none. */
void upload_session_cancel(const struct registry_client *client, struct upload_session *session);

/* Forget it without a word to the registry. */
void upload_session_drop(struct upload_session *session);

#endif
