/*
 * What was learned about one registry host, as store/capabilities.h keeps it: read when the host
 * is first used, written, outside of the lock, when something new is learned.
 *
 * Lifecycle: host_capabilities_init .. host_capabilities_deinit, around everything that uses the
 * host. Any thread.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_HOST_CAPABILITIES_H
#define SLIPWAY_UPSTREAM_CLIENT_HOST_CAPABILITIES_H

#include "store/capabilities.h"

#include <pthread.h>

struct host_capabilities {
    const char *host;     /* borrowed */
    struct store *store;  /* borrowed; NULL: nothing outlives the process */
    pthread_mutex_t lock; /* guards what follows */
    struct capabilities known;
};

/* A record that cannot be read counts as none, with a warning. */
void host_capabilities_init(struct host_capabilities *capabilities, const char *host,
                            struct store *store);
void host_capabilities_deinit(struct host_capabilities *capabilities);

struct capabilities host_capabilities_known(struct host_capabilities *capabilities);

/* A blob went this way (UPLOAD_METHOD_AUTO: that says nothing), in requests of at most `body_limit`
 * bytes (0: no limit showed; of two the smaller one is kept). */
void host_capabilities_took(struct host_capabilities *capabilities, enum upload_method way,
                            uint64_t body_limit);

/* It answered as a registry: without TLS, after TLS had been tried in vain, or with TLS. */
void host_capabilities_answered(struct host_capabilities *capabilities, bool plain);

/* "one PUT", ...: for people. */
const char *upload_method_name(enum upload_method way);

#endif
