/*
 * Callers whose name and password were found to be right a moment ago: a push is dozens of
 * requests, and each of them shows both, also where the password is an identity provider's token.
 *
 * What is kept of them is an HMAC under a key of this process, for CALLER_CACHE_MS: so long a user
 * that was taken out, or a changed password, may go on. Those who verify have caches of their own,
 * so asking them again is cheap. One more than CALLER_CACHE_MAX takes the place of one of a few.
 *
 * Threads: any; one lock inside, held for a look.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CALLER_CACHE_H
#define SLIPWAY_GATEWAY_ACCESS_CALLER_CACHE_H

#include "gateway/access/caller.h"

#define CALLER_CACHE_MAX 1024
#define CALLER_CACHE_MS 2000

struct caller_cache;

struct caller_cache *caller_cache_new(void);
void caller_cache_free(struct caller_cache *cache); /* NULL is a no-op */

/* A reference, or NULL. `now_ms` is clock_ms(). */
struct caller *caller_cache_find(struct caller_cache *cache, const char *name, const char *password,
                                 int64_t now_ms);
/* Takes a reference of its own. */
void caller_cache_add(struct caller_cache *cache, const char *name, const char *password,
                      struct caller *caller, int64_t now_ms);
/* After a change of what they were verified by. */
void caller_cache_clear(struct caller_cache *cache);

#endif
