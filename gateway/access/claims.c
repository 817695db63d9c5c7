#include "gateway/access/claims.h"

#include "base/mem.h"
#include "image/digest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool claim_matches(const char *pattern, const char *text)
{
    const char *star = NULL; /* the last one, and where the text goes on behind what it took */
    const char *behind = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            behind = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++behind;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

static bool one_matches(const struct setting_list *patterns, const json_t *value)
{
    autofree char *text = json_is_string(value) ? xstrdup(json_string_value(value))
                                                : json_dumps(value, JSON_ENCODE_ANY);
    for (size_t i = 0; text && i < patterns->count; i++)
        if (claim_matches(patterns->items[i], text))
            return true;
    return false;
}

static bool is_met(const struct setting_list *patterns, const json_t *value)
{
    size_t i = 0;
    const json_t *element = NULL;
    if (json_is_string(value) || json_is_boolean(value) || json_is_number(value))
        return one_matches(patterns, value);
    json_array_foreach(value, i, element)
    {
        if (!json_is_array(element) && is_met(patterns, element))
            return true;
    }
    return false;
}

const struct mapping_setting *claims_mapping(const struct oidc_setting *setting,
                                             const json_t *claims)
{
    for (size_t i = 0; i < setting->mapping_count; i++) {
        const struct setting_lists *wanted = &setting->mappings[i].claims;
        size_t met = 0;
        while (met < wanted->count &&
               is_met(&wanted->items[met].list, json_object_get(claims, wanted->items[met].name)))
            met++;
        if (met == wanted->count && met > 0)
            return &setting->mappings[i];
    }
    return NULL;
}

static json_t *list_json(const struct setting_list *list)
{
    json_t *value = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(value, json_string(list->items[i]));
    return value;
}

void mapping_fingerprint(const struct oidc_setting *setting, const struct mapping_setting *mapping,
                         char out[FINGERPRINT_MAX])
{
    char text[DIGEST_TEXT_MAX];
    json_t *all = json_object();
    json_t *claims = json_object();
    json_put_text(all, "issuer", setting->issuer);
    json_put_text(all, "identity", mapping->identity);
    json_put_number(all, "ttl", (uint64_t)mapping->ttl_ms);
    json_object_set_new(all, "groups", list_json(&mapping->groups));
    for (size_t i = 0; i < mapping->claims.count; i++)
        json_object_set_new(claims, mapping->claims.items[i].name,
                            list_json(&mapping->claims.items[i].list));
    json_object_set_new(all, "claims", claims);
    autofree char *bytes = json_compact_take(all);
    struct digest digest = digest_of(DIGEST_SHA256, bytes, strlen(bytes));
    snprintf(out, FINGERPRINT_MAX, "%s", digest_hex(&digest, text));
}

static char *looked_at(const struct mapping_setting *mapping, const json_t *claims)
{
    json_t *found = json_object();
    for (size_t i = 0; i < mapping->claims.count; i++) {
        const char *name = mapping->claims.items[i].name;
        json_object_set(found, name, json_object_get(claims, name));
    }
    return json_compact_take(found);
}

void claims_login(const struct oidc_setting *setting, const struct mapping_setting *mapping,
                  const json_t *claims, struct login *out)
{
    struct identity *identity = &out->identity;
    *out = (struct login)LOGIN_INIT;
    assert(mapping->groups.count <= IDENTITY_GROUPS_MAX);
    identity->kind = IDENTITY_CI;
    identity->name = xstrdup(mapping->identity);
    identity->issuer = xstrdup(setting->name);
    identity->claims = looked_at(mapping, claims);
    identity->group_count = mapping->groups.count;
    if (identity->group_count > 0)
        identity->groups = xcalloc(identity->group_count, sizeof *identity->groups);
    for (size_t i = 0; i < identity->group_count; i++)
        identity->groups[i] = xstrdup(mapping->groups.items[i]);
    mapping_fingerprint(setting, mapping, out->fingerprint);
    out->ttl_s = mapping->ttl_ms / 1000;
}
