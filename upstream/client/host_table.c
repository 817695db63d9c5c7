#include "upstream/client/host_table.h"

#include "base/mem.h"
#include "base/net.h"
#include "upstream/client/registry_host.h"

#include <string.h>
#include <strings.h>

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

void registry_certificates_deinit(struct registry_certificates *certificates)
{
    free(certificates->ca_file);
    free(certificates->client_certificate);
    free(certificates->client_key);
}

static void settings_copy(const struct registry_options *from, struct host_settings *to)
{
    *to = (struct host_settings){
        .host = xstrdup(from->host),
        .endpoints = xcalloc(from->endpoint_count, sizeof(char *)),
        .endpoint_count = from->endpoint_count,
        .certificates = {.ca_file = copy_or_null(from->ca_file),
                         .client_certificate = copy_or_null(from->client_certificate),
                         .client_key = copy_or_null(from->client_key)},
        .plain_http = from->plain_http,
        .schema1_fallback = from->schema1_fallback,
        .upload = from->upload,
        .chunk_bytes = from->chunk_bytes,
        .retry_wait_ms = from->retry_wait_ms,
        .times = from->times,
        .revision = from->revision,
    };
    for (size_t i = 0; i < from->endpoint_count; i++)
        to->endpoints[i] = xstrdup(from->endpoints[i]);
}

static void settings_deinit(struct host_settings *settings)
{
    for (size_t i = 0; i < settings->endpoint_count; i++)
        free(settings->endpoints[i]);
    free(settings->endpoints);
    registry_certificates_deinit(&settings->certificates);
    free(settings->host);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool host_settings_same(const struct host_settings *a, const struct host_settings *b)
{
    if (a->revision != b->revision || a->endpoint_count != b->endpoint_count ||
        a->plain_http != b->plain_http || a->schema1_fallback != b->schema1_fallback ||
        a->upload != b->upload || a->chunk_bytes != b->chunk_bytes ||
        a->retry_wait_ms != b->retry_wait_ms || memcmp(&a->times, &b->times, sizeof a->times) != 0)
        return false;
    for (size_t i = 0; i < a->endpoint_count; i++)
        if (strcmp(a->endpoints[i], b->endpoints[i]) != 0)
            return false;
    return same_text(a->certificates.ca_file, b->certificates.ca_file) &&
           same_text(a->certificates.client_certificate, b->certificates.client_certificate) &&
           same_text(a->certificates.client_key, b->certificates.client_key);
}

struct host_table *host_table_new(const struct registry_options *options, size_t count)
{
    struct host_table *table = xcalloc(1, sizeof *table);
    atomic_init(&table->references, 1);
    table->items = xcalloc(count, sizeof *table->items);
    table->count = count;
    for (size_t i = 0; i < count; i++)
        settings_copy(&options[i], &table->items[i]);
    return table;
}

struct host_table *host_table_ref(struct host_table *table)
{
    atomic_fetch_add(&table->references, 1);
    return table;
}

void host_table_unref(struct host_table *table)
{
    if (atomic_fetch_sub(&table->references, 1) > 1)
        return;
    for (size_t i = 0; i < table->count; i++)
        settings_deinit(&table->items[i]);
    free(table->items);
    free(table);
}

const struct host_settings *host_table_find(const struct host_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcasecmp(table->items[i].host, name) == 0)
            return &table->items[i];
    return NULL;
}

static enum errc check_endpoint(const struct registry_options *options, const char *endpoint,
                                struct error *err)
{
    autourl struct url url = {0};
    char shown[URL_SHOWN_MAX];
    if (url_parse(endpoint, &url, err) != ERR_OK) {
        err->code = ERR_SETTINGS;
        return error_wrap(err, "registries.\"%s\".endpoints", options->host);
    }
    if (!url.tls && !options->plain_http && !net_host_is_loopback(url.host))
        return fail(err, ERR_SETTINGS, 0,
                    "registries.\"%s\".endpoints: %s sends credentials in the clear; if that is "
                    "meant, set registries.\"%s\".plain_http",
                    options->host, url_shown(endpoint, shown), options->host);
    return ERR_OK;
}

static enum errc check_options(const struct registry_options *options, struct error *err)
{
    if (options->endpoint_count > ENDPOINTS_MAX)
        return fail(err, ERR_SETTINGS, 0, "registries.\"%s\".endpoints: at most %d", options->host,
                    ENDPOINTS_MAX);
    for (size_t i = 0; i < options->endpoint_count; i++)
        if (check_endpoint(options, options->endpoints[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

enum errc registries_check(const struct registry_options *options, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (check_options(&options[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}
