/*
 * What a running gateway consists of, for its routes: opened by the server at start, the same for
 * every request. All parts are borrowed from the server and may be used by any thread.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_GATEWAY_H
#define SLIPWAY_GATEWAY_SERVICE_GATEWAY_H

#include "gateway/http/jobs.h"
#include "gateway/push/runtime.h"
#include "gateway/queue/push_queue.h"

#include <stdatomic.h>

struct confirms;
struct checker;
struct sweeps;
struct request_keys;
struct access;
struct layer_claims;
struct reload;

struct gateway {
    struct runtime *runtime;
    struct jobs *jobs;
    struct push_queue *queue;
    struct checker *checker;           /* gateway/service/checker.h */
    struct confirms *confirms;         /* gateway/registry/confirm.h */
    atomic_uint followers;             /* gateway/api/push_events.h */
    struct sweeps *sweeps;             /* gateway/reconcile/sweeps.h */
    struct request_keys *keys;         /* gateway/api/request_keys.h */
    struct access *access;             /* gateway/access/access.h */
    struct layer_claims *layer_claims; /* gateway/api/layer_claims.h */
    struct reload *reload;             /* gateway/service/reload.h */
};

#endif
