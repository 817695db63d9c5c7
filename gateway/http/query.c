#include "gateway/http/query.h"

#include "base/mem.h"
#include "base/secret.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum errc percent_decode(const char *text, size_t size, char **out, struct error *err)
{
    autofree char *decoded = xmalloc(size + 1);
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            decoded[n++] = text[i];
            continue;
        }
        int high = i + 2 < size ? hex_value(text[i + 1]) : -1;
        int low = i + 2 < size ? hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return fail(err, ERR_BAD_REQUEST, 0, "\"%.*s\" has a broken escape",
                        size < 100 ? (int)size : 100, text);
        if (high == 0 && low == 0)
            return fail(err, ERR_BAD_REQUEST, 0, "an encoded NUL is no text");
        decoded[n++] = (char)(high << 4 | low);
        i += 2;
    }
    decoded[n] = '\0';
    *out = mem_take(&decoded);
    return ERR_OK;
}

static enum errc add_parameter(struct query *query, const char *text, size_t size,
                               struct error *err)
{
    const char *equals = memchr(text, '=', size);
    size_t name_size = equals ? (size_t)(equals - text) : size;
    size_t value_at = equals ? name_size + 1 : size;
    struct query_parameter *item = &query->items[query->count];
    if (query->count == QUERY_PARAMETERS_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "more than %d parameters", QUERY_PARAMETERS_MAX);
    *item = (struct query_parameter){0};
    query->count++;
    if (percent_decode(text, name_size, &item->name, err) != ERR_OK)
        return err->code;
    return percent_decode(text + value_at, size - value_at, &item->value, err);
}

static size_t count_parameters(const char *text)
{
    size_t count = 1;
    for (; *text && count < QUERY_PARAMETERS_MAX; text++)
        count += *text == '&';
    return count;
}

enum errc query_parse(const char *text, struct query *out, struct error *err)
{
    struct query query = {.items = xcalloc(count_parameters(text), sizeof *query.items)};
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, "&");
        if (size > 0 && add_parameter(&query, at, size, err) != ERR_OK) {
            query_deinit(&query);
            return error_wrap(err, "query");
        }
        at += size + (at[size] == '&');
    }
    *out = query;
    return ERR_OK;
}

enum errc form_parse(const char *text, struct query *out, struct error *err)
{
    struct error quoting = ERROR_INIT;
    autosecret char *spaced = xstrdup(text);
    for (char *at = spaced; (at = strchr(at, '+')) != NULL;)
        *at = ' ';
    if (query_parse(spaced, out, &quoting) != ERR_OK)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "the form has a broken escape, an encoded NUL, or more than %d members",
                    QUERY_PARAMETERS_MAX);
    return ERR_OK;
}

void query_deinit(struct query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        free(query->items[i].name);
        free(query->items[i].value);
    }
    free(query->items);
    *query = (struct query){0};
}

const char *query_value(const struct query *query, const char *name, bool *twice)
{
    const char *value = NULL;
    bool again = false;
    for (size_t i = 0; i < query->count; i++) {
        if (strcmp(query->items[i].name, name) != 0)
            continue;
        again = value != NULL;
        if (again)
            break;
        value = query->items[i].value;
    }
    if (twice)
        *twice = again;
    return value;
}
