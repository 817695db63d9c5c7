#include "upstream/auth/credentials.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void registry_credentials_clear(struct registry_credentials *credentials)
{
    secret_free(credentials->username);
    secret_free(credentials->password);
    secret_free(credentials->identity_token);
    secret_free(credentials->registry_token);
    secret_free(credentials->origin);
    *credentials = (struct registry_credentials){0};
}

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

struct registry_credentials registry_credentials_copy(const struct registry_credentials *from)
{
    return (struct registry_credentials){
        .username = copy_or_null(from->username),
        .password = copy_or_null(from->password),
        .identity_token = copy_or_null(from->identity_token),
        .registry_token = copy_or_null(from->registry_token),
        .origin = copy_or_null(from->origin),
        .expire = from->expire,
    };
}

bool registry_credentials_empty(const struct registry_credentials *credentials)
{
    return !credentials->username && !credentials->password && !credentials->identity_token &&
           !credentials->registry_token;
}

static void add_text(struct digester *digester, const char *text)
{
    digester_update(digester, text, strlen(text));
}

/* A JSON string; what must be escaped is, and nothing else. It may hold a secret, so no copy. */
static void add_string(struct digester *digester, const char *text)
{
    add_text(digester, "\"");
    for (const char *at = text; *at; at++) {
        char escaped[7];
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20) {
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*at);
            add_text(digester, escaped);
        } else {
            digester_update(digester, at, 1);
        }
    }
    add_text(digester, "\"");
}

struct digest registry_credentials_digest(const struct registry_credentials *credentials)
{
    const struct {
        const char *name;
        const char *value;
    } members[] = {
        {"identitytoken", credentials->identity_token},
        {"password", credentials->password},
        {"registrytoken", credentials->registry_token},
        {"username", credentials->username},
    };
    struct digester *digester = digester_new(DIGEST_SHA256);
    const char *before = "{";
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (members[i].value == NULL)
            continue;
        add_text(digester, before);
        add_string(digester, members[i].name);
        add_text(digester, ":");
        add_string(digester, members[i].value);
        before = ",";
    }
    add_text(digester, before[0] == '{' ? "{}" : "}");
    struct digest digest = digester_finish(digester);
    digester_free(digester);
    return digest;
}
