#include "config/settings_table.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/program.h"
#include "config/settings.h"
#include "config/settings_lists.h"
#include "config/settings_text.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PATH_LIMIT 4095
#define REDACTED "(redacted)"

static enum errc refuse(struct error *err, const char *what)
{
    return fail(err, ERR_SETTINGS, 0, "must be %s", what);
}

static void replace(char **member, char *owned)
{
    free(*member);
    *member = owned;
}

/* Absolute, so that it says the same wherever it is read or printed. */
static char *resolve(const char *path, const struct setting_origin *origin)
{
    autofree char *below = path[0] == '/' || origin->folder == NULL
                               ? xstrdup(path)
                               : xasprintf("%s/%s", origin->folder, path);
    autofree char *here = below[0] == '/' ? NULL : getcwd(NULL, 0);
    return here ? xasprintf("%s/%s", here, below) : mem_take(&below);
}

static enum errc set_text(const struct setting_row *row, void *member, const json_t *value,
                          struct error *err)
{
    const char *text;
    if (setting_take_text(value, row->least, row->most, &text, err) != ERR_OK)
        return err->code;
    replace(member, xstrdup(text));
    return ERR_OK;
}

static enum errc set_path(const struct setting_row *row, void *member, const json_t *value,
                          const struct setting_origin *origin, struct error *err)
{
    const char *text;
    if (setting_take_text(value, 1, PATH_LIMIT, &text, err) != ERR_OK)
        return err->code;
    bool as_it_is = row->type == SETTING_OUTPUT && strcmp(text, "-") == 0;
    replace(member, as_it_is ? xstrdup(text) : resolve(text, origin));
    return ERR_OK;
}

static enum errc set_address(void *member, const json_t *value, struct error *err)
{
    const char *text;
    struct sockaddr_storage address;
    socklen_t size;
    if (setting_take_text(value, 1, NET_HOST_MAX, &text, err) != ERR_OK ||
        settings_address(text, &address, &size, err) != ERR_OK)
        return err->code;
    replace(member, xstrdup(text));
    return ERR_OK;
}

static enum errc set_bool(bool *member, const json_t *value, struct error *err)
{
    if (!json_is_boolean(value))
        return refuse(err, "true or false");
    *member = json_is_true(value);
    return ERR_OK;
}

static enum errc set_count(const struct setting_row *row, unsigned *member, const json_t *value,
                           struct error *err)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < (json_int_t)row->least ||
        number > (json_int_t)row->most)
        return fail(err, ERR_SETTINGS, 0, "must be a whole number from %" PRIu64 " to %" PRIu64,
                    row->least, row->most);
    *member = (unsigned)number;
    return ERR_OK;
}

static enum errc set_size(const struct setting_row *row, uint64_t *member, const json_t *value,
                          struct error *err)
{
    uint64_t bytes = 0;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        bytes = (uint64_t)json_integer_value(value);
    else if (!json_is_string(value))
        return refuse(err, "a size, like \"64MiB\" or a number of bytes");
    else if (settings_size(json_string_value(value), &bytes, err) != ERR_OK)
        return err->code;
    char least[SETTING_SIZE_TEXT_MAX];
    char most[SETTING_SIZE_TEXT_MAX];
    if (bytes < row->least || bytes > row->most)
        return fail(err, ERR_SETTINGS, 0, "must be from %s to %s",
                    setting_size_text(row->least, least), setting_size_text(row->most, most));
    *member = bytes;
    return ERR_OK;
}

static enum errc set_duration(const struct setting_row *row, int64_t *member, const json_t *value,
                              struct error *err)
{
    int64_t ms = 0;
    if (!json_is_string(value))
        return refuse(err, "a time, like \"30s\"");
    if (row->choices && strcmp(json_string_value(value), row->choices[0]) == 0) {
        *member = 0;
        return ERR_OK;
    }
    if (settings_duration(json_string_value(value), &ms, err) != ERR_OK)
        return err->code;
    char least[SETTING_SIZE_TEXT_MAX];
    char most[SETTING_SIZE_TEXT_MAX];
    if ((uint64_t)ms < row->least || (uint64_t)ms > row->most)
        return fail(err, ERR_SETTINGS, 0, "must be from %s to %s",
                    setting_duration_text(row->least, least),
                    setting_duration_text(row->most, most));
    *member = ms;
    return ERR_OK;
}

static enum errc set_choice(const struct setting_row *row, unsigned *member, const json_t *value,
                            struct error *err)
{
    const char *text = json_string_value(value);
    char known[128] = "";
    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        if (text != NULL && strcmp(row->choices[i], text) == 0) {
            *member = i;
            return ERR_OK;
        }
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, row->choices[i], sizeof known - strlen(known) - 1);
    }
    return fail(err, ERR_SETTINGS, 0, "must be one of %s", known);
}

/* One newline at the end is the editor's, not the password's. */
enum errc settings_password_file(const char *path, char **out, struct error *err)
{
    autosecret char *data = NULL;
    size_t size = 0;
    if (file_read_all(path, 64 * 1024, &data, &size, err) != ERR_OK) {
        err->code = ERR_SETTINGS;
        return err->code;
    }
    if (strlen(data) != size) {
        explicit_bzero(data, size);
        return fail(err, ERR_SETTINGS, 0, "%s holds a NUL byte", path);
    }
    if (size > 0 && data[size - 1] == '\n')
        data[--size] = '\0';
    if (size == 0)
        return fail(err, ERR_SETTINGS, 0, "%s is empty", path);
    *out = mem_take(&data);
    return ERR_OK;
}

static enum errc read_secret_env(const struct setting_row *row, const char *name, char **out,
                                 struct error *err)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0')
        return fail(err, ERR_SETTINGS, 0, "the environment variable %s is %s", name,
                    value ? "empty" : "not set");
    if (strlen(value) > row->most)
        return fail(err, ERR_SETTINGS, 0, "the environment variable %s has over %" PRIu64 " bytes",
                    name, row->most);
    *out = xstrdup(value);
    program_hide_variable(name);
    return ERR_OK;
}

static enum errc set_secret(const struct setting_row *row, struct setting_secret *member,
                            const json_t *value, const struct setting_origin *origin,
                            struct error *err)
{
    const char *text;
    if (member->text != NULL)
        return fail(err, ERR_SETTINGS, 0,
                    "at most one of password, password_file and password_env can be given");
    if (row->type == SETTING_SECRET) {
        if (set_text(row, &member->text, value, err) == ERR_OK)
            replace(&member->from, xasprintf("%s, %s", row->path, origin->name));
        return err->code;
    }
    if (setting_take_text(value, 1, PATH_LIMIT, &text, err) != ERR_OK)
        return err->code;
    bool env = row->type == SETTING_SECRET_ENV;
    autofree char *path = env ? xstrdup(text) : resolve(text, origin);
    if ((env ? read_secret_env(row, path, &member->text, err)
             : settings_password_file(path, &member->text, err)) == ERR_OK)
        replace(&member->from, xasprintf("%s, %s%s", row->path, env ? "the variable " : "", path));
    return err->code;
}

enum errc setting_set(const struct setting_row *row, void *base, const json_t *value,
                      const struct setting_origin *origin, struct error *err)
{
    void *member = (char *)base + row->offset;
    switch (row->type) {
    case SETTING_TEXT:
        return set_text(row, member, value, err);
    case SETTING_ADDRESS:
        return set_address(member, value, err);
    case SETTING_FOLDER:
    case SETTING_FILE:
    case SETTING_OUTPUT:
        return set_path(row, member, value, origin, err);
    case SETTING_BOOL:
        return set_bool(member, value, err);
    case SETTING_COUNT:
        return set_count(row, member, value, err);
    case SETTING_SIZE:
        return set_size(row, member, value, err);
    case SETTING_DURATION:
        return set_duration(row, member, value, err);
    case SETTING_CHOICE:
        return set_choice(row, member, value, err);
    case SETTING_URLS:
    case SETTING_HOSTS:
    case SETTING_NETWORKS:
    case SETTING_TEXTS:
        return setting_list_set(row, member, value, err);
    case SETTING_LISTS:
        return setting_lists_set(row, member, value, err);
    case SETTING_CHOICES:
        return setting_choices_set(row, member, value, err);
    case SETTING_SECRET:
    case SETTING_SECRET_FILE:
    case SETTING_SECRET_ENV:
        return set_secret(row, member, value, origin, err);
    }
    return fail(err, ERR_INTERNAL, 0, "no such type of setting");
}

/* What the text would be in the file, by the row's type. */
static json_t *text_value(const struct setting_row *row, const char *text)
{
    if (row->type == SETTING_BOOL && strcmp(text, "true") == 0)
        return json_true();
    if (row->type == SETTING_BOOL && strcmp(text, "false") == 0)
        return json_false();
    if (row->type == SETTING_CHOICES)
        return setting_choices_split(text);
    uint64_t number;
    struct error ignored = ERROR_INIT;
    if (row->type == SETTING_COUNT && text[0] && isdigit((unsigned char)text[strlen(text) - 1]) &&
        settings_size(text, &number, &ignored) == ERR_OK)
        return json_integer((json_int_t)number);
    /* A path may be no UTF-8. */
    return json_string_nocheck(text);
}

enum errc setting_set_text(const struct setting_row *row, void *base, const char *text,
                           const struct setting_origin *origin, struct error *err)
{
    autojson json_t *value = text_value(row, text);
    return setting_set(row, base, value, origin, err);
}

void setting_defaults(const struct setting_row *rows, size_t count, void *base)
{
    const struct setting_origin origin = {.name = "the defaults"};
    for (size_t i = 0; i < count; i++) {
        struct error err = ERROR_INIT;
        if (rows[i].initial != NULL)
            setting_set_text(&rows[i], base, rows[i].initial, &origin, &err);
        assert(err.code == ERR_OK); /* a default is within its limits */
    }
}

static json_t *get_text(const char *text)
{
    if (text == NULL)
        return NULL;
    json_t *value = json_string(text);
    return value ? value : json_string("(not UTF-8)");
}

json_t *setting_get(const struct setting_row *row, const void *base)
{
    const void *member = (const char *)base + row->offset;
    char size[SETTING_SIZE_TEXT_MAX];
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_ADDRESS:
    case SETTING_FOLDER:
    case SETTING_FILE:
    case SETTING_OUTPUT:
        return get_text(*(char *const *)member);
    case SETTING_BOOL:
        return json_boolean(*(const bool *)member);
    case SETTING_COUNT:
        if (row->initial == NULL && *(const unsigned *)member == 0)
            return NULL;
        return json_integer(*(const unsigned *)member);
    case SETTING_SIZE:
        if (row->initial == NULL && *(const uint64_t *)member == 0)
            return NULL;
        return json_string(setting_size_text(*(const uint64_t *)member, size));
    case SETTING_DURATION:
        if (row->choices && *(const int64_t *)member == 0)
            return json_string(row->choices[0]);
        if (row->initial == NULL && *(const int64_t *)member == 0)
            return NULL;
        return json_string(setting_duration_text((uint64_t) * (const int64_t *)member, size));
    case SETTING_CHOICE:
        return json_string(row->choices[*(const unsigned *)member]);
    case SETTING_URLS:
    case SETTING_HOSTS:
    case SETTING_NETWORKS:
    case SETTING_TEXTS:
        return setting_list_get(member);
    case SETTING_LISTS:
        return setting_lists_get(member);
    case SETTING_CHOICES:
        return setting_choices_get(row, *(const unsigned *)member);
    case SETTING_SECRET:
        return ((const struct setting_secret *)member)->text ? json_string(REDACTED) : NULL;
    case SETTING_SECRET_FILE:
    case SETTING_SECRET_ENV:
        return NULL;
    }
    return NULL;
}

static void clear_secret(struct setting_secret *secret)
{
    secret_free(&secret->text);
    replace(&secret->from, NULL);
}

void setting_clear(const struct setting_row *rows, size_t count, void *base)
{
    for (size_t i = 0; i < count; i++) {
        void *member = (char *)base + rows[i].offset;
        switch (rows[i].type) {
        case SETTING_TEXT:
        case SETTING_ADDRESS:
        case SETTING_FOLDER:
        case SETTING_FILE:
        case SETTING_OUTPUT:
            replace(member, NULL);
            break;
        case SETTING_SECRET:
        case SETTING_SECRET_FILE:
        case SETTING_SECRET_ENV:
            clear_secret(member);
            break;
        case SETTING_URLS:
        case SETTING_HOSTS:
        case SETTING_NETWORKS:
        case SETTING_TEXTS:
            setting_list_clear(member);
            break;
        case SETTING_LISTS:
            setting_lists_clear(member);
            break;
        case SETTING_BOOL:
        case SETTING_COUNT:
        case SETTING_SIZE:
        case SETTING_DURATION:
        case SETTING_CHOICE:
        case SETTING_CHOICES:
            break;
        }
    }
}
