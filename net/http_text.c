#include "net/http_text.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/secret.h"
#include "net/url.h"

#include <strings.h>

#define STRUCK "***"
/* So much of a secret at the end of what is there is one that was cut. */
#define CUT_BYTES_MIN 8

#define QUERY_SECRET_BYTES_MIN 16

static void make_room(struct http_secrets *secrets)
{
    if (secrets->count < HTTP_SECRETS_MAX)
        return;
    secret_free(&secrets->items[HTTP_SECRETS_KEPT]);
    secrets->count--;
    memmove(&secrets->items[HTTP_SECRETS_KEPT], &secrets->items[HTTP_SECRETS_KEPT + 1],
            (secrets->count - HTTP_SECRETS_KEPT) * sizeof secrets->items[0]);
}

static void add(struct http_secrets *secrets, const char *text, size_t size)
{
    if (size < HTTP_SECRET_BYTES_MIN)
        return;
    for (size_t i = 0; i < secrets->count; i++)
        if (strncmp(secrets->items[i], text, size) == 0 && secrets->items[i][size] == '\0')
            return;
    make_room(secrets);
    secrets->items[secrets->count++] = xstrndup(text, size);
}

void http_secrets_add_all(struct http_secrets *secrets, const struct http_secrets *more)
{
    for (size_t i = 0; i < more->count; i++)
        add(secrets, more->items[i], strlen(more->items[i]));
}

void http_secrets_add(struct http_secrets *secrets, const char *authorization, const char *other)
{
    static const char basic[] = "Basic ";
    if (other)
        add(secrets, other, strlen(other));
    if (authorization == NULL)
        return;
    const char *blank = strchr(authorization, ' ');
    const char *sent = blank ? blank + 1 : authorization;
    add(secrets, sent, strcspn(sent, "="));
    autosecret char *plain = NULL;
    if (strncasecmp(authorization, basic, strlen(basic)) != 0 || !base64_decode_text(sent, &plain))
        return;
    const char *colon = strchr(plain, ':');
    if (colon)
        add(secrets, colon + 1, strlen(colon + 1));
}

void http_secrets_add_proxy(struct http_secrets *secrets, const char *proxy)
{
    autourl struct url url = {0};
    autosecret char *user = NULL;
    autosecret char *password = NULL;
    struct error err = ERROR_INIT;
    autosecret char *whole = xasprintf("%s%s", strstr(proxy, "://") ? "" : "http://", proxy);
    if (url_parse_user(whole, &url, &user, &password, &err) != ERR_OK || password == NULL)
        return;
    autosecret char *plain = xasprintf("%s:%s", user ? user : "", password);
    autosecret char *sent = base64_encode(plain, strlen(plain));
    add(secrets, sent, strcspn(sent, "="));
    add(secrets, password, strlen(password));
}

static bool is_own_parameter(const char *text, size_t size)
{
    static const char *const names[] = {"digest", "mount", "from", "last", "tag"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == size && strncmp(names[i], text, size) == 0)
            return true;
    return false;
}

/* Of a value only what stands there in the same way when a server has decoded it. */
void http_secrets_add_query(struct http_secrets *secrets, const char *url)
{
    const char *at = strchr(url, '?');
    while (at && *++at) {
        size_t name = strcspn(at, "=&#");
        const char *value = at + name + (at[name] == '=');
        size_t size = strcspn(value, "%+&#");
        if (size >= QUERY_SECRET_BYTES_MIN && !is_own_parameter(at, name))
            add(secrets, value, size);
        at = strchr(at, '&');
    }
}

void http_secrets_deinit(struct http_secrets *secrets)
{
    while (secrets->count > 0)
        secret_free(&secrets->items[--secrets->count]);
}

/* How many bytes at `text` are a secret; 0: none. The longest: one may begin as another does. */
static size_t secret_at(const struct http_secrets *secrets, size_t least, const char *text,
                        size_t size)
{
    size_t longest = 0;
    for (size_t i = 0; i < secrets->count; i++) {
        const char *secret = secrets->items[i];
        size_t same = 0;
        while (same < size && secret[same] != '\0' && secret[same] == text[same])
            same++;
        bool cut = same == size && same >= CUT_BYTES_MIN;
        bool whole = secret[same] == '\0' && same >= least;
        if ((whole || cut) && same > longest)
            longest = same;
    }
    return longest;
}

static void take(const struct http_secrets *secrets, size_t least, const char *from, size_t size,
                 char *to, size_t capacity)
{
    size_t used = 0;
    bool space = false;
    for (size_t i = 0; i < size && used + strlen(STRUCK) + 2 < capacity;) {
        unsigned char c = (unsigned char)from[i];
        size_t secret = secret_at(secrets, least, from + i, size - i);
        if (secret == 0 && (c <= 0x20 || c == 0x7F)) {
            space = used > 0;
            i++;
            continue;
        }
        if (space)
            to[used++] = ' ';
        space = false;
        if (secret > 0)
            used = (size_t)(stpcpy(to + used, STRUCK) - to);
        else
            to[used++] = from[i];
        i += secret > 0 ? secret : 1;
    }
    to[used] = '\0';
}

void http_text(const struct http_secrets *secrets, const char *from, size_t size, char *to,
               size_t capacity)
{
    take(secrets, HTTP_SECRET_BYTES_MIN, from, size, to, capacity);
}

void http_text_strike(const struct http_secrets *secrets, char *text, size_t capacity)
{
    size_t size = strlen(text);
    autofree char *plain = xstrdup(text);
    take(secrets, HTTP_SECRET_AMONG_WORDS_BYTES_MIN, plain, size, text, capacity);
}

void http_text_clean(const struct http_secrets *secrets, struct error *err)
{
    if (secrets->count > 0)
        http_text_strike(secrets, err->text, sizeof err->text);
}
