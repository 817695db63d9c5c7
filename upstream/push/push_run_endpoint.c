#include "upstream/push/push_run_internal.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

/* So long before a run's own question another one may have begun whose failure is its own, too. */
#define JUST_BEFORE_MS 2000

/* --- errors --- */

static bool is_transport_error(enum errc code)
{
    return error_party(code) == PARTY_NETWORK;
}

/* Nobody is there, or what stands before it says so. */
static bool is_away(const struct error *err)
{
    return is_transport_error(err->code) || err->hints & HINT_ENDPOINT;
}

static bool next_endpoint_may_help(const struct push_run *run, const struct error *err)
{
    if (run->phase == RUN_GREET && run->guessed && err->code != ERR_CANCELLED)
        return true;
    switch (err->code) {
    case ERR_UNAUTHORIZED:
    case ERR_MANIFEST_UNKNOWN:
    case ERR_NAME_UNKNOWN:
    case ERR_NOT_A_REGISTRY:
        return true;
    default:
        return is_away(err);
    }
}

/* The last error that says something about the image; else the last one from where a registry is
 * known to be; else from where somebody is; else the last one. */
static enum worth worth_of(const struct push_run *run, const struct error *now)
{
    if (!is_away(now) && now->code != ERR_NOT_A_REGISTRY)
        return WORTH_IMAGE;
    if (atomic_load(&run->repository.endpoint->answered))
        return WORTH_REGISTRY;
    bool somebody = now->code == ERR_CONNECTION_LOST || now->status > 0;
    return somebody ? WORTH_SOMEBODY : WORTH_NOBODY;
}

static void keep_worth_telling(struct push_run *run, const struct error *now, bool greeting)
{
    enum worth worth = worth_of(run, now);
    if (worth >= run->worth) {
        run->error = *now;
        run->worth = worth;
        run->unreached = greeting;
    }
}

/* --- one endpoint --- */

void push_run_disconnect(struct push_run *run)
{
    manifest_tree_free(run->tree);
    layer_set_free(run->blob);
    growing_send_free(run->growing);
    if (run->connected)
        upload_session_cancel(&run->repository, &run->session);
    run->tree = NULL;
    run->blob = NULL;
    run->growing = NULL;
    if (run->connected) {
        target_push_deinit(&run->push);
        repository_deinit(&run->repository);
    }
    run->connected = false;
}

static enum run_next connect_to(struct push_run *run, struct endpoint *endpoint)
{
    const struct reference *target = &run->job.target->reference;
    repository_init(&run->repository, endpoint, target->path, &run->credentials);
    via_add(run->job.push ? run->job.push->via : run->job.via, store_id(run->upstream->store),
            run->repository.via);
    target_push_init(&run->push, run->upstream->store, &run->repository, run->options.progress,
                     run->target, &run->cancel, run->job.target);
    run->push.keeps_tag = run->options.keeps_tag;
    run->push.keeper = run->options.self;
    run->push.comes_again = run->options.once;
    run->push.ahead = run->job.push == NULL;
    target_push_share(&run->push, run->memory ? run->memory : run->options.known);
    run->connected = true;
    run->asked_since_ms = clock_ms();
    run->phase = RUN_GREET;
    return NEXT_STEP;
}

/* A registry that has answered before and is away now is waited for; so is one of which a
 * connection was accepted, but not more: it may be starting, or be drained by what stands before
 * it. */
static enum run_next all_were_tried(struct push_run *run)
{
    if (run->guess_failed) {
        /* TLS was tried meanwhile: once more, by what is known now. */
        run->guess_failed = false;
        run->endpoint = 0;
        run->order_count = registry_host_order(run->host, &run->credentials, run->order);
        return NEXT_STEP;
    }
    bool there = run->worth == WORTH_REGISTRY || run->worth == WORTH_SOMEBODY;
    bool away = there && run->unreached && run->job.push && !run->options.once &&
                is_away(&run->error) && error_retriable(run->error.code);
    run->rounds.made++;
    if (!retry_follows(&run->rounds, run->target, &run->host->back_off, away, &run->error))
        return NEXT_END;
    run->turn.until_ms = run->retry.until_ms = run->rounds.until_ms;
    run->retry.wait = run->rounds.wait;
    run->worth = WORTH_NOBODY;
    run->endpoint = 0;
    run->order_count = registry_host_order(run->host, &run->credentials, run->order);
    return NEXT_LATER;
}

enum run_next push_run_next_endpoint(struct push_run *run)
{
    while (run->endpoint < run->order_count) {
        struct endpoint *endpoint = run->order[run->endpoint];
        if (registry_host_allows(run->host, endpoint))
            return connect_to(run, endpoint);
        run->endpoint++;
    }
    return all_were_tried(run);
}

enum run_next push_run_endpoint_failed(struct push_run *run, const struct error *err)
{
    bool goes_on = next_endpoint_may_help(run, err);
    bool guessed = endpoint_is_guess(run->repository.endpoint) && err->code != ERR_CANCELLED;
    run->guess_failed |= guessed && run->phase == RUN_GREET;
    if (guessed && run->phase == RUN_BRING)
        host_capabilities_answered(&run->host->learned, false); /* the next process asks again */
    keep_worth_telling(run, err, run->phase == RUN_GREET);
    run->retry = (struct retry){0};
    push_run_disconnect(run);
    run->endpoint++;
    run->phase = RUN_ENDPOINT;
    return goes_on ? NEXT_STEP : NEXT_END;
}

/* --- is there a registry? --- */

/* Where none has answered yet, one run after the other asks. */
static bool needs_turn(const struct push_run *run)
{
    return !run->in_turn && !atomic_load(&run->repository.endpoint->answered);
}

static enum run_next take_turn(struct push_run *run)
{
    free(run->turn_key);
    run->turn_key = xasprintf("greeting %s", run->repository.endpoint->base.text);
    run->turn.key = run->turn_key;
    run->in_turn = true;
    return NEXT_IN_TURN;
}

/* Another run that asked meanwhile, and began no earlier than just before, could not reach the
 * endpoint. */
static bool shares_failure(const struct push_run *run, struct error *err)
{
    struct endpoint *endpoint = run->repository.endpoint;
    autolock pthread_mutex_t *held = lock_take(&endpoint->lock);
    bool shared = endpoint->greeting_failed_ms >= run->asked_since_ms &&
                  endpoint->greeting_began_ms >= run->asked_since_ms - JUST_BEFORE_MS;
    if (shared)
        *err = endpoint->greeting_error;
    return shared;
}

static void note_failure(const struct push_run *run, int64_t began_ms, const struct error *err)
{
    struct endpoint *endpoint = run->repository.endpoint;
    autolock pthread_mutex_t *held = lock_take(&endpoint->lock);
    endpoint->greeting_began_ms = began_ms;
    endpoint->greeting_failed_ms = clock_ms();
    endpoint->greeting_error = *err;
}

/* Connections beside the one that greets: so many blobs are asked about next. */
static unsigned wanted_next(const struct push_run *run)
{
    size_t most = run->host->window;
    if (run->job.push == NULL)
        return 0;
    size_t blobs = manifest_tree_first_blobs(run->upstream->store, &run->job.push->manifest);
    size_t at_once = blobs < most ? blobs : most;
    return at_once > 1 ? (unsigned)at_once - 1 : 0;
}

static enum errc ask(struct push_run *run, struct error *err)
{
    bool answered = atomic_load(&run->repository.endpoint->answered);
    run->guessed = endpoint_is_guess(run->repository.endpoint);
    if (!answered && shares_failure(run, err))
        return err->code;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, &run->repository, &run->push.cancel);
    client.ahead = answered ? 0 : wanted_next(run);
    int64_t began_ms = clock_ms();
    enum errc code =
        run->options.probes ? registry_probe(&client, err) : registry_ping(&client, err);
    if (is_transport_error(code))
        note_failure(run, began_ms, err);
    return code;
}

/* An early upload is not worth waiting for a registry that may never have been one. */
enum run_next push_run_greet(struct push_run *run)
{
    struct error err = ERROR_INIT;
    if (needs_turn(run))
        return take_turn(run);
    run->in_turn = false;
    run->retry.made++;
    enum errc code = ask(run, &err);
    target_push_count_attempts(&run->push, run->rounds.made + run->retry.made);
    if (code == ERR_OK) {
        run->retry = (struct retry){0};
        run->phase = RUN_BRING;
        return NEXT_STEP;
    }
    if (is_away(&err) || run->guessed)
        return push_run_endpoint_failed(run, &err);
    bool later = run->job.push && !run->options.once &&
                 (code == ERR_TOO_MANY_REQUESTS || code == ERR_REGISTRY_FAULT);
    if (retry_follows(&run->retry, run->target, &run->host->back_off, later, &err)) {
        run->turn.until_ms = run->retry.until_ms;
        return NEXT_LATER;
    }
    return push_run_endpoint_failed(run, &err);
}
