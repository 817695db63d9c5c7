#include "config/settings_mirrors.h"

#include "base/mem.h"
#include "config/settings_pattern.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static enum errc check_target(const char *target, const struct setting_wildcards *match,
                              struct error *err)
{
    struct setting_wildcards own;
    if (memchr(target, '*', strcspn(target, "/")) != NULL)
        return fail(err, ERR_SETTINGS, 0, "must not have a wildcard in its host");
    if (setting_target_pattern_check(target, &own, err) != ERR_OK)
        return err->code;
    if (own.single > match->single || own.deep > match->deep)
        return fail(err, ERR_SETTINGS, 0, "has more wildcards %s than match",
                    own.deep > match->deep ? "**" : "*");
    return ERR_OK;
}

static enum errc read_target(struct mirror_target_setting *target, const json_t *value,
                             const char *path, const struct setting_wildcards *match,
                             const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    enum errc rc;
    snprintf(at, sizeof at, "%s%s", path, json_is_object(value) ? ".target" : "");
    if (json_is_object(value))
        rc = setting_read_object(mirror_target_rows, mirror_target_row_count, target, value, path,
                                 "", origin, err);
    else if (json_is_string(value))
        rc = setting_read(setting_find(mirror_target_rows, mirror_target_row_count, "target"),
                          target, value, path, origin, err);
    else
        rc = setting_refuse(origin, path, "must be a string or an object", err);
    if (rc != ERR_OK)
        return rc;
    if (target->target == NULL)
        return setting_refuse(origin, at, "must be given", err);
    if (check_target(target->target, match, err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin->name, at);
    for (size_t i = 0; i < target->immutable.count; i++)
        if (setting_name_pattern_check(target->immutable.items[i], "", err) != ERR_OK)
            return error_wrap(err, "%s: %s.immutable: entry %zu", origin->name, path, i + 1);
    return ERR_OK;
}

static enum errc read_targets(struct mirror_setting *mirror, const json_t *list, const char *path,
                              const struct setting_wildcards *match,
                              const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    size_t count = json_array_size(list);
    setting_path(at, path, "to");
    if (list == NULL)
        return setting_refuse(origin, at, "must be given", err);
    if (!json_is_array(list) || count == 0 || count > TARGETS_MAX)
        return fail(err, ERR_SETTINGS, 0, "%s: %s: must be a list of 1 to %d targets", origin->name,
                    at, TARGETS_MAX);
    mirror->targets = xcalloc(count, sizeof *mirror->targets);
    for (size_t i = 0; i < count; i++) {
        struct mirror_target_setting *target = &mirror->targets[mirror->target_count++];
        snprintf(at, sizeof at, "%s.to[%zu]", path, i);
        setting_defaults(mirror_target_rows, mirror_target_row_count, target);
        if (read_target(target, json_array_get(list, i), at, match, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc read_mirror(struct mirror_setting *mirror, const json_t *object, const char *path,
                             const struct setting_origin *origin, struct error *err)
{
    char at[SETTING_PATH_MAX];
    struct setting_wildcards match;
    if (setting_read_object(mirror_rows, mirror_row_count, mirror, object, path, "to", origin,
                            err) != ERR_OK)
        return err->code;
    setting_path(at, path, "match");
    if (mirror->match == NULL)
        return setting_refuse(origin, at, "must be given", err);
    if (setting_pattern_check(mirror->match, ":[]", &match, err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin->name, at);
    return read_targets(mirror, json_object_get(object, "to"), path, &match, origin, err);
}

/* ---- names of targets ---- */

static enum errc check_name(const char *name, struct error *err)
{
    for (const char *at = name; *at; at++)
        if (!(*at >= 'a' && *at <= 'z') && !isdigit((unsigned char)*at) && *at != '-')
            return fail(err, ERR_SETTINGS, 0, "must have lower-case letters, digits and \"-\"");
    return ERR_OK;
}

/* Among those that have one already. */
static bool is_taken(const struct settings *settings, const char *label)
{
    for (size_t i = 0; i < settings->mirror_count; i++)
        for (size_t j = 0; j < settings->mirrors[i].target_count; j++) {
            const char *other = settings->mirrors[i].targets[j].label;
            if (other && strcmp(other, label) == 0)
                return true;
        }
    return false;
}

static char *default_label(const struct settings *settings, const char *target)
{
    int host_size = (int)strcspn(target, "/");
    char label[SETTING_TARGET_NAME_MAX + 1];
    if (host_size > SETTING_TARGET_NAME_MAX - 6)
        host_size = SETTING_TARGET_NAME_MAX - 6;
    snprintf(label, sizeof label, "%.*s", host_size, target);
    for (unsigned number = 2; is_taken(settings, label); number++)
        snprintf(label, sizeof label, "%.*s-%u", host_size, target, number);
    return xstrdup(label);
}

static enum errc take_name(const struct settings *settings, struct mirror_target_setting *target,
                           const char *path, const struct setting_origin *origin, struct error *err)
{
    if (check_name(target->name, err) != ERR_OK)
        return error_wrap(err, "%s: %s.name", origin->name, path);
    if (is_taken(settings, target->name))
        return fail(err, ERR_SETTINGS, 0, "%s: %s.name: another target has it", origin->name, path);
    target->label = xstrdup(target->name);
    return ERR_OK;
}

/* Those that are given go first, wherever they stand. */
static enum errc label_targets(struct settings *settings, const struct setting_origin *origin,
                               struct error *err)
{
    for (int given = 1; given >= 0; given--)
        for (size_t i = 0; i < settings->mirror_count; i++)
            for (size_t j = 0; j < settings->mirrors[i].target_count; j++) {
                struct mirror_target_setting *target = &settings->mirrors[i].targets[j];
                char path[SETTING_PATH_MAX];
                snprintf(path, sizeof path, "mirrors[%zu].to[%zu]", i, j);
                if (given && target->name &&
                    take_name(settings, target, path, origin, err) != ERR_OK)
                    return err->code;
                if (!given && target->name == NULL)
                    target->label = default_label(settings, target->target);
            }
    return ERR_OK;
}

enum errc setting_mirrors_read(struct settings *settings, const json_t *value,
                               const struct setting_origin *origin, struct error *err)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value))
        return setting_refuse(origin, "mirrors", "must be a list", err);
    if (count > SETTINGS_MIRRORS_MAX)
        return fail(err, ERR_SETTINGS, 0, "%s: mirrors: must have at most %d entries", origin->name,
                    SETTINGS_MIRRORS_MAX);
    settings->mirrors = xcalloc(count, sizeof *settings->mirrors);
    for (size_t i = 0; i < count; i++) {
        char path[SETTING_PATH_MAX];
        struct mirror_setting *mirror = &settings->mirrors[settings->mirror_count++];
        snprintf(path, sizeof path, "mirrors[%zu]", i);
        setting_defaults(mirror_rows, mirror_row_count, mirror);
        if (read_mirror(mirror, json_array_get(value, i), path, origin, err) != ERR_OK)
            return err->code;
    }
    return label_targets(settings, origin, err);
}

static json_t *print_target(const struct mirror_target_setting *target)
{
    if (target->required && target->name == NULL && target->on_drift == SETTING_DRIFT_OVERWRITE &&
        target->move == SETTING_MOVE_ALWAYS && target->immutable.count == 0)
        return json_string(target->target);
    json_t *object = json_object();
    setting_print(mirror_target_rows, mirror_target_row_count, target, object);
    return object;
}

json_t *setting_mirrors_print(const struct settings *settings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < settings->mirror_count; i++) {
        const struct mirror_setting *mirror = &settings->mirrors[i];
        json_t *object = json_object();
        json_t *targets = json_array();
        for (size_t j = 0; j < mirror->target_count; j++)
            json_array_append_new(targets, print_target(&mirror->targets[j]));
        setting_print(mirror_rows, mirror_row_count, mirror, object);
        json_object_set_new(object, "to", targets);
        json_array_append_new(list, object);
    }
    return list;
}

void setting_mirrors_clear(struct settings *settings)
{
    for (size_t i = 0; i < settings->mirror_count; i++) {
        struct mirror_setting *mirror = &settings->mirrors[i];
        for (size_t j = 0; j < mirror->target_count; j++) {
            free(mirror->targets[j].label);
            setting_clear(mirror_target_rows, mirror_target_row_count, &mirror->targets[j]);
        }
        free(mirror->targets);
        setting_clear(mirror_rows, mirror_row_count, mirror);
    }
    free(settings->mirrors);
}
