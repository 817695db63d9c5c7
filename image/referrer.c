#include "image/referrer.h"

#include <stdio.h>
#include <string.h>

#define SHA256_HEX 64

static const char *const cosign_suffixes[COSIGN_KINDS] = {".sig", ".att", ".sbom"};

json_t *referrer_describe(const struct descriptor *manifest, const json_t *document)
{
    char digest[DIGEST_TEXT_MAX];
    json_t *entry = json_object();
    json_t *annotations = json_object_get(document, "annotations");
    const char *type = json_text(document, "artifactType");
    if (type == NULL || *type == '\0')
        type = json_text(json_object_get(document, "config"), "mediaType");
    json_object_set_new(entry, "mediaType", json_string(manifest->media_type));
    json_object_set_new(entry, "size", json_integer((json_int_t)manifest->size));
    json_object_set_new(entry, "digest", json_string(digest_text(&manifest->digest, digest)));
    if (type)
        json_object_set_new(entry, "artifactType", json_string(type));
    if (json_is_object(annotations))
        json_object_set(entry, "annotations", annotations);
    return entry;
}

enum errc referrer_check(const json_t *document, const char *what, struct error *err)
{
    const json_t *type = json_object_get(document, "artifactType");
    json_t *annotations = json_object_get(document, "annotations");
    const char *key;
    json_t *value;
    if (type && !json_is_null(type) && !json_is_string(type))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"artifactType\" is not a string", what);
    if (annotations && !json_is_null(annotations) && !json_is_object(annotations))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"annotations\" is not an object", what);
    json_object_foreach(annotations, key, value)
    {
        if (!json_is_string(value))
            return fail(err, ERR_MANIFEST_INVALID, 0,
                        "%s: the annotation \"%.160s\" is not a string", what, key);
    }
    return ERR_OK;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

enum supplement supplement_of_type(const char *media_type)
{
    static const struct {
        const char *begin;
        enum supplement is;
    } types[] = {
        {"application/vnd.dev.cosign.simplesigning.", SUPPLEMENT_SIGNATURE},
        {"application/vnd.dsse.envelope.", SUPPLEMENT_ATTESTATION},
        {"application/vnd.in-toto+json", SUPPLEMENT_OTHER},
        {"application/vnd.dev.sigstore.bundle", SUPPLEMENT_OTHER},
        {"application/vnd.cncf.notary.signature", SUPPLEMENT_OTHER},
        {"application/vnd.cyclonedx", SUPPLEMENT_SBOM},
        {"application/vnd.syft+json", SUPPLEMENT_SBOM},
        {"text/spdx", SUPPLEMENT_SBOM},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (begins(media_type, types[i].begin))
            return types[i].is;
    return SUPPLEMENT_NONE;
}

enum supplement supplement_of_kind(const char *kind)
{
    static const char prefix[] = "dev.cosignproject.cosign/";
    static const struct {
        const char *kind;
        enum supplement is;
    } kinds[] = {{"image", SUPPLEMENT_NONE},
                 {"imageIndex", SUPPLEMENT_NONE},
                 {"sigs", SUPPLEMENT_SIGNATURE},
                 {"atts", SUPPLEMENT_ATTESTATION},
                 {"sboms", SUPPLEMENT_SBOM}};
    if (kind == NULL || !begins(kind, prefix))
        return SUPPLEMENT_NONE;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind + strlen(prefix), kinds[i].kind) == 0)
            return kinds[i].is;
    return SUPPLEMENT_OTHER;
}

/* What follows "sha256-HEX" at the beginning of a tag; NULL when it does not begin so. */
static const char *after_digest(const char *tag, struct digest *out)
{
    static const char prefix[] = "sha256-";
    struct error ignored = ERROR_INIT;
    char hex[SHA256_HEX + 1] = "";
    if (strncmp(tag, prefix, strlen(prefix)) != 0)
        return NULL;
    tag += strlen(prefix);
    memcpy(hex, tag, strnlen(tag, SHA256_HEX));
    bool fits = digest_parse_parts("sha256", hex, out, &ignored) == ERR_OK;
    return fits ? tag + SHA256_HEX : NULL;
}

const char *cosign_tag(const struct digest *subject, size_t kind, char tag[REFERENCE_TAG_MAX + 1])
{
    char hex[DIGEST_TEXT_MAX];
    snprintf(tag, REFERENCE_TAG_MAX + 1, "sha256-%s%s", digest_hex(subject, hex),
             cosign_suffixes[kind]);
    return tag;
}

bool cosign_tag_parse(const char *tag, struct digest *subject)
{
    const char *suffix = after_digest(tag, subject);
    for (size_t i = 0; suffix && i < COSIGN_KINDS; i++)
        if (strcmp(suffix, cosign_suffixes[i]) == 0)
            return true;
    return false;
}

bool referrers_tag_parse(const char *tag, struct digest *subject)
{
    const char *rest = after_digest(tag, subject);
    return rest && *rest == '\0';
}
