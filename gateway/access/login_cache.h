/*
 * Passwords that were right a while ago: bcrypt costs 50 to 100 ms, and a push is dozens of
 * requests.
 *
 * What is kept of one is an HMAC-SHA256 of name and password under a key that was made for this
 * process and is in no file; for LOGIN_CACHE_MS, and only as long as the users are those against
 * which it was verified (`generation`, htpasswd.h). Of a proof of an identity provider it is kept
 * with whose it is, and for LOGIN_CACHE_PROOF_MS: so long it counts after its own end. There is
 * room for LOGIN_CACHE_MAX; where it is full the oldest of four goes.
 *
 * Threads: any; one lock inside, held for some comparisons. HTTP threads may ask.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_LOGIN_CACHE_H
#define SLIPWAY_GATEWAY_ACCESS_LOGIN_CACHE_H

#include "gateway/access/identity.h"

#define LOGIN_CACHE_MAX 1024
#define LOGIN_CACHE_MS (5 * 60 * 1000)
#define LOGIN_CACHE_PROOF_MS 10000

struct login_cache;

struct login_cache *login_cache_new(void);
void login_cache_free(struct login_cache *cache); /* NULL is a no-op */

/* `now_ms` is clock_ms(). */
bool login_cache_has(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms);
void login_cache_add(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms);

/* The same of a proof, by whatever name it was shown; *out is filled in. */
bool login_cache_find_proof(struct login_cache *cache, const char *proof, int64_t now_ms,
                            struct identity *out);
void login_cache_add_proof(struct login_cache *cache, const char *proof,
                           const struct identity *identity, int64_t now_ms);

#endif
