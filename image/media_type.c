#include "image/media_type.h"

#include <stddef.h>
#include <string.h>

#define RESTRICTED_NAME_MAX 127

static bool alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The length of the restricted-name that `text` starts with, 0 when it starts with none. */
static size_t restricted_name(const char *text)
{
    if (!alphanumeric(text[0]))
        return 0;
    size_t n = 1;
    while (text[n] && (alphanumeric(text[n]) || strchr("!#$&-^_.+", text[n])))
        n++;
    return n <= RESTRICTED_NAME_MAX ? n : 0;
}

bool media_type_valid(const char *type)
{
    if (type == NULL)
        return false;
    size_t top = restricted_name(type);
    if (top == 0 || type[top] != '/')
        return false;
    const char *sub = type + top + 1;
    size_t n = restricted_name(sub);
    return n > 0 && sub[n] == '\0';
}

static bool one_of(const char *type, const char *a, const char *b)
{
    return type && (strcmp(type, a) == 0 || strcmp(type, b) == 0);
}

static const char *const layer_types[][2] = {
    [CODEC_NONE] = {MEDIA_OCI_LAYER, MEDIA_DOCKER_LAYER},
    [CODEC_GZIP] = {MEDIA_OCI_LAYER_GZIP, MEDIA_DOCKER_LAYER_GZIP},
    [CODEC_ZSTD] = {MEDIA_OCI_LAYER_ZSTD, MEDIA_DOCKER_LAYER_ZSTD},
};

const char *media_type_of_layer(enum codec codec, bool docker)
{
    return layer_types[codec][docker];
}

bool media_type_codec(const char *type, enum codec *codec)
{
    for (size_t i = 0; i < sizeof layer_types / sizeof layer_types[0]; i++)
        if (one_of(type, layer_types[i][0], layer_types[i][1])) {
            *codec = (enum codec)i;
            return true;
        }
    return false;
}

bool media_type_is_manifest(const char *type)
{
    return one_of(type, MEDIA_DOCKER_MANIFEST, MEDIA_OCI_MANIFEST);
}

bool media_type_is_index(const char *type)
{
    return one_of(type, MEDIA_DOCKER_LIST, MEDIA_OCI_INDEX);
}

bool media_type_is_image_config(const char *type)
{
    return one_of(type, MEDIA_DOCKER_CONFIG, MEDIA_OCI_CONFIG);
}

bool media_type_is_plain_layer(const char *type)
{
    return one_of(type, MEDIA_DOCKER_LAYER, MEDIA_OCI_LAYER);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool media_type_is_layer(const char *type)
{
    return type && (starts_with(type, "application/vnd.oci.image.layer.") ||
                    starts_with(type, "application/vnd.docker.image.rootfs."));
}

bool media_type_is_foreign_layer(const char *type)
{
    return type && (starts_with(type, "application/vnd.docker.image.rootfs.foreign.diff.tar") ||
                    starts_with(type, "application/vnd.oci.image.layer.nondistributable.v1.tar"));
}
