#include "upstream/auth/association_hmac.h"

#include "base/mem.h"

#include <string.h>

void association_key_make(const struct registry_credentials *credentials,
                          struct association_key *out)
{
    out->text[0] = '\0';
    if (registry_credentials_empty(credentials))
        return;
    struct digest digest = registry_credentials_digest(credentials);
    digest_text(&digest, out->text);
}

static void make_hmac(const struct association *association, const struct association_key *key,
                      char hmac[HMAC_HEX_SIZE + 1])
{
    char digest[DIGEST_TEXT_MAX];
    autofree char *text =
        xasprintf("%s%s", digest_text(&association->digest, digest), association->source);
    hmac_hex(key->text, strlen(key->text), text, hmac);
}

void association_sign(struct association *association, const struct association_key *key)
{
    association->hmac[0] = '\0';
    if (key->text[0] != '\0')
        make_hmac(association, key, association->hmac);
}

bool association_matches(const struct association *association, const struct association_key *key)
{
    if (association->hmac[0] == '\0' || key->text[0] == '\0')
        return association->hmac[0] == key->text[0];
    char ours[HMAC_HEX_SIZE + 1];
    make_hmac(association, key, ours);
    return hmac_hex_equal(association->hmac, ours);
}
