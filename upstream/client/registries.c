#include "upstream/client/registries.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/net.h"
#include "image/reference.h"
#include "upstream/client/host_table.h"
#include "upstream/client/registry_host.h"
#include "upstream/client/retry.h"

#include <string.h>

#define TRANSFERS_DEFAULT 5
#define REQUESTS_DEFAULT 16
/* A push under way holds its manifests in memory; the next one begins when one has ended. */
#define PUSHES_PER_HOST 64

struct registries {
    unsigned transfers;
    unsigned requests;
    struct credentials_source credentials;
    void (*certificates)(const char *host, struct registry_certificates *out);
    char *user_agent;
    struct store *store;
    struct executor *executor;
    struct work_group *group;
    pthread_mutex_t lock; /* guards what follows */
    struct host_table *table;
    struct registry_host **hosts;
    size_t host_count;
    struct registry_host *retired; /* made of another table; they go when nobody has them */
};

enum errc registries_new(const struct registries_options *options, struct registries **out,
                         struct error *err)
{
    if (registries_check(options->registries, options->registry_count, err) != ERR_OK)
        return err->code;
    struct registries *registries = xcalloc(1, sizeof *registries);
    registries->table = host_table_new(options->registries, options->registry_count);
    registries->transfers =
        options->transfers_per_registry ? options->transfers_per_registry : TRANSFERS_DEFAULT;
    registries->requests =
        options->requests_per_registry ? options->requests_per_registry : REQUESTS_DEFAULT;
    registries->credentials = options->credentials;
    registries->certificates = options->certificates;
    registries->store = options->store;
    registries->executor = options->executor;
    registries->group = options->group;
    registries->user_agent =
        xstrdup(options->user_agent ? options->user_agent : "slipway/" SLIPWAY_VERSION);
    registries->hosts = xcalloc(REGISTRY_HOSTS_MAX, sizeof(struct registry_host *));
    pthread_mutex_init(&registries->lock, NULL);
    *out = registries;
    return ERR_OK;
}

/* --- hosts --- */

static void host_free(struct registry_host *host)
{
    work_queue_free(host->transfers);
    work_queue_free(host->small);
    work_queue_free(host->requests);
    work_queue_free(host->pushes);
    work_queue_free(host->early);
    for (size_t i = 0; i < host->endpoint_count; i++) {
        url_deinit(&host->endpoints[i].base);
        auth_free(host->endpoints[i].auth);
        pthread_mutex_destroy(&host->endpoints[i].lock);
    }
    back_off_deinit(&host->back_off);
    transport_free(host->transport);
    host_capabilities_deinit(&host->learned);
    free(host->name);
    free(host);
}

void registries_free(struct registries *registries)
{
    if (registries == NULL)
        return;
    for (size_t i = 0; i < registries->host_count; i++)
        host_free(registries->hosts[i]);
    for (struct registry_host *host; (host = registries->retired);) {
        registries->retired = host->next;
        host_free(host);
    }
    host_table_unref(registries->table);
    pthread_mutex_destroy(&registries->lock);
    free(registries->hosts);
    free(registries->user_agent);
    free(registries);
}

static enum errc add_endpoint(struct registry_host *host, const char *text, struct error *err)
{
    autofree char *base = xstrdup(text);
    size_t size = strlen(base);
    while (size > 0 && base[size - 1] == '/')
        base[--size] = '\0';
    struct endpoint *endpoint = &host->endpoints[host->endpoint_count];
    if (url_parse(base, &endpoint->base, err) != ERR_OK) {
        err->code = ERR_REFERENCE_INVALID;
        return error_wrap(err, "registry host %s", host->name);
    }
    /* A URL without a path is written back with one. */
    size = strlen(endpoint->base.text);
    if (size > 0 && endpoint->base.text[size - 1] == '/')
        endpoint->base.text[size - 1] = '\0';
    endpoint->host = host;
    endpoint->auth = auth_new();
    pthread_mutex_init(&endpoint->lock, NULL);
    endpoint->greeting_failed_ms = -1;
    endpoint->greeting_began_ms = -1;
    host->endpoint_count++;
    return ERR_OK;
}

/* Which one is without TLS where a host falls back. */
#define PLAIN_ENDPOINT 1

static enum errc add_default_endpoints(struct registry_host *host, bool plain_http,
                                       struct error *err)
{
    bool hub = strcmp(host->name, "docker.io") == 0;
    const char *where = hub ? "registry-1.docker.io" : host->name;
    autofree char *https = xasprintf("https://%s", where);
    autofree char *http = xasprintf("http://%s", where);
    if (add_endpoint(host, https, err) != ERR_OK)
        return err->code;
    if (!plain_http && !net_host_is_loopback(host->name))
        return ERR_OK;
    host->falls_back = true;
    return add_endpoint(host, http, err);
}

static void make_queues(const struct registries *registries, struct registry_host *host)
{
    struct executor *executor = registries->executor;
    struct work_group *group = registries->group;
    host->transfers = work_queue_new(executor, group, registries->transfers);
    host->small = work_queue_new(executor, group, registries->requests);
    host->requests = work_queue_new(executor, group, registries->transfers);
    host->pushes = work_queue_new(executor, NULL, PUSHES_PER_HOST);
    host->early = work_queue_new(executor, NULL, registries->transfers);
}

/* What is configured goes before what is found. */
static struct transport *make_transport(const struct registries *registries,
                                        const struct host_settings *settings, const char *name)
{
    static const struct registry_certificates none;
    const struct registry_certificates *set = settings ? &settings->certificates : &none;
    struct registry_certificates found = {0};
    if (registries->certificates)
        registries->certificates(name, &found);
    const struct registry_certificates *client = set->client_certificate ? set : &found;
    const struct transport_options options = {
        .host = name,
        .user_agent = registries->user_agent,
        .ca_file = set->ca_file ? set->ca_file : found.ca_file,
        .client_certificate = client->client_certificate,
        .client_key = client->client_key,
        /* the blobs' and the manifest's */
        .idle_limit = registries->transfers + registries->requests + 1,
        .times = settings ? settings->times : (struct transport_times){.stall_s = 0},
    };
    struct transport *transport = transport_new(&options);
    registry_certificates_deinit(&found);
    return transport;
}

static enum errc host_new(struct registries *registries, const struct host_table *table,
                          const char *name, struct registry_host **out, struct error *err)
{
    const struct host_settings *settings = host_table_find(table, name);
    struct registry_host *host = xcalloc(1, sizeof *host);
    host->name = xstrdup(name);
    host->registries = registries;
    host->configured = settings != NULL;
    host->window =
        registries->requests > registries->transfers ? registries->requests : registries->transfers;
    host->schema1_fallback = settings && settings->schema1_fallback;
    host_capabilities_init(&host->learned, host->name, registries->store);
    atomic_init(&host->preferred, ENDPOINTS_MAX);
    upload_methods_init(&host->uploads, &host->learned,
                        settings ? settings->upload : UPLOAD_METHOD_AUTO,
                        settings ? settings->chunk_bytes : 0);
    host->retry_wait_ms =
        settings && settings->retry_wait_ms > 0 ? settings->retry_wait_ms : RETRY_WAIT_MS;
    if (registries->executor)
        make_queues(registries, host);
    const struct bounded_queue transfers = {.queue = host->transfers,
                                            .limit = registries->transfers};
    const struct bounded_queue small = {.queue = host->small, .limit = registries->requests};
    back_off_init(&host->back_off, host->name, transfers, small, host->requests,
                  host->retry_wait_ms);
    host->transport = make_transport(registries, settings, name);
    size_t configured = settings ? settings->endpoint_count : 0;
    enum errc code = ERR_OK;
    for (size_t i = 0; i < configured && code == ERR_OK; i++)
        code = add_endpoint(host, settings->endpoints[i], err);
    if (configured == 0)
        code = add_default_endpoints(host, settings && settings->plain_http, err);
    if (code != ERR_OK)
        host_free(host);
    else
        *out = host;
    return code;
}

static struct registry_host *find_host(const struct registries *registries, const char *name)
{
    for (size_t i = 0; i < registries->host_count; i++)
        if (strcmp(registries->hosts[i]->name, name) == 0)
            return registries->hosts[i];
    return NULL;
}

/* Put `host` among the hosts unless another thread was first; *out is the one that is there, with
 * one user more, or NULL when there are too many. False: the table is another one by now. */
static bool add_host(struct registries *registries, const struct host_table *table,
                     struct registry_host *host, struct registry_host **out)
{
    autolock pthread_mutex_t *held_lock = lock_take(&registries->lock);
    struct registry_host *held = find_host(registries, host->name);
    if (held == NULL && registries->table != table)
        return false;
    if (held == NULL && registries->host_count < REGISTRY_HOSTS_MAX)
        held = registries->hosts[registries->host_count++] = host;
    if (held)
        held->users++;
    *out = held;
    return true;
}

static enum errc make_host(struct registries *registries, const char *name,
                           struct registry_host **out, struct error *err)
{
    bool added = false;
    while (!added) {
        struct registry_host *made = NULL;
        pthread_mutex_lock(&registries->lock);
        struct host_table *table = host_table_ref(registries->table);
        pthread_mutex_unlock(&registries->lock);
        if (host_new(registries, table, name, &made, err) == ERR_OK) {
            added = add_host(registries, table, made, out);
            if (!added || *out != made)
                host_free(made);
        }
        host_table_unref(table);
        if (err->code != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

enum errc registries_host(struct registries *registries, const char *name,
                          struct registry_host **out, struct error *err)
{
    pthread_mutex_lock(&registries->lock);
    struct registry_host *held = find_host(registries, name);
    if (held)
        held->users++;
    pthread_mutex_unlock(&registries->lock);
    if (held == NULL && make_host(registries, name, &held, err) != ERR_OK)
        return err->code;
    if (held == NULL)
        return fail(err, ERR_BUSY, 0, "more than %d registry hosts", REGISTRY_HOSTS_MAX);
    *out = held;
    return ERR_OK;
}

struct registry_host *registry_host_hold(struct registry_host *host)
{
    pthread_mutex_lock(&host->registries->lock);
    host->users++;
    pthread_mutex_unlock(&host->registries->lock);
    return host;
}

void registry_host_release(struct registry_host *host)
{
    if (host == NULL)
        return;
    struct registries *registries = host->registries;
    pthread_mutex_lock(&registries->lock);
    host->users--;
    host->left_ms = clock_ms();
    pthread_mutex_unlock(&registries->lock);
}

/* With the lock. */
static void retire_changed(struct registries *registries, const struct host_table *now)
{
    for (size_t i = registries->host_count; i > 0; i--) {
        struct registry_host *host = registries->hosts[i - 1];
        const struct host_settings *was = host_table_find(registries->table, host->name);
        const struct host_settings *is = host_table_find(now, host->name);
        if (was == is || (was && is && host_settings_same(was, is)))
            continue;
        registries->hosts[i - 1] = registries->hosts[--registries->host_count];
        host->next = registries->retired;
        registries->retired = host;
    }
}

void registries_change(struct registries *registries, const struct registry_options *options,
                       size_t count)
{
    struct host_table *now = host_table_new(options, count);
    pthread_mutex_lock(&registries->lock);
    struct host_table *was = registries->table;
    retire_changed(registries, now);
    registries->table = now;
    pthread_mutex_unlock(&registries->lock);
    host_table_unref(was);
}

/* With the lock. */
static bool may_go(struct registry_host *host)
{
    return host->users == 0 && !host->configured && back_off_left_ms(&host->back_off) == 0;
}

/* Nobody has it any more; NULL: there is none. */
static struct registry_host *take_retired(struct registries *registries)
{
    autolock pthread_mutex_t *held = lock_take(&registries->lock);
    for (struct registry_host **at = &registries->retired; *at; at = &(*at)->next) {
        struct registry_host *host = *at;
        if (host->users > 0)
            continue;
        *at = host->next;
        return host;
    }
    return NULL;
}

/* Taken out of the table; NULL when there are not too many, or all are needed. */
static struct registry_host *take_unneeded(struct registries *registries)
{
    struct registry_host **oldest = NULL;
    struct registry_host *host = NULL;
    pthread_mutex_lock(&registries->lock);
    for (size_t i = 0; i < registries->host_count; i++) {
        struct registry_host **at = &registries->hosts[i];
        if (may_go(*at) && (oldest == NULL || (*at)->left_ms < (*oldest)->left_ms))
            oldest = at;
    }
    if (oldest && registries->host_count > REGISTRY_HOSTS_MAX / 2) {
        host = *oldest;
        *oldest = registries->hosts[--registries->host_count];
    }
    pthread_mutex_unlock(&registries->lock);
    return host;
}

void registries_forget(struct registries *registries)
{
    for (struct registry_host *host; (host = take_retired(registries));)
        host_free(host);
    for (struct registry_host *host; (host = take_unneeded(registries));)
        host_free(host);
}

enum errc registries_credentials(struct registries *registries, const char *host, const char *path,
                                 const struct credentials_refusal *refused,
                                 struct registry_credentials *out, struct error *err)
{
    const struct credentials_source *source = &registries->credentials;
    if (source->find == NULL) {
        *out = (struct registry_credentials){0};
        return ERR_OK;
    }
    return source->find(source->self, host, path, refused, out, err);
}

/* --- endpoints --- */

/* Without TLS before it was tried. */
static bool may_guess(struct registry_host *host, const struct registry_credentials *credentials)
{
    return registry_credentials_empty(credentials) && !atomic_load(&host->spoke_tls) &&
           host_capabilities_known(&host->learned).plain;
}

static size_t first_to_try(struct registry_host *host,
                           const struct registry_credentials *credentials)
{
    size_t preferred = atomic_load(&host->preferred);
    if (host->falls_back && !atomic_load(&host->tried_tls))
        return may_guess(host, credentials) ? PLAIN_ENDPOINT : 0;
    return preferred < host->endpoint_count ? preferred : 0;
}

size_t registry_host_order(struct registry_host *host,
                           const struct registry_credentials *credentials,
                           struct endpoint *order[ENDPOINTS_MAX])
{
    size_t first = first_to_try(host, credentials);
    size_t count = 0;
    order[count++] = &host->endpoints[first];
    for (size_t i = 0; i < host->endpoint_count; i++)
        if (i != first)
            order[count++] = &host->endpoints[i];
    return count;
}

bool registry_host_allows(const struct registry_host *host, const struct endpoint *endpoint)
{
    return endpoint->base.tls || !atomic_load(&host->spoke_tls);
}

void endpoint_answered(struct endpoint *endpoint)
{
    struct registry_host *host = endpoint->host;
    atomic_store(&endpoint->answered, true);
    atomic_store(&host->preferred, (size_t)(endpoint - host->endpoints));
    if (host->falls_back && !endpoint->base.tls && atomic_load(&host->tried_tls) &&
        !atomic_load(&host->spoke_tls))
        host_capabilities_answered(&host->learned, true);
}

bool endpoint_is_guess(const struct endpoint *endpoint)
{
    const struct registry_host *host = endpoint->host;
    return host->falls_back && !endpoint->base.tls && !atomic_load(&host->tried_tls);
}

void endpoint_was_tried(struct endpoint *endpoint, bool spoke)
{
    struct registry_host *host = endpoint->host;
    if (!endpoint->base.tls)
        return;
    /* Whoever sees that TLS was tried sees what came of it. */
    if (spoke && !atomic_exchange(&host->spoke_tls, true))
        host_capabilities_answered(&host->learned, false);
    atomic_store(&host->tried_tls, true);
}

bool endpoint_is_private(struct endpoint *endpoint)
{
    return atomic_load(&endpoint->private_seen) || net_host_is_private(endpoint->base.host);
}
