#include "upstream/client/manifest_refusal.h"

#include "image/manifest.h"

#include <string.h>
#include <strings.h>

struct refusal {
    const struct refused_manifest *manifest;
    const char *body; /* of the answer */
};

static bool is_under_another_digest(const struct refusal *refusal)
{
    const char *reference = refusal->manifest->reference;
    return strchr(reference, ':') && strncmp(reference, "sha256:", strlen("sha256:")) != 0;
}

typedef bool layer_fn(const struct descriptor *layer);

/* The answer names a layer of this kind. */
static bool names_layer(const struct refusal *refusal, layer_fn *is_of_kind)
{
    struct manifest manifest;
    struct error no_image = ERROR_INIT;
    bool named = false;
    if (strstr(refusal->body, "sha") == NULL ||
        manifest_parse(refusal->manifest->data, refusal->manifest->size, NULL, "the manifest",
                       &manifest, &no_image) != ERR_OK)
        return false;
    for (size_t i = 0; i < manifest.layer_count && !named; i++) {
        const struct descriptor *layer = &manifest.layers[i];
        char digest[DIGEST_TEXT_MAX];
        named = is_of_kind(layer) && strstr(refusal->body, digest_text(&layer->digest, digest));
    }
    manifest_deinit(&manifest);
    return named;
}

static bool is_elsewhere(const struct descriptor *layer)
{
    return layer->foreign;
}

static bool is_not_distributed(const struct descriptor *layer)
{
    return layer->foreign || media_type_is_foreign_layer(layer->media_type);
}

static bool names_layer_not_sent(const struct refusal *refusal)
{
    return names_layer(refusal, is_elsewhere);
}

/* docker-registry says UNKNOWN, and which layer: its URLs are missing, or none that it allows. */
static bool names_layer_not_distributed(const struct refusal *refusal)
{
    return names_layer(refusal, is_not_distributed);
}

static bool is_about_the_media_type(const struct refusal *refusal)
{
    return strcasestr(refusal->body, "media type") || strcasestr(refusal->body, "mediatype") ||
           strcasestr(refusal->body, "media-type") || strcasestr(refusal->body, "content type");
}

/* The first row that fits. */
static const struct {
    const char *code; /* NULL: any */
    bool (*is_about)(const struct refusal *refusal);
    const char *words;
} rows[] = {
    {"DIGEST_INVALID", is_under_another_digest,
     "the registry takes no manifest under a digest that is not sha256"},
    {NULL, names_layer_not_sent,
     "the registry wants a layer that is not to be distributed, or refuses where it is to be had"},
    {"UNKNOWN", names_layer_not_distributed,
     "the registry refuses a layer that is not to be distributed, or where it is to be had"},
    {NULL, is_about_the_media_type, "the registry does not take the manifest's media type"},
};

/* Who it is, how often, or that the registry is away: not what it was given. docker-registry says
 * 500 to what it refuses. */
static bool has_own_meaning(int status)
{
    return status == 401 || status == 403 || status == 408 || status == 429 || status > 500;
}

const char *manifest_refusal_is_final(const struct refused_manifest *manifest,
                                      const struct http_response *response)
{
    struct answer answer;
    const struct refusal refusal = {
        .manifest = manifest,
        .body = response->body.size > 0 ? buf_cstr((struct buf *)(uintptr_t)&response->body) : ""};
    if (has_own_meaning(response->status))
        return NULL;
    answer_read(response, &answer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool fits = rows[i].code == NULL || strcasecmp(rows[i].code, answer.code) == 0;
        if (fits && rows[i].is_about(&refusal))
            return rows[i].words;
    }
    return NULL;
}
