/*
 * The fallback of a push: a registry that does not take schema2 manifests is offered a signed
 * schema1 one of the same image.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_SCHEMA1_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_SCHEMA1_PUSH_H

#include "base/buf.h"
#include "image/manifest.h"
#include "upstream/push/manifest_put.h"
#include "upstream/push/target_push.h"

/* May this manifest, refused as a kind, be offered as schema1? Only a schema2 image without foreign
 * layers, and only where the configuration does not say "never". */
bool schema1_push_applies(const struct target_push *push, const struct manifest *image);

struct schema1_document {
    struct buf canonical;
    struct buf bytes;                  /* with the signature */
    struct outgoing_manifest outgoing; /* borrows both */
};
void schema1_document_deinit(struct schema1_document *document);

/*
 * Make and sign the manifest; layers are there already, the empty layer is uploaded when it is
 * needed and missing. Blocks. The key is the store's (store/trust_key.h). On success the document
 * is owned, and stays where it is. Errors: those of schema1_build(), jws_sign() and of the upload.
 */
enum errc schema1_push_prepare(struct target_push *push, struct registry_client *client,
                               const struct manifest *image, const char *tag,
                               struct schema1_document *out, struct error *err);

#endif
