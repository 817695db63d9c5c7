/*
 * The keys with which the gateway signs its own tokens: private keys, so they are nowhere but in
 * the metadata (mode 0600, as all of it), in copies of them (store/backup.h), and in the memory of
 * who signs.
 *
 * The store only keeps them: which one signs, and how long one counts, is the signer's
 * (gateway/access/token_keys.h). Any thread. Errors: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_SIGNING_KEYS_H
#define SLIPWAY_STORE_SIGNING_KEYS_H

#include "store/store.h"

#define SIGNING_KEY_ID_MAX 33 /* with the NUL */
#define SIGNING_KEY_SECRET 32 /* bytes: an Ed25519 private key (RFC 8032) */
#define SIGNING_KEYS_MAX 16   /* that are read */

struct signing_key {
    char id[SIGNING_KEY_ID_MAX]; /* what tokens name it by */
    uint64_t created_s;          /* seconds since the epoch */
    unsigned char secret[SIGNING_KEY_SECRET];
};

struct signing_keys {
    struct signing_key items[SIGNING_KEYS_MAX];
    size_t count;
};

/* All of them, the oldest first; wiped by signing_keys_wipe(). A record that cannot be read is left
 * out, and logged: what it signed does not count any more, and everybody else goes on. */
enum errc signing_keys_get(struct store *store, struct signing_keys *out, struct error *err);
void signing_keys_wipe(struct signing_keys *keys);

/* In one change, on the disk when it returns: `made` is kept, those of these ids go. */
enum errc signing_keys_change(struct store *store, const struct signing_key *made,
                              const char *const *gone, size_t gone_count, struct error *err);

#endif
