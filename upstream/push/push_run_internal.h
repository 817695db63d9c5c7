/*
 * What the files of a run share: push_run.c (its steps, its beginning and its end),
 * push_run_endpoint.c (which endpoint is tried, and whether a registry is there), push_run_bring.c
 * (what is brought). Nobody else includes it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_RUN_INTERNAL_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_RUN_INTERNAL_H

#include "upstream/client/registry.h"
#include "upstream/client/retry.h"
#include "upstream/push/growing_send.h"
#include "upstream/push/manifest_push.h"
#include "upstream/push/push_job.h"

/* Where a run is between two steps. */
enum run_state { RUN_PLACED, RUN_SLEEPS, RUN_QUEUED, RUN_TIMED, RUN_STEPS, RUN_STEPS_AGAIN };

enum run_phase { RUN_BEGIN, RUN_ENDPOINT, RUN_GREET, RUN_BRING };

/* How much an error is worth telling. */
enum worth { WORTH_NOBODY, WORTH_SOMEBODY, WORTH_REGISTRY, WORTH_IMAGE };

/* What a step leads to. */
enum run_next { NEXT_STEP, NEXT_WAIT, NEXT_LATER, NEXT_IN_TURN, NEXT_END };

struct push_run {
    struct work place; /* in the host's queue of pushes: held as long as the run lives */
    struct work step;
    struct push_options options;
    struct push_job job;
    struct upstream *upstream;
    struct registry_host *host; /* NULL: there is none, see `error` */
    char target[REFERENCE_TEXT_MAX];
    struct cancel cancel;
    struct cancel_watch watch;
    int64_t since_ms; /* when it was started */

    /* the step's at hand */
    enum run_phase phase;
    struct registry_credentials credentials;
    struct known_blobs *memory; /* held; NULL: nothing is remembered */
    struct endpoint *order[ENDPOINTS_MAX];
    size_t order_count;
    size_t endpoint;    /* in the order */
    struct error error; /* worth telling: the last one of the worth that is in `worth` */
    enum worth worth;
    bool unreached; /* `error` is that of a first request */
    bool done;
    bool untagged;
    struct retry retry;  /* of the first request at one endpoint */
    struct retry rounds; /* of all endpoints, while the registry is away */
    bool connected;      /* repository and push are initialised */
    struct repository repository;
    struct target_push push;
    bool in_turn; /* the first request's */
    bool guess_failed;
    bool guessed; /* that there is no TLS (endpoint_is_guess()), when that was sent */
    int64_t asked_since_ms;
    char *turn_key;
    struct manifest_tree *tree;
    struct layer_set *blob;
    struct growing_send *growing;  /* of a blob that is not whole yet */
    struct upload_session session; /* what that has opened; none is open once a transfer has it */
    bool reported_out;             /* to the growing blob */
    struct tree_turn turn;

    pthread_mutex_t lock; /* guards what follows */
    enum run_state state;
};

/* ---- push_run.c ---- */

/* `self` is the run: what it waits for may be there. Any thread. */
void push_run_wake(void *self);

/* ---- push_run_endpoint.c ---- */

/* What is held of the endpoint at hand goes. Without one it is a no-op. */
void push_run_disconnect(struct push_run *run);
/* Go to the endpoint whose turn it is; to the first one again, while the registry is away. */
enum run_next push_run_next_endpoint(struct push_run *run);
/* Nothing comes of the endpoint at hand. */
enum run_next push_run_endpoint_failed(struct push_run *run, const struct error *err);
/* Is there a registry? */
enum run_next push_run_greet(struct push_run *run);

/* ---- push_run_bring.c ---- */

/* Whoever writes the growing blob need not wait for the run any more. */
void push_run_report_out(struct push_run *run);

/* The image or the blob, as far as it goes now. */
enum run_next push_run_bring(struct push_run *run);

#endif
