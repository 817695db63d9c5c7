#include "config/settings_access.h"

#include "base/mem.h"
#include "config/settings_pattern.h"
#include "config/settings_text.h"

#include <stdio.h>
#include <string.h>

static enum errc must_be_given(const struct setting_origin *origin, const char *path,
                               const char *key, struct error *err)
{
    char at[SETTING_PATH_MAX];
    return setting_refuse(origin, setting_path(at, path, key), "must be given", err);
}

static enum errc expect_list(const json_t *value, size_t most, const char *path,
                             const struct setting_origin *origin, struct error *err)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0 || count > most)
        return fail(err, ERR_SETTINGS, 0, "%s: %s: must be a list of 1 to %zu objects",
                    origin->name, path, most);
    return ERR_OK;
}

/* ---- policy ---- */

static enum errc check_patterns(const struct policy_setting *rule, const char *path,
                                const struct setting_origin *origin, struct error *err)
{
    struct setting_wildcards ignored;
    for (size_t i = 0; i < rule->repositories.count; i++)
        if (setting_pattern_check(rule->repositories.items[i], ":[]", &ignored, err) != ERR_OK)
            return error_wrap(err, "%s: %s.repositories: entry %zu", origin->name, path, i + 1);
    for (size_t i = 0; i < rule->targets.count; i++)
        if (setting_target_pattern_check(rule->targets.items[i], &ignored, err) != ERR_OK)
            return error_wrap(err, "%s: %s.targets: entry %zu", origin->name, path, i + 1);
    return ERR_OK;
}

static bool may_push(unsigned may)
{
    for (unsigned i = 0; i < SETTING_OPERATION_COUNT; i++)
        if (strcmp(setting_operations[i], "push") == 0)
            return may & (1U << i);
    return false;
}

static enum errc read_rule(struct policy_setting *rule, const json_t *object, const char *path,
                           const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    setting_defaults(policy_rows, policy_row_count, rule);
    if (setting_read_object(policy_rows, policy_row_count, rule, object, path, "", origin, err) !=
        ERR_OK)
        return err->code;
    if (rule->who.count == 0)
        return must_be_given(origin, path, "who", err);
    if (rule->repositories.count + rule->targets.count == 0)
        return setting_refuse(origin, path, "must have repositories, targets or both", err);
    if (rule->repositories.count > 0 && rule->may == 0)
        return must_be_given(origin, path, "may", err);
    if (rule->targets.count > 0 && rule->may != 0 && !may_push(rule->may))
        return setting_refuse(origin, setting_path(at, path, "targets"),
                              "need \"push\" in may beside them: nothing else goes to a target",
                              err);
    return check_patterns(rule, path, origin, err);
}

enum errc setting_policy_read(struct settings *settings, const json_t *value,
                              const struct setting_origin *origin, struct error *err)
{
    size_t count = json_array_size(value);
    if (expect_list(value, SETTINGS_POLICY_MAX, "policy", origin, err) != ERR_OK)
        return err->code;
    settings->policy = xcalloc(count, sizeof *settings->policy);
    for (size_t i = 0; i < count; i++) {
        char path[SETTING_PATH_MAX];
        struct policy_setting *rule = &settings->policy[settings->policy_count++];
        snprintf(path, sizeof path, "policy[%zu]", i);
        if (read_rule(rule, json_array_get(value, i), path, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* ---- identity providers ---- */

static enum errc read_mapping(struct mapping_setting *mapping, const json_t *object,
                              const char *path, const struct setting_origin *origin,
                              struct error *err)
{
    setting_defaults(mapping_rows, mapping_row_count, mapping);
    if (setting_read_object(mapping_rows, mapping_row_count, mapping, object, path, "", origin,
                            err) != ERR_OK)
        return err->code;
    if (mapping->claims.count == 0)
        return must_be_given(origin, path, "claims", err);
    if (mapping->identity == NULL)
        return must_be_given(origin, path, "identity", err);
    return ERR_OK;
}

static enum errc read_mappings(struct oidc_setting *entry, const json_t *list, const char *path,
                               const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    size_t count = json_array_size(list);
    if (list == NULL)
        return must_be_given(origin, path, "mappings", err);
    if (expect_list(list, SETTINGS_MAPPINGS_MAX, setting_path(at, path, "mappings"), origin, err) !=
        ERR_OK)
        return err->code;
    entry->mappings = xcalloc(count, sizeof *entry->mappings);
    for (size_t i = 0; i < count; i++) {
        struct mapping_setting *mapping = &entry->mappings[entry->mapping_count++];
        snprintf(at, sizeof at, "%s.mappings[%zu]", path, i);
        if (read_mapping(mapping, json_array_get(list, i), at, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc check_issuer(const struct oidc_setting *entry, struct error *err)
{
    struct setting_url url;
    if (setting_url(entry->issuer, &url, err) != ERR_OK)
        return err->code;
    if (!url.https && !net_host_is_loopback(url.authority.host))
        return fail(err, ERR_SETTINGS, 0, "must begin with https:// beyond loopback");
    return ERR_OK;
}

/* Tokens are told apart by their issuer. */
static enum errc check_unique(const struct settings *settings, const struct oidc_setting *entry,
                              const char *path, const struct setting_origin *origin,
                              struct error *err)
{
    char at[SETTING_PATH_MAX];
    for (const struct oidc_setting *other = settings->clients.oidc; other < entry; other++) {
        if (strcmp(other->name, entry->name) == 0)
            return setting_refuse(origin, setting_path(at, path, "name"), "another entry has it",
                                  err);
        if (strcmp(other->issuer, entry->issuer) == 0)
            return setting_refuse(origin, setting_path(at, path, "issuer"), "another entry has it",
                                  err);
    }
    return ERR_OK;
}

static enum errc read_oidc(const struct settings *settings, struct oidc_setting *entry,
                           const json_t *object, const char *path,
                           const struct setting_origin *origin, struct error *err)
{
    setting_defaults(oidc_rows, oidc_row_count, entry);
    if (setting_read_object(oidc_rows, oidc_row_count, entry, object, path, "mappings", origin,
                            err) != ERR_OK)
        return err->code;
    if (entry->name == NULL)
        return must_be_given(origin, path, "name", err);
    if (entry->issuer == NULL)
        return must_be_given(origin, path, "issuer", err);
    if (entry->audiences.count == 0)
        return must_be_given(origin, path, "audiences", err);
    if (check_issuer(entry, err) != ERR_OK)
        return error_wrap(err, "%s: %s.issuer", origin->name, path);
    if (check_unique(settings, entry, path, origin, err) != ERR_OK)
        return err->code;
    return read_mappings(entry, json_object_get(object, "mappings"), path, origin, err);
}

enum errc setting_oidc_read(struct settings *settings, const json_t *value,
                            const struct setting_origin *origin, struct error *err)
{
    size_t count = json_array_size(value);
    if (expect_list(value, SETTINGS_OIDC_MAX, "clients.oidc", origin, err) != ERR_OK)
        return err->code;
    settings->clients.oidc = xcalloc(count, sizeof *settings->clients.oidc);
    for (size_t i = 0; i < count; i++) {
        char path[SETTING_PATH_MAX];
        struct oidc_setting *entry = &settings->clients.oidc[settings->clients.oidc_count++];
        snprintf(path, sizeof path, "clients.oidc[%zu]", i);
        if (read_oidc(settings, entry, json_array_get(value, i), path, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* ---- the other way ---- */

json_t *setting_policy_print(const struct settings *settings)
{
    json_t *list = settings->policy_count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < settings->policy_count; i++) {
        json_t *object = json_object();
        setting_print(policy_rows, policy_row_count, &settings->policy[i], object);
        json_array_append_new(list, object);
    }
    return list;
}

json_t *setting_oidc_print(const struct settings *settings)
{
    json_t *list = settings->clients.oidc_count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < settings->clients.oidc_count; i++) {
        const struct oidc_setting *entry = &settings->clients.oidc[i];
        json_t *object = json_object();
        json_t *mappings = json_array();
        for (size_t j = 0; j < entry->mapping_count; j++) {
            json_t *mapping = json_object();
            setting_print(mapping_rows, mapping_row_count, &entry->mappings[j], mapping);
            json_array_append_new(mappings, mapping);
        }
        setting_print(oidc_rows, oidc_row_count, entry, object);
        json_object_set_new(object, "mappings", mappings);
        json_array_append_new(list, object);
    }
    return list;
}

void setting_access_clear(struct settings *settings)
{
    for (size_t i = 0; i < settings->policy_count; i++)
        setting_clear(policy_rows, policy_row_count, &settings->policy[i]);
    free(settings->policy);
    for (size_t i = 0; i < settings->clients.oidc_count; i++) {
        struct oidc_setting *entry = &settings->clients.oidc[i];
        for (size_t j = 0; j < entry->mapping_count; j++)
            setting_clear(mapping_rows, mapping_row_count, &entry->mappings[j]);
        free(entry->mappings);
        setting_clear(oidc_rows, oidc_row_count, entry);
    }
    free(settings->clients.oidc);
}
