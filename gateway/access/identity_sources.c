#include "gateway/access/identity_sources.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/settings_access.h"
#include "gateway/access/login_cache.h"
#include "gateway/access/logins.h"
#include "gateway/access/oidc.h"
#include "gateway/access/robot_secret.h"
#include "gateway/access/robots.h"

#include <stdatomic.h>
#include <string.h>

#define USER_PREFIX "user:" /* of the text of a fingerprint */

/* Parts that outlive a configuration. */
struct users_part {
    atomic_uint references;
    char *path;             /* of clients.htpasswd; NULL: it is not set */
    struct htpasswd *users; /* NULL: there are none */
    struct logins *logins;
};

struct oidc_part {
    atomic_uint references;
    const struct settings *settings; /* a reference; whose entries it has */
    struct oidc *oidc;
    struct login_cache *proofs; /* that they have given */
};

struct identity_sources {
    struct store *store;
    struct users_part *part;
    struct oidc_part *providers;
    struct htpasswd *users; /* of the part, as the others */
    struct logins *logins;
    struct oidc *oidc;
    struct client_authority *authority; /* NULL: there is none */
};

/* ---- open and close ---- */

static enum errc read_authority(const char *path, struct client_authority **out, struct error *err)
{
    autofree char *pem = NULL;
    size_t size = 0;
    if (file_read_all(path, CLIENT_CA_BYTES_MAX, &pem, &size, err) == ERR_OK &&
        client_authority_parse(pem, size, out, err) == ERR_OK)
        return ERR_OK;
    err->code = ERR_SETTINGS;
    return error_wrap(err, "tls.client_ca, %s", path);
}

static void close_users(struct users_part *part)
{
    if (part == NULL || atomic_fetch_sub(&part->references, 1) > 1)
        return;
    logins_free(part->logins);
    htpasswd_close(part->users);
    free(part->path);
    free(part);
}

static void close_providers(struct oidc_part *part)
{
    if (part == NULL || atomic_fetch_sub(&part->references, 1) > 1)
        return;
    oidc_close(part->oidc);
    login_cache_free(part->proofs);
    settings_free(part->settings);
    free(part);
}

static bool same_path(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static enum errc open_users(const char *path, struct users_part *before, struct users_part **out,
                            struct error *err)
{
    if (before && same_path(path, before->path)) {
        atomic_fetch_add(&before->references, 1);
        *out = before;
        return ERR_OK;
    }
    struct users_part *part = xcalloc(1, sizeof *part);
    atomic_init(&part->references, 1);
    part->path = path ? xstrdup(path) : NULL;
    *out = part;
    if (path && htpasswd_open(path, &part->users, err) != ERR_OK)
        return err->code;
    part->logins = logins_new(part->users);
    return ERR_OK;
}

static bool same_providers(const struct settings *a, const struct settings *b)
{
    autojson json_t *of_a = setting_oidc_print(a);
    autojson json_t *of_b = setting_oidc_print(b);
    return of_a == of_b || (of_a && of_b && json_equal(of_a, of_b));
}

static enum errc open_providers(const struct settings *settings, struct oidc_part *before,
                                struct oidc_part **out, struct error *err)
{
    if (before && same_providers(settings, before->settings)) {
        atomic_fetch_add(&before->references, 1);
        *out = before;
        return ERR_OK;
    }
    struct oidc_part *part = xcalloc(1, sizeof *part);
    atomic_init(&part->references, 1);
    part->settings = settings_ref(settings);
    part->proofs = login_cache_new();
    *out = part;
    return oidc_open(settings->clients.oidc, settings->clients.oidc_count, &part->oidc, err);
}

enum errc identity_sources_open(const struct settings *settings, struct store *store,
                                const struct identity_sources *before,
                                struct identity_sources **out, struct error *err)
{
    struct identity_sources *sources = xcalloc(1, sizeof *sources);
    sources->store = store;
    if (open_users(settings->clients.htpasswd, before ? before->part : NULL, &sources->part, err) !=
            ERR_OK ||
        (settings->tls.client_ca &&
         read_authority(settings->tls.client_ca, &sources->authority, err) != ERR_OK) ||
        open_providers(settings, before ? before->providers : NULL, &sources->providers, err) !=
            ERR_OK) {
        identity_sources_close(sources);
        return err->code;
    }
    sources->users = sources->part->users;
    sources->logins = sources->part->logins;
    sources->oidc = sources->providers->oidc;
    *out = sources;
    return ERR_OK;
}

void identity_sources_close(struct identity_sources *sources)
{
    if (sources == NULL)
        return;
    close_users(sources->part);
    close_providers(sources->providers);
    client_authority_free(sources->authority);
    free(sources);
}

/* ---- what a password is ---- */

/* "robot:NAME", also where Basic was divided at the first ":" ("robot" and "NAME:SECRET"). Owned;
 * NULL: it is no robot's. *secret is borrowed from `password`. */
static char *robot_name(const char *name, const char *password, const char **secret)
{
    size_t size = strlen(password);
    *secret = size > ROBOT_SECRET_SIZE ? password + size - ROBOT_SECRET_SIZE : password;
    if (!robot_secret_is(*secret))
        return NULL;
    if (*secret != password)
        return strcmp(name, "robot") == 0 && (*secret)[-1] == ':'
                   ? xstrndup(password, (size_t)(*secret - password) - 1)
                   : NULL;
    return xstrdup(strncmp(name, ROBOT_PREFIX, strlen(ROBOT_PREFIX)) == 0
                       ? name + strlen(ROBOT_PREFIX)
                       : name);
}

static bool is_jwt(const char *password)
{
    const char *first = strchr(password, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    return strncmp(password, "eyJ", 3) == 0 && second && strchr(second + 1, '.') == NULL;
}

/* ---- whose it is ---- */

static void robot_fingerprint(const struct robot *robot, char out[FINGERPRINT_MAX])
{
    autofree char *text = xasprintf(ROBOT_PREFIX "%s", robot->name);
    hmac_hex(robot->secret.bytes, digest_size(robot->secret.algorithm), text, out);
}

/* False: there is no such user. */
static bool user_fingerprint(struct identity_sources *sources, const char *name,
                             char out[FINGERPRINT_MAX])
{
    autosecret char *hash = sources->users ? htpasswd_hash(sources->users, name) : NULL;
    autofree char *text = xasprintf(USER_PREFIX "%s", name);
    if (hash)
        hmac_hex(hash, strlen(hash), text, out);
    return hash != NULL;
}

static enum errc robot_login(struct identity_sources *sources, const char *name, const char *secret,
                             const struct net_address *peer, struct login *out, struct error *err)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    struct robot robot;
    if (logins_admit(sources->logins, peer, err) != ERR_OK)
        return err->code;
    if (!robots_login(sources->store, name, secret, now_s, &robot)) {
        logins_failed(sources->logins, peer);
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the secret is of no robot of this name, or of one that is disabled or "
                    "expired: slipway robot list shows them");
    }
    *out = (struct login)LOGIN_INIT;
    out->identity.kind = IDENTITY_ROBOT;
    out->identity.name = xasprintf(ROBOT_PREFIX "%s", robot.name);
    out->ttl_s = (int64_t)(robot.expires_s - now_s);
    robot_fingerprint(&robot, out->fingerprint);
    return ERR_OK;
}

static enum errc by_jwt(void *self, const char *jwt, const struct net_address *peer,
                        struct login *out, struct error *err)
{
    struct identity_sources *sources = self;
    if (logins_admit(sources->logins, peer, err) != ERR_OK)
        return err->code;
    if (oidc_login(sources->oidc, jwt, out, err) == ERR_UNAUTHENTICATED)
        logins_failed(sources->logins, peer);
    else if (err->code == ERR_OK)
        login_cache_add_proof(sources->providers->proofs, jwt, &out->identity, clock_ms());
    return err->code;
}

static enum errc by_password(void *self, const char *name, const char *password,
                             const struct net_address *peer, struct login *out, struct error *err)
{
    struct identity_sources *sources = self;
    const char *secret = NULL;
    char fingerprint[FINGERPRINT_MAX];
    autofree char *robot = robot_name(name, password, &secret);
    if (robot)
        return robot_login(sources, robot, secret, peer, out, err);
    if (is_jwt(password))
        return by_jwt(self, password, peer, out, err);
    if (logins_verify(sources->logins, name, password, peer, err) != ERR_OK)
        return err->code;
    /* Taken out of the file in this moment. */
    if (!user_fingerprint(sources, name, fingerprint))
        return fail(err, ERR_UNAUTHENTICATED, 0, "the user name or the password is wrong");
    *out = (struct login)LOGIN_INIT;
    out->identity.kind = IDENTITY_USER;
    out->identity.name = xstrdup(name);
    memcpy(out->fingerprint, fingerprint, sizeof fingerprint);
    return ERR_OK;
}

bool identity_sources_known(struct identity_sources *sources, const char *name,
                            const char *password, struct identity *out)
{
    const char *secret = NULL;
    struct robot robot;
    autofree char *robot_called = robot_name(name, password, &secret);
    if (robot_called) {
        if (!robots_known(sources->store, robot_called, secret, (uint64_t)clock_wall_s(), &robot))
            return false;
        *out = (struct identity){.kind = IDENTITY_ROBOT,
                                 .name = xasprintf(ROBOT_PREFIX "%s", robot.name)};
        return true;
    }
    if (is_jwt(password))
        return login_cache_find_proof(sources->providers->proofs, password, clock_ms(), out);
    if (!logins_known(sources->logins, name, password))
        return false;
    *out = (struct identity){.kind = IDENTITY_USER, .name = xstrdup(name)};
    return true;
}

enum errc identity_sources_certificate(const struct identity_sources *sources,
                                       const struct certificate_bytes *chain, size_t count,
                                       struct identity *out, struct error *err)
{
    if (sources->authority == NULL)
        return fail(err, ERR_UNAUTHENTICATED, 0, "client certificates count with tls.client_ca");
    return certificate_identity(sources->authority, chain, count, clock_wall_s(), out, err);
}

static unsigned retry_after_s(void *self, const struct net_address *peer)
{
    struct identity_sources *sources = self;
    return logins_retry_after_s(sources->logins, peer);
}

/* ---- does it still count ---- */

static bool user_stands(struct identity_sources *sources, const char *name,
                        char own[FINGERPRINT_MAX])
{
    if (sources->users)
        htpasswd_refresh(sources->users);
    return user_fingerprint(sources, name, own);
}

static bool robot_stands(struct identity_sources *sources, const char *name,
                         char own[FINGERPRINT_MAX])
{
    struct robot robot;
    if (strncmp(name, ROBOT_PREFIX, strlen(ROBOT_PREFIX)) != 0 ||
        !robots_stands(sources->store, name + strlen(ROBOT_PREFIX), (uint64_t)clock_wall_s(),
                       &robot))
        return false;
    robot_fingerprint(&robot, own);
    return true;
}

static bool still_valid(void *self, const struct identity *identity, const char *fingerprint)
{
    struct identity_sources *sources = self;
    char own[FINGERPRINT_MAX] = "";
    bool stands = false;
    if (identity->name && identity->kind == IDENTITY_CI)
        return oidc_stands(sources->oidc, identity, fingerprint);
    if (identity->name && identity->kind == IDENTITY_USER)
        stands = user_stands(sources, identity->name, own);
    else if (identity->name && identity->kind == IDENTITY_ROBOT)
        stands = robot_stands(sources, identity->name, own);
    return stands && strlen(fingerprint) == HMAC_HEX_SIZE && hmac_hex_equal(own, fingerprint);
}

static bool known(void *self, const char *name, const char *password)
{
    struct identity identity = IDENTITY_INIT;
    bool is = identity_sources_known(self, name, password, &identity);
    identity_deinit(&identity);
    return is;
}

struct sources identity_sources_interface(struct identity_sources *sources)
{
    return (struct sources){.password = by_password,
                            .jwt = by_jwt,
                            .still_valid = still_valid,
                            .known = known,
                            .retry_after_s = retry_after_s,
                            .self = sources};
}
