#include "base/json.h"

#include "base/mem.h"

#include <pthread.h>

void json_start(void)
{
    json_object_seed(0);
}

static pthread_mutex_t turns = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

struct json_turn json_turn_take(size_t size)
{
    const struct json_turn turn = {.taken = size >= JSON_TURN_BYTES};
    if (turn.taken)
        pthread_mutex_lock(&turns);
    return turn;
}

void json_turn_give(struct json_turn *turn)
{
    if (turn->taken)
        pthread_mutex_unlock(&turns);
    turn->taken = false;
}

/* An upper bound of the values in the text, without parsing: each is the first, or follows an
 * opening bracket or a comma that stands outside of strings. */
static size_t count_values(const char *text, size_t size)
{
    size_t count = 1;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\')
            i++;
        else if (!quoted && (c == ',' || c == '[' || c == '{'))
            count++;
    }
    return count;
}

enum errc json_parse(const void *data, size_t size, size_t limit_bytes, const char *what,
                     json_t **out, struct error *err)
{
    if (size > limit_bytes)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "%s has %zu bytes, the limit is %zu", what, size,
                    limit_bytes);
    size_t values = count_values(data, size);
    if (values > JSON_VALUES_MAX)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "%s has about %zu values, the limit is %d", what,
                    values, JSON_VALUES_MAX);
    json_error_t why;
    json_t *value = json_loadb(data, size, JSON_REJECT_DUPLICATES, &why);
    if (value == NULL)
        return fail(err, ERR_JSON_INVALID, 0, "%s is not valid JSON: line %d, column %d: %s", what,
                    why.line, why.column, why.text);
    *out = value;
    return ERR_OK;
}

const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

void json_put_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    json_object_set_new(object, key, value ? value : json_string("(not valid UTF-8)"));
}

void json_put_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

char *json_compact(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? text : xstrdup("null");
}

char *json_compact_take(json_t *value)
{
    char *text = json_compact(value);
    json_decref(value);
    return text;
}
