#include "gateway/access/scope.h"

#include "base/buf.h"
#include "base/mem.h"
#include "image/repository_name.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned action;
    enum operation operation;
} actions[] = {
    {"pull", SCOPE_PULL, OPERATION_PULL},
    {"push", SCOPE_PUSH, OPERATION_PUSH},
    {"delete", SCOPE_DELETE, OPERATION_DELETE},
};
#define ACTIONS (sizeof actions / sizeof actions[0])
#define CATALOG "catalog"

/* ---- reading ---- */

static bool is_text(const char *text, size_t size, const char *wanted)
{
    return strlen(wanted) == size && memcmp(text, wanted, size) == 0;
}

static unsigned action_of(const char *text, size_t size)
{
    for (size_t i = 0; i < ACTIONS; i++)
        if (is_text(text, size, actions[i].name))
            return actions[i].action;
    return is_text(text, size, "*") ? SCOPE_ALL : 0;
}

static unsigned read_actions(const char *text, size_t size)
{
    unsigned all = 0;
    for (const char *end = text + size; text < end;) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t length = (size_t)((comma ? comma : end) - text);
        all |= action_of(text, length);
        text += length + 1;
    }
    return all;
}

/* "repository", also with a class in brackets. */
static bool is_repository(const char *type, size_t size)
{
    const char *bracket = memchr(type, '(', size);
    if (bracket && type[size - 1] == ')')
        size = (size_t)(bracket - type);
    return is_text(type, size, "repository");
}

static bool is_name(const char *name, size_t size)
{
    struct error ignored = ERROR_INIT;
    return repository_name_check(name, size, &ignored) == ERR_OK;
}

static enum errc put(struct scopes *scopes, const char *name, size_t size, unsigned wanted,
                     struct error *err)
{
    for (size_t i = 0; i < scopes->count; i++) {
        const char *held = scopes->items[i].repository;
        if ((held == NULL) != (name == NULL) || (held && !is_text(name, size, held)))
            continue;
        scopes->items[i].actions |= wanted;
        return ERR_OK;
    }
    if (scopes->count == SCOPES_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "more than %d scopes", SCOPES_MAX);
    scopes->items[scopes->count++] =
        (struct scope){.repository = name ? xstrndup(name, size) : NULL, .actions = wanted};
    return ERR_OK;
}

static enum errc add_one(struct scopes *scopes, const char *text, size_t size, struct error *err)
{
    const char *first = memchr(text, ':', size);
    const char *last = memrchr(text, ':', size);
    if (first == last)
        return ERR_OK;
    const char *name = first + 1;
    size_t type_size = (size_t)(first - text);
    size_t name_size = (size_t)(last - name);
    unsigned wanted = read_actions(last + 1, size - (size_t)(last + 1 - text));
    if (wanted && is_repository(text, type_size) && is_name(name, name_size))
        return put(scopes, name, name_size, wanted, err);
    if (wanted == SCOPE_ALL && is_text(text, type_size, "registry") &&
        is_text(name, name_size, CATALOG))
        return put(scopes, NULL, 0, SCOPE_ALL, err);
    return ERR_OK;
}

enum errc scopes_add(struct scopes *scopes, const char *text, struct error *err)
{
    scopes->size += strlen(text);
    if (scopes->size > SCOPES_SIZE_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "the scopes have more than %zu bytes",
                    SCOPES_SIZE_MAX);
    while (*text) {
        size_t size = strcspn(text, " ");
        if (size > 0 && add_one(scopes, text, size, err) != ERR_OK)
            return err->code;
        text += size + (text[size] == ' ');
    }
    return ERR_OK;
}

void scopes_deinit(struct scopes *scopes)
{
    for (size_t i = 0; i < scopes->count; i++)
        free(scopes->items[i].repository);
    scopes->count = 0;
}

/* ---- what is granted ---- */

static unsigned granted(const struct scope *scope, const struct rights *rights,
                        const struct identity *who)
{
    unsigned left = 0;
    if (scope->repository == NULL)
        return rights->may(rights->self, who, OPERATION_PULL, NULL) ? scope->actions : 0;
    for (size_t i = 0; i < ACTIONS; i++)
        if ((scope->actions & actions[i].action) &&
            rights->may(rights->self, who, actions[i].operation, scope->repository))
            left |= actions[i].action;
    return left;
}

void scopes_limit(struct scopes *scopes, const struct rights *rights, const struct identity *who)
{
    size_t kept = 0;
    for (size_t i = 0; i < scopes->count; i++) {
        struct scope scope = scopes->items[i];
        scope.actions = granted(&scope, rights, who);
        if (scope.actions)
            scopes->items[kept++] = scope;
        else
            free(scope.repository);
    }
    scopes->count = kept;
}

unsigned scopes_actions(const struct scopes *scopes, const char *repository)
{
    for (size_t i = 0; i < scopes->count; i++) {
        const char *held = scopes->items[i].repository;
        if (held && repository ? strcmp(held, repository) == 0 : held == repository)
            return scopes->items[i].actions;
    }
    return 0;
}

/* ---- writing ---- */

static void write_scope(struct buf *out, const char *repository, unsigned held)
{
    const char *comma = "";
    if (repository == NULL) {
        buf_text(out, "registry:" CATALOG ":*");
        return;
    }
    buf_format(out, "repository:%s:", repository);
    for (size_t i = 0; i < ACTIONS; i++) {
        if ((held & actions[i].action) == 0)
            continue;
        buf_format(out, "%s%s", comma, actions[i].name);
        comma = ",";
    }
}

char *scopes_text(const struct scopes *scopes)
{
    struct buf out = BUF_INIT(4 * SCOPES_SIZE_MAX);
    for (size_t i = 0; i < scopes->count; i++) {
        buf_text(&out, i > 0 ? " " : "");
        write_scope(&out, scopes->items[i].repository, scopes->items[i].actions);
    }
    return buf_take(&out);
}

char *scope_text(const char *repository, unsigned held)
{
    struct buf out = BUF_INIT(SCOPES_SIZE_MAX);
    write_scope(&out, repository, held);
    return buf_take(&out);
}

static json_t *scope_json(const struct scope *scope)
{
    json_t *names = json_array();
    for (size_t i = 0; i < ACTIONS && scope->repository; i++)
        if (scope->actions & actions[i].action)
            json_array_append_new(names, json_string(actions[i].name));
    if (scope->repository == NULL)
        json_array_append_new(names, json_string("*"));
    return json_pack("{s:s, s:s, s:o}", "type", scope->repository ? "repository" : "registry",
                     "name", scope->repository ? scope->repository : CATALOG, "actions", names);
}

json_t *scopes_json(const struct scopes *scopes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < scopes->count; i++)
        json_array_append_new(list, scope_json(&scopes->items[i]));
    return list;
}

enum errc scopes_from_json(const json_t *value, struct scopes *out, struct error *err)
{
    struct scopes scopes = {.count = 0};
    const json_t *one = NULL;
    const json_t *action = NULL;
    size_t i = 0;
    size_t a = 0;
    json_array_foreach(value, i, one)
    {
        const char *type = json_text(one, "type");
        const char *name = json_text(one, "name");
        json_array_foreach(json_object_get(one, "actions"), a, action)
        {
            autofree char *text =
                xasprintf("%s:%s:%s", type ? type : "", name ? name : "",
                          json_is_string(action) ? json_string_value(action) : "");
            if (add_one(&scopes, text, strlen(text), err) == ERR_OK)
                continue;
            scopes_deinit(&scopes);
            return err->code;
        }
    }
    *out = scopes;
    return ERR_OK;
}
