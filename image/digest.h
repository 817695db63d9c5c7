/*
 * Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`.
 *
 * Implements the digest grammar of the OCI image specification, descriptor.md, "Digests", for the
 * two registered algorithms. Hex is lower case; upper case is refused, as the specification asks.
 *
 * `struct digest` is a plain value. A digester belongs to one thread at a time.
 */
#ifndef SLIPWAY_IMAGE_DIGEST_H
#define SLIPWAY_IMAGE_DIGEST_H

#include "base/error.h"

#include <stdint.h>

/* The numbers are stored on disk: never change them. */
enum digest_algorithm { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

#define DIGEST_BYTES_MAX 64
#define DIGEST_TEXT_MAX 136 /* "sha512:" + 128 hex + NUL */
#define DIGEST_SHORT_MAX 13 /* first 12 hex + NUL, the id in progress messages */

struct digest {
    enum digest_algorithm algorithm; /* DIGEST_NONE in a zeroed value: "no digest" */
    uint8_t bytes[DIGEST_BYTES_MAX]; /* unused tail is zero */
};

/* 32, 64, or 0 for DIGEST_NONE. */
size_t digest_size(enum digest_algorithm algorithm);
const char *digest_algorithm_name(enum digest_algorithm algorithm);
/* DIGEST_NONE for what is no name. */
enum digest_algorithm digest_algorithm_find(const char *name);

/* Text to value. ERR_DIGEST_INVALID quotes the text (shortened); NULL, "no text", is that too. */
enum errc digest_parse(const char *text, struct digest *out, struct error *err);

/* The same from an algorithm name ("sha256") and hex given apart, as in `blobs/sha256/<hex>`. */
enum errc digest_parse_parts(const char *algorithm, const char *hex, struct digest *out,
                             struct error *err);

/* Value to text; returns `text`. The digest must not be DIGEST_NONE. */
const char *digest_text(const struct digest *digest, char text[DIGEST_TEXT_MAX]);
/* Only the hex part. */
const char *digest_hex(const struct digest *digest, char text[DIGEST_TEXT_MAX]);
/* The first 12 hex characters. */
const char *digest_short(const struct digest *digest, char text[DIGEST_SHORT_MAX]);

bool digest_equal(const struct digest *a, const struct digest *b);
/* Total order, for sorted tables. */
int digest_compare(const struct digest *a, const struct digest *b);

/* The digest of `size` bytes in memory. */
struct digest digest_of(enum digest_algorithm algorithm, const void *data, size_t size);

/* HMAC-SHA256 (RFC 2104) of a text under a key, in hex; returns `hex`. */
#define HMAC_HEX_SIZE 64
const char *hmac_hex(const void *key, size_t key_size, const char *text,
                     char hex[HMAC_HEX_SIZE + 1]);
/* In constant time. Both have HMAC_HEX_SIZE characters. */
bool hmac_hex_equal(const char *a, const char *b);

/* Incremental hashing: new, update..., finish at most once, and always free. Nothing may be added
 * after finish. */
struct digester;
struct digester *digester_new(enum digest_algorithm algorithm);
void digester_update(struct digester *digester, const void *data, size_t size);
struct digest digester_finish(struct digester *digester);
void digester_free(struct digester *digester);

/* As digester_new(). Where the processor can hash two SHA-256 streams in less time together than
 * one after the other (image/sha256_pair.h), and OpenSSL is not bound to FIPS,
 * digester_update_pair() does so with digesters that were made by this. */
struct digester *digester_new_pairable(enum digest_algorithm algorithm);
/* The same as two updates. */
void digester_update_pair(struct digester *one, const void *data, size_t size,
                          struct digester *other, const void *other_data, size_t other_size);

#endif
