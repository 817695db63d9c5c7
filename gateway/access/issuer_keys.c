#include "gateway/access/issuer_keys.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "gateway/access/watched_file.h"
#include "net/transport.h"
#include "net/url.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define DISCOVERY_PATH "/.well-known/openid-configuration"
#define DISCOVERY_MAX ((size_t)64 << 10)

struct key_set {
    atomic_uint references;
    struct jwks jwks;
};

struct issuer_keys {
    const struct oidc_setting *setting;
    struct watched_file file;    /* with a jwks_file */
    struct transport *transport; /* else */
    pthread_mutex_t lock;        /* guards what follows */
    pthread_cond_t fetched;
    struct key_set *set; /* NULL: none yet */
    bool fetching;
    int64_t tried_ms; /* 0: never */
    struct error why; /* there are none */
};

const struct jwks *key_set_keys(const struct key_set *set)
{
    return &set->jwks;
}

void key_set_unref(struct key_set *set)
{
    if (set == NULL || atomic_fetch_sub(&set->references, 1) > 1)
        return;
    jwks_deinit(&set->jwks);
    free(set);
}

static enum errc parse(const void *data, size_t size, const char *from, struct key_set **out,
                       struct error *err)
{
    struct key_set *set = xcalloc(1, sizeof *set);
    atomic_init(&set->references, 1);
    if (jwks_parse(data, size, &set->jwks, err) != ERR_OK) {
        free(set);
        return error_wrap(err, "%s", from);
    }
    *out = set;
    return ERR_OK;
}

/* ---- a file ---- */

static enum errc read_file(const char *path, struct key_set **out, struct error *err)
{
    autofree char *text = NULL;
    size_t size = 0;
    if (file_read_all(path, JWKS_SIZE_MAX, &text, &size, err) != ERR_OK)
        return err->code;
    return parse(text, size, path, out, err);
}

/* ---- the issuer ---- */

static bool is_private_allowed(const struct issuer_keys *keys, const struct url *url)
{
    return keys->setting->private || (!url->tls && net_host_is_loopback(url->host));
}

static enum errc get(struct issuer_keys *keys, const struct url *url, size_t limit_bytes,
                     struct http_response *response, struct error *err)
{
    const struct http_request request = {
        .method = "GET",
        .url = url->text,
        .accept = "application/json",
        .answer_limit_bytes = limit_bytes,
        .deadline = HTTP_ANSWER,
        .timeout_ms = ISSUER_ANSWER_MS,
        .public_only = !is_private_allowed(keys, url),
    };
    char shown[URL_SHOWN_MAX];
    struct connection *connection = transport_lease(keys->transport);
    transport_exchange(connection, &request, response, err);
    transport_return(connection);
    if (err->code != ERR_OK)
        return err->code;
    if (response->status != 200)
        return fail(err, ERR_REGISTRY_ANSWER, 0,
                    "GET %s: the identity provider answered %d and not 200",
                    url_shown(url->text, shown), response->status);
    return response->body_cut
               ? fail(err, ERR_REGISTRY_ANSWER, 0, "GET %s: the answer has more than %zu bytes",
                      url_shown(url->text, shown), limit_bytes)
               : ERR_OK;
}

/* Where its keys are. */
static enum errc discover(struct issuer_keys *keys, const struct url *issuer, struct url *out,
                          struct error *err)
{
    const char *name = keys->setting->issuer;
    size_t size = strlen(name);
    autourl struct url url = {.text = NULL};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autojson json_t *root = NULL;
    while (size > 0 && name[size - 1] == '/')
        size--;
    autofree char *text = xasprintf("%.*s" DISCOVERY_PATH, (int)size, name);
    if (url_parse(text, &url, err) != ERR_OK ||
        get(keys, &url, DISCOVERY_MAX, &response, err) != ERR_OK ||
        json_parse(buf_cstr(&response.body), response.body.size, DISCOVERY_MAX, text, &root, err) !=
            ERR_OK)
        return err->code;
    const char *said = json_text(root, "issuer");
    const char *where = json_text(root, "jwks_uri");
    if (said == NULL || where == NULL || strcmp(said, name) != 0)
        return fail(err, ERR_REGISTRY_ANSWER, 0,
                    "%s does not name %s as \"issuer\", or has no \"jwks_uri\": is that how the "
                    "provider writes itself?",
                    text, name);
    return url_follow(issuer, where, is_private_allowed(keys, issuer), out, err);
}

static enum errc fetch(struct issuer_keys *keys, struct key_set **out, struct error *err)
{
    autourl struct url issuer = {.text = NULL};
    autourl struct url where = {.text = NULL};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    char shown[URL_SHOWN_MAX];
    if (url_parse(keys->setting->issuer, &issuer, err) != ERR_OK ||
        discover(keys, &issuer, &where, err) != ERR_OK ||
        get(keys, &where, JWKS_SIZE_MAX, &response, err) != ERR_OK)
        return err->code;
    return parse(buf_cstr(&response.body), response.body.size, url_shown(where.text, shown), out,
                 err);
}

/* ---- both ---- */

enum errc issuer_keys_open(const struct oidc_setting *setting, struct issuer_keys **out,
                           struct error *err)
{
    struct issuer_keys *keys = xcalloc(1, sizeof *keys);
    keys->setting = setting;
    pthread_mutex_init(&keys->lock, NULL);
    clock_cond_init(&keys->fetched);
    if (setting->jwks_file) {
        watched_file_init(&keys->file, setting->jwks_file);
        watched_file_changed(&keys->file, clock_ms());
        if (read_file(setting->jwks_file, &keys->set, err) != ERR_OK) {
            issuer_keys_close(keys);
            err->code = ERR_SETTINGS;
            return error_wrap(err, "clients.oidc, %s, jwks_file", setting->name);
        }
    } else {
        const struct transport_options options = {.host = setting->issuer,
                                                  .user_agent = "slipway/" SLIPWAY_VERSION,
                                                  .peer = "identity provider",
                                                  .ca_setting = "SSL_CERT_FILE",
                                                  .idle_limit = 1,
                                                  .connect_timeout_ms = ISSUER_ANSWER_MS};
        keys->transport = transport_new(&options);
    }
    *out = keys;
    return ERR_OK;
}

void issuer_keys_close(struct issuer_keys *keys)
{
    if (keys == NULL)
        return;
    if (keys->setting->jwks_file)
        watched_file_deinit(&keys->file);
    else
        transport_free(keys->transport);
    key_set_unref(keys->set);
    pthread_cond_destroy(&keys->fetched);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

/* What came of asking: others may go on. `set` is taken; NULL: it failed. */
static void put_in_place(struct issuer_keys *keys, struct key_set *set, const struct error *why)
{
    struct key_set *old = set;
    bool kept = false;
    {
        autolock pthread_mutex_t *held = lock_take(&keys->lock);
        keys->fetching = false;
        keys->why = *why;
        if (set) {
            old = keys->set;
            keys->set = set;
        }
        kept = keys->set != NULL;
        pthread_cond_broadcast(&keys->fetched);
    }
    key_set_unref(old);
    if (set)
        log_event(LOG_INFO, "oidc.keys",
                  LOG_FIELDS(log_text("issuer", keys->setting->name),
                             log_number("keys", set->jwks.count)),
                  "the keys of an identity provider were read");
    else
        log_event(LOG_WARN, "oidc.keys_unreachable",
                  LOG_FIELDS(log_text("issuer", keys->setting->name)), "%s: %s",
                  kept ? "an identity provider's keys stay as they were"
                       : "an identity provider's keys cannot be had",
                  why->text);
}

static void ask(struct issuer_keys *keys)
{
    struct error err = ERROR_INIT;
    struct key_set *set = NULL;
    if (keys->setting->jwks_file)
        read_file(keys->setting->jwks_file, &set, &err);
    else
        fetch(keys, &set, &err);
    put_in_place(keys, set, &err);
}

/* This caller asks. */
static bool ask_is_due(struct issuer_keys *keys, const struct key_set *seen)
{
    int64_t now_ms = clock_ms();
    bool changed = keys->setting->jwks_file && watched_file_changed(&keys->file, now_ms);
    autolock pthread_mutex_t *held = lock_take(&keys->lock);
    if (keys->setting->jwks_file == NULL)
        changed = !keys->fetching && (keys->set == NULL || keys->set == seen) &&
                  (keys->tried_ms == 0 || now_ms - keys->tried_ms >= ISSUER_FETCH_MS);
    if (changed) {
        keys->fetching = true;
        keys->tried_ms = now_ms;
    }
    return changed;
}

enum errc issuer_keys_get(struct issuer_keys *keys, const struct key_set *seen,
                          struct key_set **out, struct error *err)
{
    /* Two requests, each of which may take all of its time. */
    const struct timespec deadline = clock_deadline(3 * (int64_t)ISSUER_ANSWER_MS);
    int rc = 0;
    if (ask_is_due(keys, seen))
        ask(keys);
    autolock pthread_mutex_t *held = lock_take(&keys->lock);
    while (keys->fetching && keys->set == NULL && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&keys->fetched, &keys->lock, &deadline);
    if (keys->set == NULL && keys->fetching)
        return fail(err, ERR_TIMEOUT, 0, "the identity provider %s does not answer",
                    keys->setting->name);
    if (keys->set == NULL) {
        *err = keys->why;
        return error_wrap(err, "the keys of the identity provider %s", keys->setting->name);
    }
    atomic_fetch_add(&keys->set->references, 1);
    *out = keys->set;
    return ERR_OK;
}
