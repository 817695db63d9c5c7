#include "gateway/cli/gateway_access.h"

#include "base/mem.h"
#include "base/net.h"
#include "config/credentials.h"
#include "config/password_command.h"
#include "config/program.h"
#include "config/settings_tls.h"
#include "net/url.h"
#include "upstream/auth/token_fetch.h"

#include <string.h>

/* What is being put together. */
struct search {
    const struct gateway_options *options;
    const struct registry_setting *entry; /* NULL: the configuration has none */
    struct url url;                       /* owned, as what follows */
    char *user;
    char *password;
    char *from;           /* where both are from, for messages */
    struct error unknown; /* why what is stored could not be read */
};

/* A source that goes before another one takes its place as a whole. */
static void set_login(struct search *search, char *user, char *password, char *from)
{
    secret_free(search->user);
    secret_free(search->password);
    free(search->from);
    search->user = user;
    search->password = password;
    search->from = from;
}

static void search_deinit(struct search *search)
{
    url_deinit(&search->url);
    set_login(search, NULL, NULL, NULL);
}

static enum errc parse_url(struct search *search, struct error *err)
{
    const char *given = search->options->url;
    struct net_authority authority;
    bool bare = strstr(given, "://") == NULL;
    bool near = net_authority_parse(given, strcspn(given, "/"), &authority) &&
                net_host_is_loopback(authority.host);
    char *text = bare ? xasprintf("http%s://%s", near ? "" : "s", given) : xstrdup(given);
    char *user = NULL;
    char *password = NULL;
    if (url_parse_user(text, &search->url, &user, &password, err) != ERR_OK) {
        error_wrap(err, "gateway");
        err->code = ERR_BAD_REQUEST;
    } else if (strchr(search->url.text, '?')) {
        fail(err, ERR_BAD_REQUEST, 0, "gateway: the URL must have no query");
    }
    if (user || password)
        set_login(search, user ? user : xstrdup(""), password, xstrdup("the gateway's URL"));
    secret_free(text);
    return err->code;
}

static char *host_of(const struct url *url)
{
    bool v6 = strchr(url->host, ':') != NULL;
    autofree char *host = v6 ? xasprintf("[%s]", url->host) : xstrdup(url->host);
    return url->port == (url->tls ? 443 : 80) ? mem_take(&host)
                                              : xasprintf("%s:%u", host, (unsigned)url->port);
}

/* In place of what was found before. `text` is "USER" or "USER:PASSWORD"; NULL and "" are none. */
static void take_user(struct search *search, const char *text, const char *from)
{
    if (text == NULL || text[0] == '\0')
        return;
    const char *colon = strchr(text, ':');
    set_login(search, xstrndup(text, strcspn(text, ":")), colon ? xstrdup(colon + 1) : NULL,
              xstrdup(from));
}

static enum errc find_given(struct search *search, struct error *err)
{
    const struct gateway_options *options = search->options;
    program_hide_variable("SLIPWAY_USER");
    if (search->user == NULL)
        take_user(search, getenv("SLIPWAY_USER"), "SLIPWAY_USER");
    take_user(search, options->user, "--user");
    if (options->password_file) {
        if (search->user == NULL)
            return fail(err, ERR_BAD_REQUEST, 0,
                        "--password-file needs a user: --user or SLIPWAY_USER");
        char *password = NULL;
        if (settings_password_file(options->password_file, &password, err) != ERR_OK)
            return error_wrap(err, "--password-file");
        set_login(search, xstrdup(search->user), password,
                  xasprintf("--password-file %s", options->password_file));
    }
    if (search->user && search->password == NULL)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "the user \"%s\" (%s) has no password: give --password-file, or "
                    "SLIPWAY_USER=USER:PASSWORD",
                    search->user, search->from);
    return ERR_OK;
}

static void find_stored(struct search *search, const char *host)
{
    struct stored_credentials stored = {0};
    char *password = NULL;
    if (search->entry && search->entry->password_command.count > 0) {
        if (password_command_run(search->entry, &password, &search->unknown) == ERR_OK)
            set_login(search, xstrdup(search->entry->username), password,
                      xasprintf("registries.\"%s\".password_command", host));
        return;
    }
    if (search->entry && search->entry->password.text) {
        set_login(search, xstrdup(search->entry->username), xstrdup(search->entry->password.text),
                  xasprintf("registries.\"%s\".%s", host, search->entry->password.from));
        return;
    }
    bool clear = !search->url.tls && !net_host_is_loopback(search->url.host);
    if (clear && !(search->entry && search->entry->plain_http))
        return;
    if (credentials_find(host, "", &stored, &search->unknown) == ERR_OK && stored.username &&
        stored.password)
        set_login(search, mem_take(&stored.username), mem_take(&stored.password),
                  mem_take(&stored.origin));
    credentials_clear(&stored);
}

static char *advice_of(const struct search *search, const char *host)
{
    if (search->user)
        return xasprintf("the user \"%s\" and the password are from %s", search->user,
                         search->from);
    return xasprintf("no user and password are known for it: give --user and --password-file, set "
                     "SLIPWAY_USER=USER:PASSWORD, or registries.\"%s\".username and password_file "
                     "in the file of --config, or log in with \"docker login %s\"%s%s",
                     host, host, search->unknown.code ? "; " : "", search->unknown.text);
}

static bool is_set(const char *text)
{
    return text && text[0];
}

/* The path is NULL when there is none. */
static struct named_file find_ca(const struct search *search)
{
    const char *given = search->options->ca;
    const char *variable = getenv("SLIPWAY_CA");
    if (is_set(given))
        return (struct named_file){"--ca", given};
    if (is_set(variable))
        return (struct named_file){"SLIPWAY_CA", variable};
    return (struct named_file){"ca", search->entry ? search->entry->ca : NULL};
}

static enum errc conclude(const struct search *search, char *host, struct gateway_access *out,
                          struct error *err)
{
    const struct named_file ca = find_ca(search);
    size_t size = strlen(search->url.text);
    while (search->url.text[size - 1] == '/')
        size--;
    *out = (struct gateway_access){
        .url = xstrndup(search->url.text, size),
        .host = host,
        .ca = ca.path ? xstrdup(ca.path) : NULL,
        .ca_setting = xasprintf("--ca, SLIPWAY_CA or registries.\"%s\".ca", host),
        .authorization = search->user ? basic_authorization(search->user, search->password) : NULL,
        .advice = advice_of(search, host),
    };
    return ca.path ? settings_ca_check(ca, err) : ERR_OK;
}

enum errc gateway_access_find(const struct gateway_options *options,
                              const struct settings *settings, struct gateway_access *out,
                              struct error *err)
{
    struct search search = {.options = options, .unknown = ERROR_INIT};
    if (parse_url(&search, err) == ERR_OK && find_given(&search, err) == ERR_OK) {
        char *host = host_of(&search.url);
        search.entry = settings_registry(settings, host);
        if (search.user == NULL)
            find_stored(&search, host);
        conclude(&search, host, out, err);
    }
    search_deinit(&search);
    return err->code;
}

void gateway_access_deinit(struct gateway_access *access)
{
    free(access->socket);
    free(access->url);
    free(access->host);
    free(access->ca);
    free(access->ca_setting);
    secret_free(access->authorization);
    free(access->advice);
}
