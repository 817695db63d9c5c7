/*
 * An image that is held, by what a client calls it:
 *
 *     sha256:…                       a manifest or index, wherever it came from
 *     team/app:1.0, team/app@sha256:… of the registry front, as its clients write it; else a name
 *                                    that an archive gave it (store/references.h), which may be
 *                                    written with docker.io and library/ or without
 *
 * Of a reference with tag and digest the digest is the image, the tag is only remembered.
 *
 * What refers to an image of the front goes with it: by a subject, its own or that of a member of
 * an index, or by cosign's tags ("sha256-HEX.sig", ".att", ".sbom"); what refers to those, too.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_HELD_IMAGE_H
#define SLIPWAY_GATEWAY_PUSH_HELD_IMAGE_H

#include "store/store.h"
#include "upstream/push/push.h"

struct stored_image {
    struct descriptor manifest;
    struct digest config;            /* DIGEST_NONE for an index, and where there is none */
    char tag[REFERENCE_TAG_MAX + 1]; /* of the text; "" when it has none */
    struct push_referrer *referrers; /* owned; subjects before what refers to them */
    size_t referrer_count;
};
void stored_image_deinit(struct stored_image *image);

/* ERR_IMAGE_UNKNOWN when nothing of that name is held; ERR_REFERENCE_INVALID for what is no name,
 * or one without tag and digest; ERR_UNSUPPORTED over REFERRERS_MAX; the store's own. On
 * success *out is to be deinited. */
enum errc stored_image_find(struct store *store, const char *text, struct stored_image *out,
                            struct error *err);

/* ERR_IMAGE_UNKNOWN, as for what is not held. */
enum errc stored_image_unknown(const char *text, struct error *err);

#endif
