/*
 * Media types of manifests, configs and layers, as registered by the OCI image specification
 * (media-types.md) and by Docker's image manifest version 2, schema 2 (manifest-v2-2.md).
 */
#ifndef SLIPWAY_IMAGE_MEDIA_TYPE_H
#define SLIPWAY_IMAGE_MEDIA_TYPE_H

#include "image/codec.h"

#include <stdbool.h>

#define MEDIA_TYPE_MAX 256 /* RFC 6838: 127 + "/" + 127, NUL */

#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define MEDIA_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define MEDIA_DOCKER_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define MEDIA_DOCKER_LAYER_ZSTD "application/vnd.docker.image.rootfs.diff.tar.zstd"
#define MEDIA_DOCKER_LAYER_FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define MEDIA_OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define MEDIA_OCI_EMPTY "application/vnd.oci.empty.v1+json"

/* RFC 6838, section 4.2: type "/" subtype, each a restricted name of at most 127 characters,
 * without parameters. Such a text fits MEDIA_TYPE_MAX and needs no escaping in JSON. NULL is
 * invalid. */
bool media_type_valid(const char *type);

/* The type of a layer that is a tar in this form, Docker's or OCI's, and back: false for a type
 * that is none of these. */
const char *media_type_of_layer(enum codec codec, bool docker);
bool media_type_codec(const char *type, enum codec *codec);

/* The predicates take NULL and answer false. */

/* An image manifest: schema2 or OCI (which may also be an artifact). */
bool media_type_is_manifest(const char *type);
/* A manifest list or OCI index. */
bool media_type_is_index(const char *type);
/* The config of a runnable image, whose rootfs.diff_ids name the layers. */
bool media_type_is_image_config(const char *type);
/* A layer of an image that is an uncompressed tar: the kind slipway compresses. */
bool media_type_is_plain_layer(const char *type);
/* Any layer of an image, also one in a form that slipway does not know (encrypted, say). */
bool media_type_is_layer(const char *type);
/* Any layer type that must not be pushed (foreign, nondistributable). */
bool media_type_is_foreign_layer(const char *type);

#endif
