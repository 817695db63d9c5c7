/*
 * The key with which this store signs, made when it is first asked for and kept from then on, so
 * that clients that pull see one signer.
 *
 * The store only keeps it: what a key is, its maker knows. Any thread.
 */
#ifndef SLIPWAY_STORE_TRUST_KEY_H
#define SLIPWAY_STORE_TRUST_KEY_H

#include "store/store.h"

#define TRUST_KEY_NAME "trust_key.pem" /* of the file in a data folder */
#define TRUST_KEY_LIMIT_BYTES ((size_t)64 << 10)

/* The key's text, owned: wipe it before free(). `make` gives a new key's text, likewise owned; it
 * is called when there is none. When several ask at once, all get the same. It is
 * durable when this returns. ERR_IO, ERR_NO_SPACE, those of `make`. */
enum errc trust_key_get(struct store *store, enum errc (*make)(char **text, struct error *err),
                        char **text, struct error *err);

#endif
