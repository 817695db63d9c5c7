/*
 * Base64 with padding (RFC 4648 section 4), as Docker's config.json writes user:password.
 */
#ifndef SLIPWAY_CONFIG_BASE64_H
#define SLIPWAY_CONFIG_BASE64_H

#include <stdbool.h>

/* The decoded text, owned, in *out. False, with *out untouched, when `encoded` has a character
 * outside the alphabet, wrong padding, stray bits at its end, or decodes to text with a NUL. NULs
 * at the very end are dropped: old Docker clients wrote some. */
bool base64_decode_text(const char *encoded, char **out);

#endif
