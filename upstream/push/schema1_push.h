/*
 * The fallback of a push: a registry that does not take schema2 manifests is offered a signed
 * schema1 one of the same image.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_SCHEMA1_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_SCHEMA1_PUSH_H

#include "image/manifest.h"
#include "upstream/push/push_state.h"

/* May this manifest, refused as a kind, be offered as schema1? Only a schema2 image without foreign
 * layers, and only where the configuration does not say "never". */
bool schema1_push_applies(const struct target_push *push, const struct manifest *image);

/*
 * Make, sign and put it under `tag`; layers are there already, the empty layer is uploaded when it
 * is needed and missing. The key is the store's (store/trust_key.h). On ERR_OK push->result has the
 * digest and size of the canonical payload, and the media type. Errors: those of schema1_build(),
 * jws_sign() and manifest_put().
 */
enum errc schema1_push(struct target_push *push, struct registry_client *client,
                       const struct manifest *image, const char *tag, struct error *err);

#endif
