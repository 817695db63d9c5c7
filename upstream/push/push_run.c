#include "upstream/push/push_run.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/known_locations.h"
#include "store/pushed_tags.h"
#include "store/references.h"
#include "upstream/client/registry.h"
#include "upstream/client/retry.h"
#include "upstream/push/manifest_push.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

/* Where a run is between two steps. */
enum run_state { RUN_PLACED, RUN_SLEEPS, RUN_QUEUED, RUN_TIMED, RUN_STEPS, RUN_STEPS_AGAIN };

enum run_phase { RUN_BEGIN, RUN_ENDPOINT, RUN_GREET, RUN_BRING };

/* How much an error is worth telling. */
enum worth { WORTH_NOBODY, WORTH_SOMEBODY, WORTH_REGISTRY, WORTH_IMAGE };

/* What a step leads to. */
enum next { NEXT_STEP, NEXT_WAIT, NEXT_LATER, NEXT_IN_TURN, NEXT_END };

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
    int64_t asked_since_ms;
    char *turn_key;
    struct manifest_tree *tree;
    struct layer_set *blob;
    struct tree_turn turn;

    pthread_mutex_t lock; /* guards what follows */
    enum run_state state;
};

static void wake(void *self);

/* --- between two steps --- */

static struct work_queue *steps_of(const struct push_run *run)
{
    return run->host ? run->host->requests : run->upstream->ends;
}

/* With the lock. What only has to end is not kept waiting by others. */
static void queue_step(struct push_run *run, const char *key)
{
    bool ends = cancel_requested(&run->cancel);
    run->state = RUN_QUEUED;
    run->step.key = ends ? NULL : key;
    work_submit(ends ? run->upstream->ends : steps_of(run), &run->step);
}

static void wake(void *self)
{
    struct push_run *run = self;
    autolock pthread_mutex_t *held = lock_take(&run->lock);
    if (run->state == RUN_SLEEPS)
        queue_step(run, NULL);
    else if (run->state == RUN_STEPS)
        run->state = RUN_STEPS_AGAIN;
}

/* The cancel was requested: a wait for a place, a time or a turn is over. */
static void on_cancel(void *self)
{
    struct push_run *run = self;
    struct work_queue *ends = run->upstream->ends;
    autolock pthread_mutex_t *held = lock_take(&run->lock);
    switch (run->state) {
    case RUN_PLACED:
        if (work_cancel(ends, &run->place))
            work_submit(ends, &run->place);
        break;
    case RUN_QUEUED:
    case RUN_TIMED:
        if (work_cancel(ends, &run->step))
            queue_step(run, NULL);
        break;
    case RUN_SLEEPS:
        queue_step(run, NULL);
        break;
    case RUN_STEPS:
    case RUN_STEPS_AGAIN:
        run->state = RUN_STEPS_AGAIN;
        break;
    }
}

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

static bool next_endpoint_may_help(const struct error *err)
{
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

/* --- what is told --- */

static void tell(const struct push_run *run, enum progress_kind kind, const char *words,
                 const struct registry_wait *wait)
{
    const struct progress_event event = {
        .kind = kind, .target = run->target, .status = words, .wait = wait};
    progress_emit(run->options.progress, &event);
}

/* The registry has asked others to stay away. */
static void tell_pause(const struct push_run *run)
{
    int64_t left_ms = run->host ? back_off_left_ms(&run->host->back_off) : 0;
    const struct registry_wait wait = {.registry = run->host ? run->host->name : "",
                                       .reason = "it has asked for patience (429 or 503)",
                                       .until_ms = clock_ms() + left_ms};
    if (left_ms > 0)
        tell(run, PROGRESS_COUNTDOWN, "Waiting", &wait);
}

static void tell_start(const struct push_run *run)
{
    char name[REFERENCE_NAME_MAX + 1];
    autobuf struct buf words = BUF_INIT(REFERENCE_TEXT_MAX + 64);
    buf_format(&words, "The push refers to repository [%s]",
               reference_name(&run->job.target->reference, name));
    tell(run, PROGRESS_MESSAGE, buf_cstr(&words), NULL);
}

static void tell_end(const struct push_run *run)
{
    const struct push_target *target = run->job.target;
    char digest[DIGEST_TEXT_MAX];
    const char *tag = target->reference.tag;
    autobuf struct buf words = BUF_INIT(REFERENCE_TEXT_MAX + 64);
    digest_text(&target->digest, digest);
    buf_format(&words, "%s: digest: %s size: %llu", tag[0] && !run->untagged ? tag : digest, digest,
               (unsigned long long)target->size);
    tell(run, PROGRESS_MESSAGE, buf_cstr(&words), NULL);
}

/* --- begin and end --- */

/* By digest only what has that digest can be pushed, and not under a tag at the same time. */
static enum errc check_target(const struct push_run *run, struct error *err)
{
    const struct reference *target = &run->job.target->reference;
    bool by_digest = target->digest.algorithm != DIGEST_NONE;
    if (run->job.push == NULL)
        return ERR_OK;
    if (by_digest &&
        (target->tag[0] || !digest_equal(&target->digest, &run->job.push->manifest.digest)))
        return fail(err, ERR_DIGEST_REFERENCE, 0, "cannot push a digest reference: %s",
                    run->target);
    if (!by_digest && target->tag[0] == '\0')
        return fail(err, ERR_NO_TAG, 0, "%s has no tag to push", run->target);
    return ERR_OK;
}

static bool is_admitted(const struct push_run *run, struct error *err)
{
    const struct push_options *options = &run->options;
    if (options->admits == NULL || options->admits(options->self, &run->job.target->login))
        return true;
    fail(err, ERR_CANCELLED, 0, "others ask whether its credentials are good again");
    return false;
}

static enum next begin(struct push_run *run)
{
    const struct reference *target = &run->job.target->reference;
    struct registries *registries = run->upstream->registries;
    if (run->job.push == NULL && run->host && atomic_load(&run->host->away_ms) >= run->since_ms)
        cancel_request(&run->cancel);
    if (run->host == NULL || cancel_check(&run->cancel, &run->error) != ERR_OK ||
        check_target(run, &run->error) != ERR_OK ||
        registries_credentials(registries, target->host, target->path, &run->credentials,
                               &run->error) != ERR_OK)
        return NEXT_END;
    if (run->job.push) {
        run->job.target->login = registry_credentials_digest(&run->credentials);
        if (!is_admitted(run, &run->error))
            return NEXT_END;
        tell_start(run);
    }
    if (run->options.remembers)
        run->memory = repository_memory_hold(run->upstream->memory, target, clock_ms());
    run->order_count = registry_host_order(run->host, run->order);
    run->phase = RUN_ENDPOINT;
    return NEXT_STEP;
}

/* The image is where it should be: a record that cannot be written does not change that. */
static void record_digest(const struct push_run *run)
{
    const struct descriptor *manifest = &run->job.push->manifest;
    struct reference by_digest = run->job.target->reference;
    struct error err = ERROR_INIT;
    by_digest.tag[0] = '\0';
    by_digest.digest = run->job.target->digest;
    if (references_put(run->upstream->store, &by_digest, &manifest->digest, manifest->media_type,
                       &err) != ERR_OK)
        log_warn("%s: the digest reference is not recorded: %s", run->target, err.text);
    error_clear(&err);
    const struct reference *target = &run->job.target->reference;
    if (run->job.target->leaves_drift && target->tag[0] && !run->untagged &&
        pushed_tags_put(run->upstream->store, target, &run->job.target->digest, &err) != ERR_OK)
        log_warn("%s: the tag is not recorded: %s", run->target, err.text);
}

static void disconnect(struct push_run *run)
{
    manifest_tree_free(run->tree);
    layer_set_free(run->blob);
    run->tree = NULL;
    run->blob = NULL;
    if (run->connected) {
        target_push_deinit(&run->push);
        repository_deinit(&run->repository);
    }
    run->connected = false;
}

static void report(struct push_run *run)
{
    struct push_target *target = run->job.target;
    bool drifted = run->error.code == ERR_TAG_DRIFTED;
    target->state = !run->done      ? drifted ? PUSH_DRIFTED : PUSH_FAILED
                    : run->untagged ? PUSH_SUPERSEDED
                                    : PUSH_PUSHED;
    target->error = run->error;
    target->asked_ms = run->host ? back_off_left_ms(&run->host->back_off) : 0;
    if (run->done)
        error_clear(&target->error);
    else if (run->error.code == ERR_OK)
        fail(&target->error, ERR_CONNECT, 0, "%s has no endpoint that may be used", run->target);
    if (run->job.push && run->done) {
        record_digest(run);
        tell_end(run);
    }
}

static void end(struct push_run *run)
{
    const struct push_options options = run->options;
    disconnect(run);
    if (run->memory)
        repository_memory_release(run->upstream->memory, run->memory);
    registry_credentials_clear(&run->credentials);
    report(run);
    cancel_unwatch(&run->cancel, &run->watch);
    cancel_deinit(&run->cancel);
    pthread_mutex_destroy(&run->lock);
    free(run->turn_key);
    work_release(&run->place);
    registry_host_release(run->host);
    free(run);
    options.ended(options.self);
}

/* --- one endpoint --- */

static enum next connect_to(struct push_run *run, struct endpoint *endpoint)
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
    target_push_share(&run->push, run->memory ? run->memory : run->options.known);
    run->connected = true;
    run->asked_since_ms = clock_ms();
    run->phase = RUN_GREET;
    return NEXT_STEP;
}

/* A registry that has answered before and is away now is waited for; so is one of which a
 * connection was accepted, but not more: it may be starting, or be drained by what stands before
 * it. */
static enum next all_were_tried(struct push_run *run)
{
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
    run->order_count = registry_host_order(run->host, run->order);
    return NEXT_LATER;
}

static enum next next_endpoint(struct push_run *run)
{
    while (run->endpoint < run->order_count) {
        struct endpoint *endpoint = run->order[run->endpoint];
        if (registry_host_allows(run->host, endpoint))
            return connect_to(run, endpoint);
        run->endpoint++;
    }
    return all_were_tried(run);
}

static enum next endpoint_failed(struct push_run *run, const struct error *err)
{
    keep_worth_telling(run, err, run->phase == RUN_GREET);
    run->retry = (struct retry){0};
    disconnect(run);
    run->endpoint++;
    run->phase = RUN_ENDPOINT;
    return next_endpoint_may_help(err) ? NEXT_STEP : NEXT_END;
}

/* --- is there a registry? --- */

/* Where none has answered yet, one run after the other asks. */
static bool needs_turn(const struct push_run *run)
{
    return !run->in_turn && !atomic_load(&run->repository.endpoint->answered);
}

static enum next take_turn(struct push_run *run)
{
    free(run->turn_key);
    run->turn_key = xasprintf("greeting %s", run->repository.endpoint->base.text);
    run->turn.key = run->turn_key;
    run->in_turn = true;
    return NEXT_IN_TURN;
}

/* Another run that asked meanwhile could not reach the endpoint. */
static bool shares_failure(const struct push_run *run, struct error *err)
{
    struct endpoint *endpoint = run->repository.endpoint;
    autolock pthread_mutex_t *held = lock_take(&endpoint->lock);
    bool shared = endpoint->greeting_failed_ms >= run->asked_since_ms;
    if (shared)
        *err = endpoint->greeting_error;
    return shared;
}

static void note_failure(const struct push_run *run, const struct error *err)
{
    struct endpoint *endpoint = run->repository.endpoint;
    autolock pthread_mutex_t *held = lock_take(&endpoint->lock);
    endpoint->greeting_failed_ms = clock_ms();
    endpoint->greeting_error = *err;
}

static enum errc ask(struct push_run *run, struct error *err)
{
    if (!atomic_load(&run->repository.endpoint->answered) && shares_failure(run, err))
        return err->code;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, &run->repository, &run->push.cancel);
    enum errc code =
        run->options.probes ? registry_probe(&client, err) : registry_ping(&client, err);
    if (is_transport_error(code))
        note_failure(run, err);
    return code;
}

/* An early upload is not worth waiting for a registry that may never have been one. */
static enum next greet(struct push_run *run)
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
    if (is_away(&err))
        return endpoint_failed(run, &err);
    bool later = run->job.push && !run->options.once &&
                 (code == ERR_TOO_MANY_REQUESTS || code == ERR_REGISTRY_FAULT);
    if (retry_follows(&run->retry, run->target, &run->host->back_off, later, &err)) {
        run->turn.until_ms = run->retry.until_ms;
        return NEXT_LATER;
    }
    return endpoint_failed(run, &err);
}

/* --- what is brought --- */

static struct layer_set_waker waker_of(struct push_run *run)
{
    return (struct layer_set_waker){.wake = wake, .self = run};
}

/* What this push sends now need not be sent by the next one. */
static void begin_memory_anew(struct push_run *run)
{
    if (run->memory == NULL)
        return;
    repository_memory_release(run->upstream->memory, run->memory);
    run->memory =
        repository_memory_hold(run->upstream->memory, &run->job.target->reference, clock_ms());
    run->push.told = run->memory;
}

/* What was known of the repository, or what the registry said, was wrong: once more without that,
 * at once. A blob that is lost need not be named. */
static bool goes_another_round(struct push_run *run, const struct error *err)
{
    struct target_push *push = &run->push;
    bool assumed = err->code == ERR_BLOB_NOT_THERE && atomic_load(&push->assumed);
    bool unnamed = err->code == ERR_BLOB_NOT_THERE && !assumed && !push->doubts &&
                   atomic_load(&push->believed) && !atomic_load(&push->distrusts_all);
    if (!assumed && !push->doubts && !unnamed)
        return false;
    if (unnamed)
        atomic_store(&push->distrusts_all, true);
    repository_memory_forget(run->upstream->memory, &run->job.target->reference);
    begin_memory_anew(run);
    log_info("%s: a blob that was taken for there is not, %s: %s", run->target,
             push->doubts || unnamed ? "it is sent" : "all are asked for", err->text);
    push->shared = NULL;
    push->doubts = false;
    atomic_store(&push->assumed, false);
    run->push.result->layers = (struct push_layers){0};
    manifest_tree_free(run->tree);
    run->tree = NULL;
    return true;
}

/* It may be the repository that is not for these credentials, or the registry. */
static void find_out_who(struct push_run *run, struct error *err)
{
    if (err->code != ERR_DENIED || cancel_requested(&run->cancel) ||
        !registry_shuts_out(run->repository.endpoint, &run->credentials, &run->cancel))
        return;
    err->hints |= HINT_LOGIN;
    error_wrap(err, "GET /v2/ is refused to the same credentials, too");
}

static enum next bring_image(struct push_run *run)
{
    struct error err = ERROR_INIT;
    if (run->tree == NULL)
        run->tree = manifest_tree_new(&run->push, run->upstream->transfers, run->job.push,
                                      run->job.target, waker_of(run));
    switch (manifest_tree_advance(run->tree, &run->turn, &err)) {
    case TREE_DONE:
        run->done = true;
        run->untagged = run->push.untagged;
        return NEXT_END;
    case TREE_WAITS:
        return NEXT_WAIT;
    case TREE_LATER:
        return NEXT_LATER;
    case TREE_IN_TURN:
        return NEXT_IN_TURN;
    case TREE_FAILED:
        break;
    }
    if (goes_another_round(run, &err))
        return NEXT_STEP;
    find_out_who(run, &err);
    return endpoint_failed(run, &err);
}

/* By its diffID it can be mounted from where an image with it was pushed to. */
static void name_layer(struct push_run *run, struct push_layer *layer)
{
    struct error err = ERROR_INIT;
    bool found = false;
    *layer = (struct push_layer){.blob = &run->job.blob};
    if (known_locations_layer(run->upstream->store, &run->job.blob.digest, &found, &layer->layer,
                              &err) != ERR_OK)
        log_warn("%s: which layer a blob is, is not known: %s", run->target, err.text);
    if (!found)
        layer->layer = run->job.blob.digest;
    digest_short(&layer->layer, layer->id);
}

static enum next bring_blob(struct push_run *run)
{
    if (run->blob == NULL) {
        struct push_layer layer;
        name_layer(run, &layer);
        run->blob = layer_set_new(&run->push, run->upstream->transfers, &layer, 1, 1, layer_attempt,
                                  waker_of(run));
    }
    struct error err = ERROR_INIT;
    if (cancel_check(&run->cancel, &err) != ERR_OK)
        return layer_set_leave(run->blob) ? endpoint_failed(run, &err) : NEXT_WAIT;
    switch (layer_set_advance(run->blob)) {
    case LAYER_SET_DONE:
        run->done = true;
        return NEXT_END;
    case LAYER_SET_WAITS:
        return NEXT_WAIT;
    case LAYER_SET_FAILED:
        break;
    }
    err = run->push.failure;
    return endpoint_failed(run, &err);
}

/* --- steps --- */

static enum next take_step(struct push_run *run)
{
    switch (run->phase) {
    case RUN_BEGIN:
        return begin(run);
    case RUN_ENDPOINT:
        return next_endpoint(run);
    case RUN_GREET:
        return greet(run);
    case RUN_BRING:
        break;
    }
    return run->job.push ? bring_image(run) : bring_blob(run);
}

/* True while a wait for another first request is not over. */
static bool counts_down(struct push_run *run)
{
    char words[RETRY_WORDS_MAX];
    if (run->phase == RUN_BRING || run->retry.until_ms == 0 || cancel_requested(&run->cancel))
        return false;
    int64_t due_ms = retry_words(&run->retry, words);
    if (words[0] == '\0')
        return false;
    run->turn.until_ms = run->options.progress ? due_ms : run->retry.until_ms;
    tell(run, PROGRESS_COUNTDOWN, words, &run->retry.wait);
    return true;
}

static enum next take_steps(struct push_run *run)
{
    enum next next = NEXT_STEP;
    if (counts_down(run))
        return NEXT_LATER;
    run->retry.until_ms = 0;
    while (next == NEXT_STEP)
        next = take_step(run);
    if (next == NEXT_LATER)
        counts_down(run);
    return next;
}

/* The last thing that is done with the run. */
static void wait_for(struct push_run *run, enum next next)
{
    autolock pthread_mutex_t *held = lock_take(&run->lock);
    bool cancelled = cancel_requested(&run->cancel);
    if (next == NEXT_IN_TURN) {
        queue_step(run, run->turn.key);
    } else if (next == NEXT_LATER && !cancelled) {
        run->state = RUN_TIMED;
        run->step.key = NULL;
        work_submit_at(steps_of(run), &run->step, run->turn.until_ms);
    } else if (next == NEXT_LATER || run->state == RUN_STEPS_AGAIN) {
        queue_step(run, NULL);
    } else {
        run->state = RUN_SLEEPS;
    }
}

static void on_step(struct work *work)
{
    struct push_run *run = (struct push_run *)((char *)work - offsetof(struct push_run, step));
    pthread_mutex_lock(&run->lock);
    run->state = RUN_STEPS;
    pthread_mutex_unlock(&run->lock);
    enum next next = take_steps(run);
    if (next == NEXT_END)
        end(run);
    else
        wait_for(run, next);
}

static void on_place(struct work *work)
{
    struct push_run *run = (struct push_run *)((char *)work - offsetof(struct push_run, place));
    work_hold(work);
    autolock pthread_mutex_t *held = lock_take(&run->lock);
    queue_step(run, NULL);
}

/* --- its beginning --- */

void push_run_start(const struct push_job *job)
{
    struct push_run *run = xcalloc(1, sizeof *run);
    struct upstream *upstream = job->options->upstream;
    run->place.run = on_place;
    run->step.run = on_step;
    run->options = *job->options;
    run->job = *job;
    run->job.options = NULL;
    run->upstream = upstream;
    run->since_ms = clock_ms();
    reference_text(&job->target->reference, run->target);
    pthread_mutex_init(&run->lock, NULL);
    cancel_init_child(&run->cancel, run->options.cancel, "cancelled");
    run->watch = (struct cancel_watch){.call = on_cancel, .self = run};
    registries_host(upstream->registries, job->target->reference.host, &run->host, &run->error);
    tell_pause(run);
    autolock pthread_mutex_t *held = lock_take(&run->lock);
    bool waits = cancel_watch(&run->cancel, &run->watch) && run->host;
    struct work_queue *queue = upstream->ends;
    if (waits)
        queue = job->push ? run->host->pushes : run->host->early;
    work_submit(queue, &run->place);
}
