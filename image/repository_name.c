#include "image/repository_name.h"

#include "image/reference.h"

#include <string.h>

#define SHOWN_BYTES 200

struct span {
    const char *at;
    size_t size;
};

enum errc repository_name_invalid(const char *name, size_t size, const char *why, struct error *err)
{
    return fail(err, ERR_NAME_INVALID, 0, "repository name \"%.*s\"%s: %s",
                size < SHOWN_BYTES ? (int)size : SHOWN_BYTES, name, size > SHOWN_BYTES ? "..." : "",
                why);
}

static enum errc name_invalid(struct error *err, struct span name, const char *why)
{
    return repository_name_invalid(name.at, name.size, why, err);
}

static enum errc check_component(struct span name, struct span part, struct error *err)
{
    bool first = part.at == name.at;
    if (part.size == 0)
        return name_invalid(err, name, "a component is empty");
    for (size_t i = 0; i < part.size; i++)
        if (part.at[i] >= 'A' && part.at[i] <= 'Z')
            return name_invalid(err, name, "it has upper-case letters");
    if (!reference_component_valid(part.at, part.size) &&
        !(first && reference_host_valid(part.at, part.size)))
        return name_invalid(err, name, "a component is malformed");
    return ERR_OK;
}

enum errc repository_name_check(const char *text, size_t size, struct error *err)
{
    const struct span name = {text, size};
    if (name.size > REPOSITORY_NAME_MAX)
        return name_invalid(err, name, "it has more than 255 characters");
    for (struct span rest = name;;) {
        const char *slash = memchr(rest.at, '/', rest.size);
        struct span part = {rest.at, slash ? (size_t)(slash - rest.at) : rest.size};
        if (check_component(name, part, err) != ERR_OK)
            return err->code;
        if (slash == NULL)
            break;
        rest.at += part.size + 1;
        rest.size -= part.size + 1;
    }
    bool port_alone =
        memchr(name.at, '/', name.size) == NULL && !reference_component_valid(name.at, name.size);
    return port_alone ? name_invalid(err, name, "it is a host and no repository") : ERR_OK;
}
