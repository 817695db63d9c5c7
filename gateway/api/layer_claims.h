/*
 * Layers by diffID, where there is a policy: a layer that archives and POST /v1/layers brought is
 * of no repository, so no rule says who may have it. Its diffID is no secret, and an image made of
 * it would give its bytes away. So a layer may be used, and is told of, by an identity that has
 * sent it to this process lately, by itself or in an archive, and by those who may pull from all
 * repositories. To others it is not held: they send it, as they would send it to another gateway.
 *
 * LAYER_CLAIMS_MAX are remembered, in memory; one more takes the place of the oldest of a few.
 * Without a policy everybody may use all. Any thread.
 */
#ifndef SLIPWAY_GATEWAY_API_LAYER_CLAIMS_H
#define SLIPWAY_GATEWAY_API_LAYER_CLAIMS_H

#include "gateway/access/caller.h"
#include "gateway/service/gateway.h"
#include "image/digest.h"

#define LAYER_CLAIMS_MAX 16384

struct layer_claims *layer_claims_new(void);
void layer_claims_free(struct layer_claims *claims); /* NULL is a no-op */

/* It has sent this layer. */
void layer_claims_add(struct gateway *gateway, const struct caller *caller,
                      const struct digest *diff_id);
/* May it use the layer? */
bool layer_claims_has(const struct gateway *gateway, const struct caller *caller,
                      const struct digest *diff_id);

#endif
