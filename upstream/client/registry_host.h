/*
 * One registry host as all pushes of the process share it: its endpoints, its connections, its
 * limit, the transfers under way to it. Made by registries.c; it lives as long as somebody has it
 * from registries_host(), and afterwards until registries_forget(). Any thread.
 *
 * Endpoints are tried in the order of registry_host_order(): the one that answered last first, then
 * the others as configured. Of a host with the default endpoints an earlier process may have found
 * that it speaks no TLS: until this one has tried TLS, plain http is then the first one for those
 * who have no credentials to lose, as a guess: a first request that fails there leads on to TLS,
 * and after a push that fails there the next process tries TLS first. A plain-http endpoint is left
 * out once the host has answered over TLS, even with a certificate that was refused: whoever can
 * cut the TLS connection must not be able to make credentials travel in the clear.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_REGISTRY_HOST_H
#define SLIPWAY_UPSTREAM_CLIENT_REGISTRY_HOST_H

#include "upstream/auth/auth.h"
#include "upstream/client/back_off.h"
#include "upstream/client/registries.h"
#include "upstream/client/upload_methods.h"

#define ENDPOINTS_MAX 16
/* A blob of more than this is large. What is smaller costs its round trips: at 60 MB a second its
 * bytes take less time than one of 20 ms. */
#define BLOB_SMALL_BYTES ((uint64_t)1 << 20)

struct registry_host;

struct endpoint {
    struct registry_host *host; /* whose endpoint this is */
    struct url base;            /* without "/" at the end */
    struct auth *auth;
    atomic_bool answered;       /* it is known to be a registry */
    atomic_bool private_seen;   /* its address is private: it may send us to private addresses */
    pthread_mutex_t lock;       /* guards what follows */
    int64_t greeting_began_ms;  /* clock_ms() of the first request that the network failed last */
    int64_t greeting_failed_ms; /* and when that failed */
    struct error greeting_error;
};

struct registry_host {
    char *name; /* as in references: "r.example.com:5000" */
    struct endpoint endpoints[ENDPOINTS_MAX];
    size_t endpoint_count;
    struct transport *transport;
    /* Where work for this host waits; NULL without an executor. */
    struct work_queue *transfers; /* large blobs on their way */
    struct work_queue *small;     /* small blobs on their way */
    struct work_queue *requests;  /* the other steps of pushes that send requests */
    struct work_queue *pushes;    /* pushes under way, however long they wait */
    struct work_queue *early;     /* blobs that leave before their manifest */
    struct back_off back_off;
    unsigned window; /* blobs of one push that wait for places, or have one, at a time */
    bool schema1_fallback;
    struct host_capabilities learned;
    struct upload_methods uploads; /* how it takes blobs */
    int64_t retry_wait_ms;         /* the base wait before another attempt */
    bool falls_back; /* its endpoints are HTTPS, and HTTP where that does not answer */
    atomic_bool tried_tls;
    atomic_bool spoke_tls;
    atomic_bool no_pieces;   /* it refused the first piece of a blob that was still being written */
    atomic_size_t preferred; /* index of the endpoint that answered last; ENDPOINTS_MAX: none yet */
    _Atomic int64_t away_ms; /* clock_ms() when an early upload found nobody there last */
    struct registries *registries;
    bool configured; /* has settings of its own: is never forgotten */
    /* the table's, under its lock */
    unsigned users;
    struct registry_host *next; /* of those that were retired: no other has it any more */
    int64_t left_ms;            /* clock_ms() when the last user gave it back */
};

/* The host's object, for registry_host_release(). ERR_REFERENCE_INVALID when the name makes no URL,
 * ERR_BUSY when there are too many hosts already. */
enum errc registries_host(struct registries *registries, const char *name,
                          struct registry_host **out, struct error *err);

/* Once more by who has it: `host`, for another registry_host_release(). */
struct registry_host *registry_host_hold(struct registry_host *host);

/* Nothing of the caller's is in its queues any more, but for the work that calls this. NULL is a
 * no-op. */
void registry_host_release(struct registry_host *host);

/* What the credentials source says for a repository of this host; cleared by the caller. `refused`
 * may be NULL. */
enum errc registries_credentials(struct registries *registries, const char *host, const char *path,
                                 const struct credentials_refusal *refused,
                                 struct registry_credentials *out, struct error *err);

/* The endpoints in the order to try them with these credentials; returns how many. */
size_t registry_host_order(struct registry_host *host,
                           const struct registry_credentials *credentials,
                           struct endpoint *order[ENDPOINTS_MAX]);

/* It goes before TLS, which was not tried yet. */
bool endpoint_is_guess(const struct endpoint *endpoint);

/* False for a plain-http endpoint of a host that is known to speak TLS by now. */
bool registry_host_allows(const struct registry_host *host, const struct endpoint *endpoint);

/* A registry answered here: it is the first to be tried from now on. */
void endpoint_answered(struct endpoint *endpoint);

/* An exchange with it has ended; `spoke`: it spoke HTTP, or TLS, whatever it said. */
void endpoint_was_tried(struct endpoint *endpoint, bool spoke);

bool endpoint_is_private(struct endpoint *endpoint);

#endif
