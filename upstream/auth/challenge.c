#include "upstream/auth/challenge.h"

#include <string.h>
#include <strings.h>

/* A quoted string may be longer than any member that is kept; it is cut while it is read. */
#define VALUE_MAX 4097

struct cursor {
    const char *at;
};

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token68_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~+/", c) != NULL);
}

static void skip_space(struct cursor *cursor)
{
    cursor->at += strspn(cursor->at, " \t");
}

static void skip_separators(struct cursor *cursor)
{
    cursor->at += strspn(cursor->at, " \t,");
}

static bool read_token(struct cursor *cursor, const char **start, size_t *size)
{
    *start = cursor->at;
    while (is_token_char(*cursor->at))
        cursor->at++;
    *size = (size_t)(cursor->at - *start);
    return *size > 0;
}

/* An auth-param's value, a token or a quoted string with its escapes undone. *size counts all of
 * it, also what did not fit into `value`. */
static bool read_value(struct cursor *cursor, char value[VALUE_MAX], size_t *size)
{
    size_t used = 0;
    bool quoted = *cursor->at == '"';
    cursor->at += quoted;
    for (; *cursor->at; cursor->at++) {
        char c = *cursor->at;
        if (quoted ? c == '"' : !is_token_char(c))
            break;
        if (quoted && c == '\\' && cursor->at[1])
            c = *++cursor->at;
        if (used < VALUE_MAX - 1)
            value[used] = c;
        used++;
    }
    value[used < VALUE_MAX ? used : VALUE_MAX - 1] = '\0';
    *size = used;
    if (!quoted)
        return used > 0;
    if (*cursor->at != '"')
        return false;
    cursor->at++;
    return true;
}

/* False when the value is too long for its place. */
static bool keep(struct challenge *challenge, const char *name, size_t name_size, const char *value,
                 size_t size)
{
    const struct {
        const char *name;
        char *place;
        size_t capacity;
    } members[] = {
        {"realm", challenge->realm, sizeof challenge->realm},
        {"service", challenge->service, sizeof challenge->service},
        {"scope", challenge->scope, sizeof challenge->scope},
        {"error", challenge->error, sizeof challenge->error},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strlen(members[i].name) != name_size ||
            strncasecmp(members[i].name, name, name_size) != 0)
            continue;
        if (size >= members[i].capacity)
            return false;
        memcpy(members[i].place, value, size + 1);
    }
    return true;
}

static bool skip_token68(struct cursor *cursor)
{
    const char *at = cursor->at;
    while (is_token68_char(*at))
        at++;
    if (at == cursor->at)
        return false;
    at += strspn(at, "=");
    const char *end = at + strspn(at, " \t");
    if (*end != ',' && *end != '\0')
        return false;
    cursor->at = end;
    return true;
}

/* The parameters up to the next scheme or the end. False when malformed; *fits tells of members
 * that were too long. */
static bool read_params(struct cursor *cursor, struct challenge *challenge, bool *fits)
{
    skip_space(cursor);
    if (skip_token68(cursor))
        return true;
    for (;;) {
        skip_separators(cursor);
        struct cursor before = *cursor;
        const char *name;
        size_t name_size;
        if (!read_token(cursor, &name, &name_size))
            return *cursor->at == '\0';
        skip_space(cursor);
        if (*cursor->at != '=') {
            *cursor = before;
            return true;
        }
        cursor->at++;
        skip_space(cursor);
        char value[VALUE_MAX];
        size_t size;
        if (!read_value(cursor, value, &size))
            return false;
        if (!keep(challenge, name, name_size, value, size))
            *fits = false;
        skip_space(cursor);
        if (*cursor->at != ',' && *cursor->at != '\0')
            return false;
    }
}

static enum auth_scheme scheme_of(const char *name)
{
    if (strcasecmp(name, "basic") == 0)
        return AUTH_BASIC;
    return strcasecmp(name, "bearer") == 0 ? AUTH_BEARER : AUTH_OTHER;
}

bool challenge_parse(const char *field, struct challenge_list *list)
{
    struct cursor cursor = {.at = field};
    for (;;) {
        skip_separators(&cursor);
        if (*cursor.at == '\0')
            return true;
        if (list->count == CHALLENGES_MAX)
            return false;
        struct challenge *challenge = &list->items[list->count];
        *challenge = (struct challenge){0};
        const char *name;
        size_t size;
        if (!read_token(&cursor, &name, &size))
            return false;
        bool fits = size < sizeof challenge->name;
        memcpy(challenge->name, name, fits ? size : 0);
        challenge->scheme = scheme_of(challenge->name);
        if (!read_params(&cursor, challenge, &fits))
            return false;
        if (fits)
            list->count++;
    }
}

const struct challenge *challenge_choose(const struct challenge_list *list)
{
    const struct challenge *basic = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct challenge *challenge = &list->items[i];
        if (challenge->scheme == AUTH_BEARER && challenge->realm[0])
            return challenge;
        if (challenge->scheme == AUTH_BASIC && basic == NULL)
            basic = challenge;
    }
    return basic;
}
