#include "gateway/access/oidc.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/access/claims.h"
#include "gateway/access/issuer_keys.h"
#include "gateway/access/jwt.h"

#include <openssl/crypto.h>
#include <string.h>

struct issuer {
    const struct oidc_setting *setting;
    struct issuer_keys *keys;
};

struct oidc {
    size_t count;
    struct issuer issuers[];
};

enum errc oidc_open(const struct oidc_setting *issuers, size_t count, struct oidc **out,
                    struct error *err)
{
    struct oidc *oidc = xcalloc(1, sizeof *oidc + count * sizeof oidc->issuers[0]);
    for (size_t i = 0; i < count; i++) {
        struct issuer *issuer = &oidc->issuers[i];
        issuer->setting = &issuers[i];
        if (issuer_keys_open(issuer->setting, &issuer->keys, err) != ERR_OK) {
            oidc_close(oidc);
            return err->code;
        }
        oidc->count++;
    }
    *out = oidc;
    return ERR_OK;
}

void oidc_close(struct oidc *oidc)
{
    if (oidc == NULL)
        return;
    for (size_t i = 0; i < oidc->count; i++)
        issuer_keys_close(oidc->issuers[i].keys);
    free(oidc);
}

static unsigned algorithms_of(const struct oidc_setting *setting)
{
    static const enum jwt_algorithm same[] = {
        [SETTING_RS256] = JWT_RS256, [SETTING_RS384] = JWT_RS384, [SETTING_RS512] = JWT_RS512,
        [SETTING_PS256] = JWT_PS256, [SETTING_ES256] = JWT_ES256, [SETTING_ES384] = JWT_ES384,
        [SETTING_EDDSA] = JWT_EDDSA,
    };
    unsigned bits = 0;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (setting->algorithms & 1u << i)
            bits |= JWT_BIT(same[i]);
    return bits;
}

static enum errc verify(const struct issuer *issuer, const struct key_set *set, const char *jwt,
                        json_t **claims, enum jwt_check *failed, struct error *err)
{
    const struct oidc_setting *setting = issuer->setting;
    const struct jwt_rules rules = {
        .keys = key_set_keys(set),
        .algorithms = algorithms_of(setting),
        .issuer = setting->issuer,
        .audiences = (const char *const *)setting->audiences.items,
        .audience_count = setting->audiences.count,
        .now_s = clock_wall_s(),
        .leeway_s = JWT_LEEWAY_S,
    };
    return jwt_verify(jwt, &rules, claims, failed, err);
}

/* A key that is not among those that are known may be a new one. */
static enum errc verify_with_newer(const struct issuer *issuer, const char *jwt, json_t **claims,
                                   struct error *err)
{
    enum jwt_check failed = JWT_PASSED;
    struct key_set *set = NULL;
    struct key_set *newer = NULL;
    if (issuer_keys_get(issuer->keys, NULL, &set, err) != ERR_OK)
        return err->code;
    if (verify(issuer, set, jwt, claims, &failed, err) != ERR_OK && failed == JWT_KEY) {
        struct error again = ERROR_INIT;
        if (issuer_keys_get(issuer->keys, set, &newer, &again) == ERR_OK && newer != set) {
            error_clear(err);
            verify(issuer, newer, jwt, claims, &failed, err);
        }
    }
    key_set_unref(set);
    key_set_unref(newer);
    return err->code;
}

static const struct issuer *find(const struct oidc *oidc, const char *name)
{
    for (size_t i = 0; i < oidc->count; i++)
        if (strcmp(oidc->issuers[i].setting->issuer, name) == 0)
            return &oidc->issuers[i];
    return NULL;
}

enum errc oidc_login(struct oidc *oidc, const char *jwt, struct login *out, struct error *err)
{
    autofree char *name = NULL;
    autojson json_t *claims = NULL;
    if (jwt_claimed_issuer(jwt, &name, err) != ERR_OK)
        return err->code;
    const struct issuer *issuer = find(oidc, name);
    if (issuer == NULL)
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the token is of an issuer that is not in clients.oidc");
    if (verify_with_newer(issuer, jwt, &claims, err) != ERR_OK)
        return err->code;
    const struct mapping_setting *mapping = claims_mapping(issuer->setting, claims);
    if (mapping == NULL)
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the token of %s is good, but no mapping in clients.oidc matches its claims",
                    issuer->setting->name);
    claims_login(issuer->setting, mapping, claims, out);
    return ERR_OK;
}

static bool is_mapping(const struct oidc_setting *setting, const struct mapping_setting *mapping,
                       const struct identity *identity, const char *fingerprint)
{
    char own[FINGERPRINT_MAX];
    if (strcmp(mapping->identity, identity->name) != 0)
        return false;
    mapping_fingerprint(setting, mapping, own);
    return strlen(own) == strlen(fingerprint) && CRYPTO_memcmp(own, fingerprint, strlen(own)) == 0;
}

bool oidc_stands(const struct oidc *oidc, const struct identity *identity, const char *fingerprint)
{
    for (size_t i = 0; i < oidc->count; i++) {
        const struct oidc_setting *setting = oidc->issuers[i].setting;
        if (identity->issuer == NULL || strcmp(setting->name, identity->issuer) != 0)
            continue;
        for (size_t m = 0; m < setting->mapping_count; m++)
            if (is_mapping(setting, &setting->mappings[m], identity, fingerprint))
                return true;
    }
    return false;
}
