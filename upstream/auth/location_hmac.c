#include "upstream/auth/location_hmac.h"

#include "base/mem.h"

#include <string.h>

void location_key_make(const struct registry_credentials *credentials, struct location_key *out)
{
    out->text[0] = '\0';
    if (registry_credentials_empty(credentials))
        return;
    struct digest digest = registry_credentials_digest(credentials);
    digest_text(&digest, out->text);
}

static void make_hmac(const struct known_location *location, const struct location_key *key,
                      char hmac[HMAC_HEX_SIZE + 1])
{
    char digest[DIGEST_TEXT_MAX];
    autofree char *text =
        xasprintf("%s%s", digest_text(&location->digest, digest), location->source);
    hmac_hex(key->text, strlen(key->text), text, hmac);
}

void location_sign(struct known_location *location, const struct location_key *key)
{
    location->hmac[0] = '\0';
    if (key->text[0] != '\0')
        make_hmac(location, key, location->hmac);
}

bool location_matches(const struct known_location *location, const struct location_key *key)
{
    if (location->hmac[0] == '\0' || key->text[0] == '\0')
        return location->hmac[0] == key->text[0];
    char ours[HMAC_HEX_SIZE + 1];
    make_hmac(location, key, ours);
    return hmac_hex_equal(location->hmac, ours);
}
