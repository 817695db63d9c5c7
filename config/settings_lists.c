#include "config/settings_lists.h"

#include "base/mem.h"
#include "config/settings_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENTRY_LIMIT 2048 /* bytes of an entry */

enum errc setting_take_text(const json_t *value, uint64_t least, uint64_t most, const char **text,
                            struct error *err)
{
    if (!json_is_string(value))
        return fail(err, ERR_SETTINGS, 0, "must be a string");
    const char *found = json_string_value(value);
    size_t size = strlen(found);
    if (size < least || size > most)
        return fail(err, ERR_SETTINGS, 0, "must have %" PRIu64 " to %" PRIu64 " bytes", least,
                    most);
    for (const char *at = found; *at; at++)
        if (iscntrl((unsigned char)*at))
            return fail(err, ERR_SETTINGS, 0, "must not hold control characters");
    *text = found;
    return ERR_OK;
}

void setting_list_clear(struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct setting_list){0};
}

/* Base URLs are kept without slashes at the end, so that a path can be appended. */
static enum errc take_url(const char *text, char **out, struct error *err)
{
    struct setting_url url;
    if (setting_url(text, &url, err) != ERR_OK)
        return err->code;
    size_t size = strlen(text);
    while (text[size - 1] == '/')
        size--;
    *out = xstrndup(text, size);
    return ERR_OK;
}

/* In lower case, without brackets. */
static enum errc take_host(const char *text, char **out, struct error *err)
{
    struct net_authority parsed;
    if (setting_authority(text, strlen(text), &parsed, err) != ERR_OK)
        return err->code;
    if (parsed.has_port)
        return fail(err, ERR_SETTINGS, 0, "must have no port");
    *out = xstrdup(parsed.host);
    return ERR_OK;
}

static enum errc take_as_it_is(const char *text, char **out, struct error *err)
{
    (void)err;
    *out = xstrdup(text);
    return ERR_OK;
}

static enum errc take_network(const char *text, char **out, struct error *err)
{
    struct net_network parsed;
    if (!net_network_parse(text, &parsed))
        return fail(err, ERR_SETTINGS, 0,
                    "must be an IP address or a network, like \"10.0.0.0/8\" or \"2001:db8::/32\"");
    *out = xstrdup(text);
    return ERR_OK;
}

struct list_form {
    const char *name;
    enum errc (*take)(const char *text, char **out, struct error *err);
};

static const struct list_form list_forms[] = {
    [SETTING_URLS] = {"URLs", take_url},
    [SETTING_HOSTS] = {"hosts", take_host},
    [SETTING_NETWORKS] = {"addresses and networks", take_network},
    [SETTING_TEXTS] = {"texts", take_as_it_is},
};

enum errc setting_list_set(const struct setting_row *row, struct setting_list *member,
                           const json_t *value, struct error *err)
{
    const struct list_form *form = &list_forms[row->type];
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count < row->least || count > row->most)
        return fail(err, ERR_SETTINGS, 0, "must be a list of %" PRIu64 " to %" PRIu64 " %s",
                    row->least, row->most, form->name);
    struct setting_list parsed = {.items = xcalloc(count, sizeof *parsed.items)};
    for (; parsed.count < count; parsed.count++) {
        const char *text;
        char **out = &parsed.items[parsed.count];
        if (setting_take_text(json_array_get(value, parsed.count), 1, ENTRY_LIMIT, &text, err) !=
                ERR_OK ||
            form->take(text, out, err) != ERR_OK) {
            error_wrap(err, "entry %zu", parsed.count + 1);
            setting_list_clear(&parsed);
            return err->code;
        }
    }
    setting_list_clear(member);
    *member = parsed;
    return ERR_OK;
}

json_t *setting_list_get(const struct setting_list *list)
{
    if (list->count == 0)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->items[i]));
    return array;
}

/* ---- objects of lists ---- */

void setting_lists_clear(struct setting_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++) {
        free(lists->items[i].name);
        setting_list_clear(&lists->items[i].list);
    }
    free(lists->items);
    *lists = (struct setting_lists){0};
}

/* The text "x" is the list ["x"]. */
static enum errc take_named_list(struct setting_named_list *out, const char *name, json_t *value,
                                 struct error *err)
{
    static const struct setting_row row = {
        .type = SETTING_TEXTS, .least = 1, .most = SETTINGS_NAMES_MAX};
    autojson json_t *list = json_is_string(value) ? json_pack("[O]", value) : json_incref(value);
    autojson json_t *key = json_string_nocheck(name);
    const char *text;
    if (setting_take_text(key, 1, SETTING_NAME_MAX, &text, err) != ERR_OK)
        return error_wrap(err, "a key");
    if (setting_list_set(&row, &out->list, list, err) != ERR_OK)
        return error_wrap(err, "%.64s", name);
    out->name = xstrdup(name);
    return ERR_OK;
}

enum errc setting_lists_set(const struct setting_row *row, struct setting_lists *member,
                            const json_t *value, struct error *err)
{
    size_t count = json_object_size(value);
    if (!json_is_object(value) || count < row->least || count > row->most)
        return fail(err, ERR_SETTINGS, 0,
                    "must be an object of %" PRIu64 " to %" PRIu64 " lists of texts", row->least,
                    row->most);
    struct setting_lists parsed = {.items = xcalloc(count, sizeof *parsed.items)};
    const char *name;
    json_t *list;
    json_object_foreach((json_t *)value, name, list)
    {
        if (take_named_list(&parsed.items[parsed.count++], name, list, err) != ERR_OK) {
            setting_lists_clear(&parsed);
            return err->code;
        }
    }
    setting_lists_clear(member);
    *member = parsed;
    return ERR_OK;
}

json_t *setting_lists_get(const struct setting_lists *lists)
{
    if (lists->count == 0)
        return NULL;
    json_t *object = json_object();
    for (size_t i = 0; i < lists->count; i++)
        json_object_set_new(object, lists->items[i].name, setting_list_get(&lists->items[i].list));
    return object;
}

/* ---- several choices ---- */

#define ANY "*" /* as the last choice it is all before it */

static enum errc take_choice(const struct setting_row *row, const char *text, unsigned *bits,
                             struct error *err)
{
    char known[160] = "";
    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        if (text && strcmp(row->choices[i], text) == 0) {
            *bits |= strcmp(text, ANY) == 0 ? (1U << i) - 1 : 1U << i;
            return ERR_OK;
        }
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, row->choices[i], sizeof known - strlen(known) - 1);
    }
    return fail(err, ERR_SETTINGS, 0, "must be a list of %s", known);
}

enum errc setting_choices_set(const struct setting_row *row, unsigned *member, const json_t *value,
                              struct error *err)
{
    unsigned bits = 0;
    size_t i;
    json_t *one;
    if (json_array_size(value) == 0)
        return take_choice(row, NULL, &bits, err);
    json_array_foreach((json_t *)value, i, one)
    {
        if (take_choice(row, json_string_value(one), &bits, err) != ERR_OK)
            return error_wrap(err, "entry %zu", i + 1);
    }
    *member = bits;
    return ERR_OK;
}

json_t *setting_choices_get(const struct setting_row *row, unsigned bits)
{
    json_t *list = json_array();
    for (unsigned i = 0; row->choices[i] != NULL; i++)
        if (bits & (1U << i))
            json_array_append_new(list, json_string(row->choices[i]));
        else if (strcmp(row->choices[i], ANY) == 0 && bits == (1U << i) - 1) {
            json_decref(list);
            return json_pack("[s]", ANY);
        }
    if (json_array_size(list) > 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *setting_choices_split(const char *text)
{
    json_t *list = json_array();
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, ", ");
        if (size > 0)
            json_array_append_new(list, json_stringn_nocheck(at, size));
        at += size + (at[size] != '\0');
    }
    return list;
}
