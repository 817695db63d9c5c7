#include "config/settings_keep.h"

#include "base/mem.h"
#include "config/settings_pattern.h"

#include <stdio.h>

static enum errc read_rule(struct keep_setting *rule, const json_t *object, const char *path,
                           const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    if (setting_read_object(keep_rows, keep_row_count, rule, object, path, "", origin, err) !=
        ERR_OK)
        return err->code;
    setting_path(at, path, "match");
    if (rule->match == NULL)
        return setting_refuse(origin, at, "must be given", err);
    if (setting_name_pattern_check(rule->match, "/:", err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin->name, at);
    if (rule->tags && setting_name_pattern_check(rule->tags, "", err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin->name, setting_path(at, path, "tags"));
    return ERR_OK;
}

enum errc setting_keep_read(struct settings *settings, const json_t *value,
                            const struct setting_origin *origin, struct error *err)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value))
        return setting_refuse(origin, "keep.rules", "must be a list", err);
    if (count > SETTINGS_RULES_MAX)
        return fail(err, ERR_SETTINGS, 0, "%s: keep.rules: must have at most %d entries",
                    origin->name, SETTINGS_RULES_MAX);
    settings->keep.rules = xcalloc(count, sizeof *settings->keep.rules);
    for (size_t i = 0; i < count; i++) {
        char path[SETTING_PATH_MAX];
        struct keep_setting *rule = &settings->keep.rules[settings->keep.rule_count++];
        snprintf(path, sizeof path, "keep.rules[%zu]", i);
        setting_defaults(keep_rows, keep_row_count, rule);
        if (read_rule(rule, json_array_get(value, i), path, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

json_t *setting_keep_print(const struct settings *settings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < settings->keep.rule_count; i++) {
        json_t *object = json_object();
        setting_print(keep_rows, keep_row_count, &settings->keep.rules[i], object);
        json_array_append_new(list, object);
    }
    return list;
}

void setting_keep_clear(struct settings *settings)
{
    for (size_t i = 0; i < settings->keep.rule_count; i++)
        setting_clear(keep_rows, keep_row_count, &settings->keep.rules[i]);
    free(settings->keep.rules);
}
