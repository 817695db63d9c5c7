#include "gateway/access/identity.h"

#include "base/mem.h"

#include <string.h>

static const char *const kind_names[] = {
    [IDENTITY_ANONYMOUS] = "anonymous",
    [IDENTITY_USER] = "user",
    [IDENTITY_ROBOT] = "robot",
    [IDENTITY_CI] = "ci",
    [IDENTITY_CERTIFICATE] = "certificate",
    [IDENTITY_OPERATOR] = "operator",
};

void identity_deinit(struct identity *identity)
{
    free(identity->name);
    free(identity->issuer);
    for (size_t i = 0; i < identity->group_count; i++)
        free(identity->groups[i]);
    free(identity->groups);
    free(identity->claims);
    *identity = (struct identity)IDENTITY_INIT;
}

static char *copy_text(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

void identity_copy(const struct identity *from, struct identity *out)
{
    struct identity copy = {
        .kind = from->kind,
        .name = copy_text(from->name),
        .issuer = copy_text(from->issuer),
        .groups = from->group_count ? xcalloc(from->group_count, sizeof *copy.groups) : NULL,
        .group_count = from->group_count,
        .claims = copy_text(from->claims),
    };
    for (size_t i = 0; i < from->group_count; i++)
        copy.groups[i] = xstrdup(from->groups[i]);
    *out = copy;
}

const char *identity_text(const struct identity *identity)
{
    return identity->name ? identity->name : identity_kind_name(identity->kind);
}

const char *identity_kind_name(enum identity_kind kind)
{
    return kind_names[kind];
}

bool identity_kind_by_name(const char *name, enum identity_kind *out)
{
    for (size_t i = 0; i < sizeof kind_names / sizeof kind_names[0]; i++)
        if (strcmp(kind_names[i], name) == 0) {
            *out = (enum identity_kind)i;
            return true;
        }
    return false;
}
