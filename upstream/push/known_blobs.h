/*
 * Which blobs are known to be in one target repository: what pushes of several tags to it share, so
 * that tags pushed together ask once. Kept by endpoint, as what one mirror holds another may lack.
 *
 * Any thread; one lock inside. Lives as long as the pushes that share it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_KNOWN_BLOBS_H
#define SLIPWAY_UPSTREAM_PUSH_KNOWN_BLOBS_H

#include "image/digest.h"

struct endpoint;
struct known_blobs;

struct known_blobs *known_blobs_new(void);
void known_blobs_free(struct known_blobs *known); /* NULL is a no-op */

void known_blobs_add(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest);
/* It was brought there ahead of its manifest, by so many bytes that were sent: the push that needs
 * it first counts them (known_blobs_claim() is true once). No-op for what is not known. */
void known_blobs_credit(struct known_blobs *known, const struct endpoint *endpoint,
                        const struct digest *digest, uint64_t sent_bytes);
bool known_blobs_claim(struct known_blobs *known, const struct endpoint *endpoint,
                       const struct digest *digest, uint64_t *sent_bytes);

bool known_blobs_has(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest);

#endif
