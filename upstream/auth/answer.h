/*
 * What a registry says when it refuses, in words; what it means is upstream/auth/verdict.h.
 * OCI distribution-spec, "Error Codes": {"errors":[{"code","message","detail"}]}. Registries also
 * send errors as plain strings, a lone {"message"} or {"error"}, HTML pages and plain text; the
 * first sentence of any of them is better than none.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_ANSWER_H
#define SLIPWAY_UPSTREAM_AUTH_ANSWER_H

#include "net/transport.h"
#include "upstream/auth/credentials.h"

#define ANSWER_LIMIT_BYTES ((size_t)4 << 10) /* of an error document */

struct answer {
    char code[64];     /* "DENIED"; "" when the answer has none */
    char message[400]; /* one printable line; "" when the answer says nothing */
    bool registry;     /* it has the form of a registry's */
};

/* Any body; never fails. Nothing in it is a secret of the request (net/http_text.h). */
void answer_read(const struct http_response *response, struct answer *out);

/* Add to `err` which user was refused at `host`, that it is slipway's and no client's, and what
 * mends it. Never a secret. */
void answer_explain_credentials(const char *host, const struct registry_credentials *credentials,
                                struct error *err);

/* The same behind the reason, for a refusal that may be about something else: a 403 that asks for
 * no credentials, where none are known. */
void answer_mention_credentials(const char *host, struct error *err);

#endif
