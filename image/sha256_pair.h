/*
 * Two SHA-256 streams (FIPS 180-4) side by side in one thread, for processors with SHA extensions.
 *
 * A round of SHA-256 waits for the round before, so the units for it are idle more than half of the
 * time; a second stream fills them. One hash after the other takes one and a half times as long.
 *
 * Only the compression function is here; beginning, padding and what has no partner is OpenSSL's
 * (image/digest.h).
 */
#ifndef SLIPWAY_IMAGE_SHA256_PAIR_H
#define SLIPWAY_IMAGE_SHA256_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BLOCK_BYTES 64

/* Does this processor have what sha256_pair_blocks() uses? */
bool sha256_pair_supported(void);

/* Takes `blocks` blocks of `a` into the state `state_a` (H0 to H7), and as many of `b` into
 * `state_b`. */
void sha256_pair_blocks(uint32_t state_a[8], uint32_t state_b[8], const uint8_t *a,
                        const uint8_t *b, size_t blocks);

#endif
