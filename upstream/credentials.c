#include "upstream/credentials.h"

#include "base/mem.h"

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
    *credentials = (struct registry_credentials){0};
}

bool registry_credentials_empty(const struct registry_credentials *credentials)
{
    return !credentials->username && !credentials->password && !credentials->identity_token &&
           !credentials->registry_token;
}

static void add_member(struct digester *digester, const char *name, const char *value)
{
    autofree char *head =
        value ? xasprintf("%s:%zu:", name, strlen(value)) : xasprintf("%s-", name);
    digester_update(digester, head, strlen(head));
    if (value)
        digester_update(digester, value, strlen(value));
}

struct digest registry_credentials_digest(const struct registry_credentials *credentials)
{
    struct digester *digester = digester_new(DIGEST_SHA256);
    add_member(digester, "username", credentials->username);
    add_member(digester, "password", credentials->password);
    add_member(digester, "identitytoken", credentials->identity_token);
    add_member(digester, "registrytoken", credentials->registry_token);
    struct digest digest = digester_finish(digester);
    digester_free(digester);
    return digest;
}
