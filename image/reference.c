#include "image/reference.h"

#include "base/net.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HUB "docker.io"
#define HUB_OLD "index.docker.io"
#define HUB_OFFICIAL "library/"
#define SHOWN_BYTES 300

/* A part of the text that is being parsed. */
struct span {
    const char *at;
    size_t size;
};

static bool lower_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool alphanumeric(char c)
{
    return lower_alphanumeric(c) || upper(c);
}

static bool span_equal(struct span span, const char *text)
{
    return span.size == strlen(text) && strncasecmp(span.at, text, span.size) == 0;
}

static bool span_has(struct span span, bool (*is)(char))
{
    for (size_t i = 0; i < span.size; i++)
        if (is(span.at[i]))
            return true;
    return false;
}

static bool dot(char c)
{
    return c == '.';
}

/* [a-z0-9]+ joined by ".", "_", "__" or any number of "-". */
static bool path_component_valid(struct span part)
{
    size_t i = 0;
    for (;;) {
        size_t word = i;
        while (i < part.size && lower_alphanumeric(part.at[i]))
            i++;
        if (i == word)
            return false;
        if (i == part.size)
            return true;
        char separator = part.at[i];
        size_t run = i;
        while (i < part.size && part.at[i] == separator)
            i++;
        run = i - run;
        bool fits =
            separator == '-' || (separator == '.' && run == 1) || (separator == '_' && run <= 2);
        if (!fits)
            return false;
    }
}

static bool path_valid(struct span path)
{
    for (;;) {
        const char *slash = memchr(path.at, '/', path.size);
        struct span part = {path.at, slash ? (size_t)(slash - path.at) : path.size};
        if (!path_component_valid(part))
            return false;
        if (slash == NULL)
            return true;
        path.at += part.size + 1;
        path.size -= part.size + 1;
    }
}

/* Letters, digits and inner "-", joined by single dots. */
static bool host_name_valid(struct span name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool edge = i == 0 || i + 1 == name.size || name.at[i - 1] == '.' || name.at[i + 1] == '.';
        if (!alphanumeric(c) && (edge || (c != '-' && c != '.')))
            return false;
    }
    return name.size > 0;
}

/* An IPv6 address is without embedded IPv4, as in the grammar that clients use. */
static bool host_valid(struct span host)
{
    struct net_authority authority;
    if (!net_authority_parse(host.at, host.size, &authority) ||
        (authority.has_port && authority.port == 0))
        return false;
    const struct span name = {authority.host, strlen(authority.host)};
    return authority.bracketed ? !span_has(name, dot) : host_name_valid(name);
}

static bool tag_valid(struct span tag)
{
    if (tag.size == 0 || tag.size > REFERENCE_TAG_MAX)
        return false;
    for (size_t i = 0; i < tag.size; i++) {
        char c = tag.at[i];
        if (!alphanumeric(c) && c != '_' && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

static void copy_span(char *out, struct span span)
{
    memcpy(out, span.at, span.size);
    out[span.size] = '\0';
}

/* Only 64 hex digits: an image id, which would be read as a repository of docker.io. */
static bool is_image_id(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return n == 64 && text[n] == '\0';
}

/* What the first component must have to be a host whatever its case. */
static bool host_without_case(struct span first)
{
    return net_names_host(first.at, first.size) || span_equal(first, "localhost");
}

static void lower_case(char *text)
{
    for (; *text; text++)
        if (upper(*text))
            *text = (char)(*text - 'A' + 'a');
}

/* Separate the host when the text names one, else an empty span. */
static struct span cut_host(struct span *rest)
{
    const char *slash = memchr(rest->at, '/', rest->size);
    if (slash == NULL)
        return (struct span){rest->at, 0};
    struct span first = {rest->at, (size_t)(slash - rest->at)};
    if (!host_without_case(first) && !span_has(first, upper))
        return (struct span){rest->at, 0};
    rest->at += first.size + 1;
    rest->size -= first.size + 1;
    return first;
}

bool reference_component_valid(const char *text, size_t size)
{
    return path_component_valid((struct span){text, size});
}

bool reference_host_valid(const char *text, size_t size)
{
    return host_valid((struct span){text, size});
}

static enum errc invalid(struct error *err, const char *text, const char *why)
{
    return fail(err, ERR_REFERENCE_INVALID, 0, "reference \"%.*s\"%s: %s", SHOWN_BYTES, text,
                strlen(text) > SHOWN_BYTES ? "..." : "", why);
}

static enum errc set_name(const char *text, struct span host, struct span path,
                          struct reference *out, struct error *err)
{
    bool hub = host.size == 0 || span_equal(host, HUB) || span_equal(host, HUB_OLD);
    bool official = hub && memchr(path.at, '/', path.size) == NULL;
    if (hub)
        host = (struct span){HUB, strlen(HUB)};
    size_t prefix = official ? strlen(HUB_OFFICIAL) : 0;
    if (host.size + 1 + prefix + path.size > REFERENCE_NAME_MAX)
        return invalid(err, text, "host and repository have more than 255 characters");
    if (!host_valid(host))
        return invalid(err, text, "the host is malformed");
    if (span_has(path, upper))
        return invalid(err, text, "the repository has upper-case letters");
    if (!path_valid(path))
        return invalid(err, text, "the repository is malformed");

    copy_span(out->host, host);
    if (host_without_case(host))
        lower_case(out->host);
    memcpy(out->path, HUB_OFFICIAL, prefix);
    copy_span(out->path + prefix, path);
    return ERR_OK;
}

enum errc reference_parse(const char *text, struct reference *out, struct error *err)
{
    struct reference got = {.host = ""};
    struct span rest = {text, strcspn(text, "@")};
    if (text[0] == '\0')
        return invalid(err, text, "it is empty");
    if (is_image_id(text))
        return invalid(err, text, "64 hex digits are an image id, not a name");
    if (strstr(text, "://"))
        return invalid(err, text, "a reference has no scheme such as https://");
    if (text[rest.size] == '@') {
        struct error why = ERROR_INIT;
        if (digest_parse(text + rest.size + 1, &got.digest, &why) != ERR_OK)
            return invalid(err, text, why.text);
    }
    struct span host = cut_host(&rest);
    const char *colon = memchr(rest.at, ':', rest.size);
    struct span path = {rest.at, colon ? (size_t)(colon - rest.at) : rest.size};
    if (colon) {
        struct span tag = {colon + 1, rest.size - path.size - 1};
        if (!tag_valid(tag))
            return invalid(err, text, "the tag is malformed or has more than 128 characters");
        copy_span(got.tag, tag);
    }
    if (set_name(text, host, path, &got, err) != ERR_OK)
        return err->code;
    *out = got;
    return ERR_OK;
}

const char *reference_name(const struct reference *ref, char text[REFERENCE_NAME_MAX + 1])
{
    snprintf(text, REFERENCE_NAME_MAX + 1, "%s/%s", ref->host, ref->path);
    return text;
}

const char *reference_text(const struct reference *ref, char text[REFERENCE_TEXT_MAX])
{
    char digest[DIGEST_TEXT_MAX] = "";
    if (ref->digest.algorithm != DIGEST_NONE)
        digest_text(&ref->digest, digest);
    snprintf(text, REFERENCE_TEXT_MAX, "%s/%s%s%s%s%s", ref->host, ref->path,
             ref->tag[0] ? ":" : "", ref->tag, digest[0] ? "@" : "", digest);
    return text;
}

enum errc reference_set_tag(struct reference *ref, const char *tag, struct error *err)
{
    struct span span = {tag, strlen(tag)};
    if (!tag_valid(span))
        return fail(err, ERR_REFERENCE_INVALID, 0,
                    "tag \"%.140s\" is malformed or has more than 128 characters", tag);
    copy_span(ref->tag, span);
    return ERR_OK;
}

bool reference_same_name(const struct reference *a, const struct reference *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

bool reference_same_target(const struct reference *a, const struct reference *b)
{
    return reference_same_name(a, b) && strcmp(a->tag, b->tag) == 0 &&
           digest_equal(&a->digest, &b->digest);
}
