#include "gateway/push/registry_logins.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "config/credentials.h"
#include "config/password_command.h"
#include "config/settings_stamp.h"
#include "upstream/auth/tokens.h"

#include <inttypes.h>

#define PASSWORD_LIFE_MS ((int64_t)12 * 60 * 60 * 1000)
#define PASSWORD_YOUNG_MS ((int64_t)5 * 60 * 1000)

struct registry_logins {
    pthread_mutex_t lock;
    const struct settings *settings; /* a reference, under the lock */
    struct tokens *passwords;        /* of commands, by host and what is configured for it */
};

struct registry_logins *registry_logins_new(const struct settings *settings)
{
    struct registry_logins *logins = xcalloc(1, sizeof *logins);
    pthread_mutex_init(&logins->lock, NULL);
    logins->settings = settings_ref(settings);
    logins->passwords = tokens_new();
    return logins;
}

void registry_logins_free(struct registry_logins *logins)
{
    if (logins == NULL)
        return;
    tokens_free(logins->passwords);
    settings_free(logins->settings);
    pthread_mutex_destroy(&logins->lock);
    free(logins);
}

void registry_logins_change(struct registry_logins *logins, const struct settings *settings)
{
    autolock pthread_mutex_t *held = lock_take(&logins->lock);
    settings_free(logins->settings);
    logins->settings = settings_ref(settings);
}

static const struct settings *settings_now(struct registry_logins *logins)
{
    autolock pthread_mutex_t *held = lock_take(&logins->lock);
    return settings_ref(logins->settings);
}

static enum errc run_command(void *self, struct token *out, struct error *err)
{
    out->expires_at_ms = clock_ms() + PASSWORD_LIFE_MS;
    return password_command_run(self, &out->text, err);
}

static enum errc ask_command(struct registry_logins *logins, const struct registry_setting *setting,
                             const struct credentials_refusal *refused, char **password,
                             struct error *err)
{
    const struct token_fetch run = {.run = run_command, .self = (void *)(uintptr_t)setting};
    autofree char *key = xasprintf("%s %" PRIx64, setting->host, settings_registry_stamp(setting));
    if (refused && !refused->denied && refused->credentials->password)
        tokens_drop(logins->passwords, key, refused->credentials->password);
    int64_t least_ms = refused && refused->denied ? PASSWORD_LIFE_MS - PASSWORD_YOUNG_MS : 1;
    return tokens_get(logins->passwords, key, least_ms, NULL, &run, password, err);
}

static enum errc find_commanded(struct registry_logins *logins,
                                const struct registry_setting *setting,
                                const struct credentials_refusal *refused,
                                struct registry_credentials *out, struct error *err)
{
    char *password = NULL;
    if (ask_command(logins, setting, refused, &password, err) != ERR_OK)
        return err->code;
    *out = (struct registry_credentials){
        .username = xstrdup(setting->username),
        .password = password,
        .origin = xasprintf("the password is what registries.\"%s\".password_command printed",
                            setting->host),
        .expire = true};
    return ERR_OK;
}

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* No login changes what the configuration says. */
static char *configured_origin(const struct registry_setting *setting)
{
    return xasprintf("the password is that of registries.\"%s\".%s, as it was when the "
                     "configuration was read last",
                     setting->host, setting->password.from);
}

static char *stored_origin(const struct stored_credentials *stored, const char *host)
{
    if (stored->origin == NULL)
        return NULL;
    return xasprintf("it is from %s: run \"docker login %s\" as the user who runs slipway",
                     stored->origin, host);
}

static enum errc find_login(void *self, const char *host, const char *path,
                            const struct credentials_refusal *refused,
                            struct registry_credentials *out, struct error *err)
{
    struct registry_logins *logins = self;
    autosettings const struct settings *settings = settings_now(logins);
    const struct registry_setting *setting = settings_registry(settings, host);
    if (setting && setting->password_command.count > 0)
        return find_commanded(logins, setting, refused, out, err);
    if (setting && setting->password.text) {
        *out = (struct registry_credentials){.username = xstrdup(setting->username),
                                             .password = xstrdup(setting->password.text),
                                             .origin = configured_origin(setting)};
        return ERR_OK;
    }
    struct stored_credentials stored = {0};
    if (credentials_find(host, path, &stored, err) != ERR_OK)
        return err->code;
    *out = (struct registry_credentials){.username = copy_or_null(stored.username),
                                         .password = copy_or_null(stored.password),
                                         .identity_token = copy_or_null(stored.identity_token),
                                         .registry_token = copy_or_null(stored.registry_token),
                                         .origin = stored_origin(&stored, host)};
    credentials_clear(&stored);
    return ERR_OK;
}

struct credentials_source registry_logins_source(struct registry_logins *logins)
{
    return (struct credentials_source){.find = find_login, .self = logins};
}
