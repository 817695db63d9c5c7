/*
 * How hosts are to be reached, by one configuration: copies of struct registry_options. A table
 * does not change; another configuration is another table (registries_change()).
 *
 * Any thread.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_HOST_TABLE_H
#define SLIPWAY_UPSTREAM_CLIENT_HOST_TABLE_H

#include "upstream/client/registries.h"

#include <stdatomic.h>

/* A copy of struct registry_options, and of those that name no host. */
struct host_settings {
    char *host;
    char **endpoints;
    size_t endpoint_count;
    struct registry_certificates certificates;
    bool plain_http;
    bool schema1_fallback;
    enum upload_method upload;
    uint64_t chunk_bytes;
    int64_t retry_wait_ms;
    struct transport_times times;
    uint64_t revision;
};

/* Those of one configuration. */
struct host_table {
    atomic_uint references;
    struct host_settings *items;
    size_t count;
};

/* The options were checked: registries_check(). With one reference. */
struct host_table *host_table_new(const struct registry_options *options, size_t count);
struct host_table *host_table_ref(struct host_table *table);
void host_table_unref(struct host_table *table);

/* In any case of letters; NULL: the host is not in it. Borrowed. */
const struct host_settings *host_table_find(const struct host_table *table, const char *name);

/* Of two of one host: is it reached in the same way? */
bool host_settings_same(const struct host_settings *a, const struct host_settings *b);

void registry_certificates_deinit(struct registry_certificates *certificates);

#endif
