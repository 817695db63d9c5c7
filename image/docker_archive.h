/*
 * `manifest.json`, the table of contents of a `docker save` archive and of what podman, skopeo,
 * Bazel, ko, jib and kaniko write in that form: an array of {Config, RepoTags, Layers}, where
 * Config and Layers are names of entries in the same archive, bottom layer first.
 */
#ifndef SLIPWAY_IMAGE_DOCKER_ARCHIVE_H
#define SLIPWAY_IMAGE_DOCKER_ARCHIVE_H

#include "image/reference.h"

#define DOCKER_ARCHIVE_LIMIT_BYTES ((size_t)4 << 20)
#define DOCKER_ARCHIVE_IMAGES_MAX 1000

struct docker_image {
    char *config;  /* entry name */
    char **layers; /* entry names */
    size_t layer_count;
    struct reference *names; /* from RepoTags, each with a tag */
    size_t name_count;
    char *odd_name; /* one of them that is no reference with a tag; NULL when there is none */
};

struct docker_archive {
    struct docker_image *images; /* owned */
    size_t count;
};

/* ERR_JSON_INVALID, ERR_JSON_TOO_LARGE; ERR_MANIFEST_INVALID when a member is missing or of the
 * wrong type; ERR_NOT_AN_IMAGE when the array is empty, or it is a manifest. Docker's words for "no
 * name" are none: "",
 * "<none>:<none>". */
enum errc docker_archive_parse(const void *data, size_t size, struct docker_archive *out,
                               struct error *err);
void docker_archive_deinit(struct docker_archive *archive);

#endif
