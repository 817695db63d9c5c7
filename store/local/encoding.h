/*
 * How records are written and read: numbers big-endian, digests with their algorithm in front,
 * texts without an end. What goes into which key and value is in store/local/records.h.
 *
 * Encoding is into room that is large enough by its maker's arithmetic: asserted. Decoding trusts
 * nothing: what is too short or wrong makes the decoder `bad`, once and for all, and
 * decode_finish() says so; until then it gives zeros.
 */
#ifndef SLIPWAY_STORE_LOCAL_ENCODING_H
#define SLIPWAY_STORE_LOCAL_ENCODING_H

#include "image/digest.h"
#include "image/reference.h"
#include "store/local/kv/kv.h"

struct record_key;
struct record_value;

/* Of the values; the first byte of each. */
#define RECORD_VERSION 1

struct encoder {
    uint8_t *at; /* where the next byte goes */
    uint8_t *end;
};

struct encoder encode_key(struct record_key *key);
/* With the version written. */
struct encoder encode_value(struct record_value *value);

void encode_bytes(struct encoder *out, const void *data, size_t size);
void encode_number(struct encoder *out, uint64_t number, unsigned bytes);
/* With its size in front, which has to fit a byte. */
void encode_short(struct encoder *out, const char *text);
/* Not DIGEST_NONE. */
void encode_digest(struct encoder *out, const struct digest *digest);

/* What is left to read. */
struct decoder {
    const uint8_t *at;
    size_t left;
    bool bad;
};

struct decoder decode_key(struct kv_slice key);
/* After the version, which makes it bad when it is another. */
struct decoder decode_value(struct kv_slice value);

/* Borrowed from the slice; NULL when bad. */
const uint8_t *decode_bytes(struct decoder *in, size_t size);
uint64_t decode_number(struct decoder *in, unsigned bytes);
struct digest decode_digest(struct decoder *in);
/* Text of `size` bytes, without a NUL in it, into `text` with one behind it. */
void decode_text(struct decoder *in, size_t size, char *text, size_t capacity);
/* As encode_short() wrote it. */
void decode_short(struct decoder *in, char *text, size_t capacity);
/* "host/path", so encoded. */
void decode_reference_name(struct decoder *in, struct reference *out);
/* Text up to a NUL, which is read too. */
void decode_terminated(struct decoder *in, char *text, size_t capacity);

/* ERR_STORE names the table, when something was wrong or something is left. */
enum errc decode_finish(const struct decoder *in, const char *table, struct error *err);

#endif
