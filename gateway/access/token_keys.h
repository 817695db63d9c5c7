/*
 * The keys that the gateway signs its own tokens with: a ring of Ed25519 keys in the store.
 *
 * The youngest signs. One that is older than `period_s` gets a successor when something is to be
 * signed, and is then kept until all that it has signed has ended (`longest_s` after the successor
 * was made): so there are two at most times, and a rotation ends no token.
 *
 * Private keys are in the store and in here, and are wiped when they go.
 *
 * Lifecycle: token_keys_open() makes the first key where the store has none; token_keys_close()
 * when nobody uses it any more. Threads: any; a lock guards the ring, and is not held while the
 * store is written. token_keys_sign() may wait for the disk, so it is for jobs;
 * token_keys_verify() never blocks.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_TOKEN_KEYS_H
#define SLIPWAY_GATEWAY_ACCESS_TOKEN_KEYS_H

#include "gateway/access/jwt.h"
#include "store/store.h"

#define TOKEN_KEYS_PERIOD_S ((int64_t)30 * 24 * 3600)

struct token_keys;

/* `store` is borrowed until the close. Times are seconds. Errors of store/signing_keys.h. */
enum errc token_keys_open(struct store *store, int64_t period_s, int64_t longest_s, int64_t now_s,
                          struct token_keys **out, struct error *err);
void token_keys_close(struct token_keys *keys); /* NULL is a no-op */

/* A token of these claims, owned. A successor that cannot be stored is logged, and the old key goes
 * on. ERR_INTERNAL when OpenSSL cannot sign. */
enum errc token_keys_sign(struct token_keys *keys, int64_t now_s, const char *type,
                          const json_t *claims, char **token, struct error *err);

/* jwt_verify() with the keys of the ring, whatever `rules` has for keys and algorithms. */
enum errc token_keys_verify(struct token_keys *keys, const char *token,
                            const struct jwt_rules *rules, json_t **claims, enum jwt_check *failed,
                            struct error *err);

#endif
