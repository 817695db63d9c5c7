/*
 * The registries slipway pushes to, one object per host, shared by all pushes of the process: its
 * endpoints, its warm connections, its tokens, its limit on concurrent transfers.
 *
 * registries_new(options) at start, registries_free() when no push runs any more. Any thread.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_REGISTRIES_H
#define SLIPWAY_UPSTREAM_CLIENT_REGISTRIES_H

#include "base/executor.h"
#include "net/transport.h"
#include "store/capabilities.h"
#include "upstream/auth/credentials.h"

#include <stdint.h>

/* How one host is reached; from the configuration. Strings are copied. */
struct registry_options {
    const char *host;
    const char *const *endpoints; /* base URLs; NULL = https://HOST (http too where plain) */
    size_t endpoint_count;
    const char *ca_file; /* PEM; NULL = what the certificates' source says, or the system's */
    const char *client_certificate; /* PEM, as client_key; NULL = the source's, or none */
    const char *client_key;
    bool plain_http;       /* http allowed; loopback hosts are allowed it anyway */
    bool schema1_fallback; /* who refuses schema2 manifests as a kind, twice, is offered schema1 */
    enum upload_method upload; /* UPLOAD_METHOD_AUTO: the way that works is found and remembered */
    uint64_t chunk_bytes;      /* of an upload in chunks; 0 = UPLOAD_CHUNK_DEFAULT */
    int64_t retry_wait_ms;     /* the base of the waits between attempts; 0 = RETRY_WAIT_MS */
    struct transport_times times;
    uint64_t revision; /* of what else reaching it depends on: see registries_change() */
};

/* Paths that are owned, NULL where there is none. */
struct registry_certificates {
    char *ca_file;
    char *client_certificate;
    char *client_key;
};

struct registries_options {
    const struct registry_options *registries; /* hosts not listed get the defaults */
    size_t registry_count;
    unsigned transfers_per_registry; /* large blobs at a time over all pushes; 0 = 5 */
    unsigned requests_per_registry;  /* small blobs at a time over all pushes; 0 = 16 */
    struct credentials_source credentials;
    /* Certificates of a host beside its options; asked when the host is first used. May be NULL. */
    void (*certificates)(const char *host, struct registry_certificates *out);
    const char *user_agent;
    struct store *store;       /* keeps what is learned about hosts; NULL: nobody does. Borrowed. */
    struct executor *executor; /* of the queues of each host; NULL: none are made. Borrowed. */
    struct work_group *group;  /* bounds what runs over all hosts; borrowed; may be NULL */
};

struct registries;
enum errc registries_new(const struct registries_options *options, struct registries **out,
                         struct error *err);
void registries_free(struct registries *registries);

/* ERR_SETTINGS, as of registries_new(). */
enum errc registries_check(const struct registry_options *options, size_t count, struct error *err);

/* Others, which were checked, in the place of those of registries_new(). A host whose options are
 * the same, with the same revision, stays as it is; another one is made anew for whoever asks for
 * it from now on, while what is under way goes on with the one that it has. */
void registries_change(struct registries *registries, const struct registry_options *options,
                       size_t count);

#define REGISTRY_HOSTS_MAX 1024

/* Forget hosts that nobody uses while there are more than half of REGISTRY_HOSTS_MAX, the ones that
 * were not used for the longest time first. Those stay that have settings of their own or asked to
 * be left alone for a time that is not over. Not on a worker: what runs in a queue of a host may
 * have to end first. */
void registries_forget(struct registries *registries);

#endif
