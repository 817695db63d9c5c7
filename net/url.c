#include "net/url.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/secret.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

static void handle_free_at(CURLU **at)
{
    curl_url_cleanup(*at);
}
#define autohandle __attribute__((cleanup(handle_free_at)))

static void text_free_at(char **at)
{
    curl_free(*at);
}
#define autotext __attribute__((cleanup(text_free_at)))

static enum errc refuse(const char *text, const char *why, struct error *err)
{
    char shown[URL_SHOWN_MAX];
    return fail(err, ERR_REGISTRY_ANSWER, 0, "the URL %s is not usable: %s", url_shown(text, shown),
                why);
}

static void copy_host(const char *text, char out[URL_HOST_MAX])
{
    size_t size = strlen(text);
    if (size >= 2 && text[0] == '[') {
        text++;
        size -= 2;
    }
    for (size_t i = 0; i < size; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    out[size] = '\0';
}

/* What resolvers and proxies would read in ways of their own (a name of digits that is no address,
 * or characters that IDNA maps to others) cannot be judged, and is no host. */
static bool host_is_plain(const char *text)
{
    struct net_authority authority;
    struct in_addr v4;
    if (!net_authority_parse(text, strlen(text), &authority) || authority.has_port)
        return false;
    char *last = authority.host + strlen(authority.host) - 1;
    if (*last == '.')
        *last = '\0';
    return authority.bracketed || !net_host_ends_in_number(authority.host) ||
           inet_aton(authority.host, &v4) == 1;
}

static enum errc from_handle(CURLU *handle, const char *text, struct url *out, struct error *err)
{
    autotext char *scheme = NULL;
    autotext char *host = NULL;
    autotext char *port = NULL;
    autotext char *whole = NULL;
    curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
    if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        return refuse(text, "it is neither http nor https", err);
    if (curl_url_get(handle, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        strlen(host) >= URL_HOST_MAX || !host_is_plain(host))
        return refuse(text, "it has no valid host", err);
    if (curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        curl_url_get(handle, CURLUPART_URL, &whole, 0) != CURLUE_OK)
        return refuse(text, "it is malformed", err);
    if (strlen(whole) > URL_MAX)
        return refuse(text, "it is too long", err);

    *out = (struct url){
        .text = xstrdup(whole),
        .tls = strcmp(scheme, "https") == 0,
        .port = (uint16_t)strtoul(port, NULL, 10),
    };
    copy_host(host, out->host);
    return ERR_OK;
}

/* `base` may be NULL: then `text` must be absolute. */
static enum errc resolve(const char *base, const char *text, struct url *out, struct error *err)
{
    if (strlen(text) > URL_MAX)
        return refuse(text, "it is too long", err);
    autohandle CURLU *handle = curl_url();
    if (handle == NULL)
        return fail(err, ERR_MEMORY, 0, "no memory for a URL");
    unsigned flags = CURLU_DISALLOW_USER | CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME;
    CURLUcode code = CURLUE_OK;
    if (base)
        code = curl_url_set(handle, CURLUPART_URL, base, flags);
    if (code == CURLUE_OK)
        code = curl_url_set(handle, CURLUPART_URL, text, flags);
    if (code != CURLUE_OK)
        return refuse(text, curl_url_strerror(code), err);
    return from_handle(handle, text, out, err);
}

enum errc url_parse(const char *text, struct url *out, struct error *err)
{
    return resolve(NULL, text, out, err);
}

/* A copy of one part without escapes, which is then taken out of the URL. */
static char *take_part(CURLU *handle, CURLUPart part)
{
    autotext char *value = NULL;
    if (curl_url_get(handle, part, &value, CURLU_URLDECODE) != CURLUE_OK)
        return NULL;
    char *copy = xstrdup(value);
    explicit_bzero(value, strlen(value));
    curl_url_set(handle, part, NULL, 0);
    return copy;
}

enum errc url_parse_user(const char *text, struct url *out, char **user, char **password,
                         struct error *err)
{
    autohandle CURLU *handle = curl_url();
    if (handle == NULL)
        return fail(err, ERR_MEMORY, 0, "no memory for a URL");
    if (!net_userinfo_is_plain(text))
        return fail(err, ERR_REGISTRY_ANSWER, 0, "the URL %s", USERINFO_NOT_PLAIN);
    CURLUcode code =
        curl_url_set(handle, CURLUPART_URL, text, CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK)
        return refuse(text, curl_url_strerror(code), err);
    autosecret char *found_user = take_part(handle, CURLUPART_USER);
    autosecret char *found_password = take_part(handle, CURLUPART_PASSWORD);
    if (from_handle(handle, text, out, err) != ERR_OK)
        return err->code;
    *user = mem_take(&found_user);
    *password = mem_take(&found_password);
    return ERR_OK;
}

void url_deinit(struct url *url)
{
    free(url->text);
    *url = (struct url){0};
}

void url_move(struct url *from, struct url *to)
{
    url_deinit(to);
    *to = *from;
    *from = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}

enum errc url_follow(const struct url *from, const char *location, bool from_private,
                     struct url *out, struct error *err)
{
    autourl struct url to = {0};
    if (resolve(from->text, location, &to, err) != ERR_OK)
        return err->code;
    char here[URL_SHOWN_MAX];
    char there[URL_SHOWN_MAX];
    if (from->tls && !to.tls)
        return fail(err, ERR_ADDRESS_REFUSED, 0,
                    "%s leads from https to http, to %s, which is refused; a proxy in front of the "
                    "registry may have to tell it the scheme (X-Forwarded-Proto)",
                    url_shown(from->text, here), url_shown(to.text, there));
    if (!from_private && strcmp(from->host, to.host) != 0 && net_host_is_private(to.host))
        return fail(err, ERR_ADDRESS_REFUSED, 0,
                    "%s leads to the private address %s, which is refused",
                    url_shown(from->text, here), url_shown(to.text, there));
    url_move(&to, out);
    return ERR_OK;
}

char *url_with_query(const struct url *url, const char *key, const char *value)
{
    autobuf struct buf text = BUF_INIT((size_t)4 * URL_MAX);
    buf_text(&text, url->text);
    const char *query = strchr(url->text, '?');
    char last = url->text[strlen(url->text) - 1];
    if (query == NULL)
        buf_text(&text, "?");
    else if (last != '?' && last != '&')
        buf_text(&text, "&");
    buf_text(&text, key);
    buf_text(&text, "=");
    buf_query_escape(&text, value);
    return buf_take(&text);
}

const char *url_shown(const char *text, char shown[URL_SHOWN_MAX])
{
    size_t scheme = strcspn(text, "/\\?#");
    size_t slashes = strspn(text + scheme, "/\\");
    const char *rest = text;
    if (scheme > 0 ? text[scheme - 1] == ':' && slashes > 0 : slashes > 1) {
        scheme += slashes;
        rest += scheme;
        rest += net_userinfo_size(rest, strlen(rest));
    } else {
        scheme = 0;
    }
    int size = snprintf(shown, URL_SHOWN_MAX, "%.*s%.*s", (int)scheme, text,
                        (int)strcspn(rest, "?#"), rest);
    if (size >= URL_SHOWN_MAX)
        memcpy(shown + URL_SHOWN_MAX - 4, "...", 4);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c == 0x7F)
            *c = '?';
    return shown;
}
