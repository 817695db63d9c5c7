/*
 * Bearer tokens that are held, and their single flight: while one thread fetches a token, others
 * that need the same one wait for it instead of fetching too, and share its failure (five layers
 * must not offer a wrong password five times).
 *
 * A token is kept under a key that its user makes of scope and credentials. At most TOKENS_MAX are
 * kept; those that expired, then the one that expires first, make room.
 *
 * Threads: any; one lock inside, never held during a fetch. A wait ends with its cancel.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_TOKENS_H
#define SLIPWAY_UPSTREAM_AUTH_TOKENS_H

#include "base/cancel.h"

#define TOKENS_MAX 256

struct tokens;

struct token {
    char *text;            /* owned: secret_free */
    int64_t expires_at_ms; /* clock_ms() */
};

/* How a token is got when there is none; called on the thread that asked, without a lock. */
struct token_fetch {
    enum errc (*run)(void *self, struct token *out, struct error *err);
    void *self;
};

struct tokens *tokens_new(void);
void tokens_free(struct tokens *tokens); /* no call may be running */

/* A token that is good for at least `least_ms` more, or one just fetched; *text owned: secret_free.
 * Errors: those of the fetch; ERR_CANCELLED. */
enum errc tokens_get(struct tokens *tokens, const char *key, int64_t least_ms,
                     struct cancel *cancel, const struct token_fetch *fetch, char **text,
                     struct error *err);

/* The registry refused this token: forget it, unless another one is there already. */
void tokens_drop(struct tokens *tokens, const char *key, const char *text);

#endif
