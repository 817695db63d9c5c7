/*
 * Which blobs are known to be in one target repository: what pushes of several tags to it share, so
 * that tags pushed together ask once. Kept by endpoint, as what one mirror holds another may lack.
 *
 * Any thread; one lock inside. Lives as long as the pushes that share it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_KNOWN_BLOBS_H
#define SLIPWAY_UPSTREAM_PUSH_KNOWN_BLOBS_H

#include "upstream/push/layer_outcome.h"

struct endpoint;
struct known_blobs;

struct known_blobs *known_blobs_new(void);
void known_blobs_free(struct known_blobs *known); /* NULL is a no-op */

void known_blobs_add(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest);
/* The same of one that was brought there ahead of its manifest, at once: nobody finds it known and
 * not how it came. The push that needs it first counts that (known_blobs_claim() is true once). */
void known_blobs_add_brought(struct known_blobs *known, const struct endpoint *endpoint,
                             const struct digest *digest, const struct layer_outcome *how);
bool known_blobs_claim(struct known_blobs *known, const struct endpoint *endpoint,
                       const struct digest *digest, struct layer_outcome *how);

bool known_blobs_has(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest);

#endif
