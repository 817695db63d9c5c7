/*
 * The gateway's own tokens (distribution docs/spec/auth/jwt.md): signed, so that nothing is kept of
 * them. Two kinds, which are never taken for each other (the header's `typ`):
 * - access tokens, with what they are for and whose they are. What their owner may do is asked of
 *   the policy with each request all the same; a request that began while its token was valid ends.
 * - refresh tokens, with which their owner gets access tokens. They bring the fingerprint of what
 *   was shown at the login (gateway/access/sources.h), which the source is asked to confirm.
 *
 * Both say who issued them (the store's id) and for which service. Times are seconds since the
 * epoch. Threads: any; token_make() is for jobs (gateway/access/token_keys.h).
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_TOKEN_H
#define SLIPWAY_GATEWAY_ACCESS_TOKEN_H

#include "gateway/access/scope.h"
#include "gateway/access/sources.h"
#include "gateway/access/token_keys.h"

#define TOKEN_TTL_S ((int64_t)3600) /* of access tokens, by default: a push ends before it does */
#define TOKEN_LOGIN_S ((int64_t)30 * 24 * 3600) /* of refresh tokens, and of all of one login */
#define TOKEN_LEEWAY_S 5                        /* for a clock that was set back */

/* What tokens are made and read with; all borrowed. */
struct token_issuer {
    struct token_keys *keys;
    const char *issuer;  /* "slipway:" and the store's id */
    const char *service; /* as the challenge says it */
};

enum token_kind { TOKEN_ACCESS, TOKEN_REFRESH };

/* token_deinit() frees what it has. */
struct token {
    enum token_kind kind;
    struct identity identity;
    struct scopes scopes; /* of an access token: what was granted; empty: it only says who it is */
    char fingerprint[FINGERPRINT_MAX]; /* of a refresh token */
    int64_t issued_s;
    int64_t expires_s;
    char id[33]; /* its jti; made by token_make() */
};

void token_deinit(struct token *token);
#define autotoken __attribute__((cleanup(token_deinit)))

/* The signed text, owned; token->id is filled in. Errors of token_keys_sign(). */
enum errc token_make(const struct token_issuer *issuer, struct token *token, char **text,
                     struct error *err);

/* A token of this kind that counts now. ERR_UNAUTHENTICATED says which check failed. */
enum errc token_read(const struct token_issuer *issuer, enum token_kind kind, const char *text,
                     int64_t now_s, struct token *out, struct error *err);

#endif
