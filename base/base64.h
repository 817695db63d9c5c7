/*
 * Base64 (RFC 4648), by OpenSSL.
 */
#ifndef SLIPWAY_BASE_BASE64_H
#define SLIPWAY_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Section 4, with padding; owned. Less than 1 GiB. */
char *base64_encode(const void *data, size_t size);

/* Section 5, for URLs, without padding as RFC 7515 wants it; owned. */
char *base64url_encode(const void *data, size_t size);

/* `size` bytes of text in that form, decoded: owned, with a NUL behind *out_size bytes that may
 * have NULs as well. NULL for any other character, padding too, a length that nothing encodes to,
 * and stray bits at the end: of one value there is one text. */
void *base64url_decode(const char *text, size_t size, size_t *out_size);

/* The decoded text, owned, in *out. False, with *out untouched, when `encoded` has a character
 * outside the alphabet of section 4, wrong padding, stray bits at its end, or decodes to text with
 * a NUL. NULs at the very end are dropped: old Docker clients wrote some. What was decoded of it is
 * wiped. */
bool base64_decode_text(const char *encoded, char **out);

#endif
