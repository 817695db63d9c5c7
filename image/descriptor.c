#include "image/descriptor.h"

#include <stdio.h>
#include <string.h>

static enum errc read_part(const json_t *object, const char *key, enum errc code, const char *what,
                           char out[PLATFORM_PART_MAX], struct error *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return ERR_OK;
    if (!json_is_string(value))
        return fail(err, code, 0, "%s: \"%s\" is not a string", what, key);
    size_t size = json_string_length(value);
    if (size >= PLATFORM_PART_MAX)
        return fail(err, code, 0, "%s: \"%s\" has %zu bytes, the limit is %d", what, key, size,
                    PLATFORM_PART_MAX - 1);
    memcpy(out, json_string_value(value), size + 1);
    return ERR_OK;
}

enum errc platform_read(const json_t *object, enum errc code, const char *what,
                        struct platform *out, struct error *err)
{
    struct platform platform = {.os = ""};
    if (read_part(object, "os", code, what, platform.os, err) != ERR_OK ||
        read_part(object, "architecture", code, what, platform.architecture, err) != ERR_OK ||
        read_part(object, "variant", code, what, platform.variant, err) != ERR_OK)
        return err->code;
    *out = platform;
    return ERR_OK;
}

static enum errc read_urls(const json_t *object, const char *what, bool *foreign, struct error *err)
{
    const json_t *urls = json_object_get(object, "urls");
    *foreign = false;
    if (urls == NULL || json_is_null(urls))
        return ERR_OK;
    if (!json_is_array(urls))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"urls\" is not an array", what);
    size_t i;
    const json_t *url;
    json_array_foreach(urls, i, url)
    {
        if (!json_is_string(url))
            return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"urls\"[%zu] is not a string", what, i);
    }
    *foreign = json_array_size(urls) > 0;
    return ERR_OK;
}

static enum errc read_platform(const json_t *object, const char *what, struct platform *out,
                               struct error *err)
{
    const json_t *platform = json_object_get(object, "platform");
    if (platform == NULL || json_is_null(platform))
        return ERR_OK;
    if (!json_is_object(platform))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"platform\" is not an object", what);
    return platform_read(platform, ERR_MANIFEST_INVALID, what, out, err);
}

enum errc descriptor_parse(const json_t *object, const char *what, struct descriptor *out,
                           struct error *err)
{
    struct descriptor got = {.size = 0};
    if (!json_is_object(object))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s is not an object", what);

    const char *type = json_text(object, "mediaType");
    if (type == NULL)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s has no \"mediaType\"", what);
    if (!media_type_valid(type))
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: \"%.160s\" is not a media type", what, type);
    memcpy(got.media_type, type, strlen(type) + 1);

    struct error why = ERROR_INIT;
    if (digest_parse(json_text(object, "digest"), &got.digest, &why) != ERR_OK)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: %s", what, why.text);

    const json_t *size = json_object_get(object, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "%s: \"size\" is not a whole number of bytes from 0 on", what);
    got.size = (uint64_t)json_integer_value(size);

    if (read_urls(object, what, &got.foreign, err) != ERR_OK ||
        read_platform(object, what, &got.platform, err) != ERR_OK)
        return err->code;
    *out = got;
    return ERR_OK;
}

/* Copy what stands before the next "/" or the end and step over it; false when that is nothing, too
 * long, or not made of the characters that the Go names of platforms have. */
static bool next_part(const char **text, char out[PLATFORM_PART_MAX])
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strspn(*text, allowed);
    char after = (*text)[size];
    if (size == 0 || size >= PLATFORM_PART_MAX || (after != '/' && after != '\0'))
        return false;
    memcpy(out, *text, size);
    out[size] = '\0';
    *text += size + (after == '/');
    return true;
}

enum errc platform_parse(const char *text, struct platform *out, struct error *err)
{
    struct platform got = {.os = ""};
    size_t slashes = 0;
    for (const char *at = text; *at; at++)
        slashes += *at == '/';
    const char *rest = text;
    if (slashes < 1 || slashes > 2 || !next_part(&rest, got.os) ||
        !next_part(&rest, got.architecture) || (slashes == 2 && !next_part(&rest, got.variant)))
        return fail(err, ERR_BAD_REQUEST, 0,
                    "platform \"%.200s\" is not of the form os/architecture[/variant]", text);
    *out = got;
    return ERR_OK;
}

bool platform_matches(const struct platform *want, const struct platform *have)
{
    return strcmp(want->os, have->os) == 0 && strcmp(want->architecture, have->architecture) == 0 &&
           (want->variant[0] == '\0' || strcmp(want->variant, have->variant) == 0);
}

const char *platform_text(const struct platform *platform, char text[PLATFORM_TEXT_MAX])
{
    const char *slash = platform->variant[0] ? "/" : "";
    snprintf(text, PLATFORM_TEXT_MAX, "%s/%s%s%s", platform->os, platform->architecture, slash,
             platform->variant);
    return text;
}
