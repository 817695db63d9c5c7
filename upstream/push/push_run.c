#include "upstream/push/push_run.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/pushed_tags.h"
#include "store/references.h"
#include "upstream/push/push_run_internal.h"

#include <stddef.h>

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

void push_run_wake(void *self)
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

static enum run_next begin(struct push_run *run)
{
    const struct reference *target = &run->job.target->reference;
    struct registries *registries = run->upstream->registries;
    if (run->job.push == NULL && run->host && atomic_load(&run->host->away_ms) >= run->since_ms)
        cancel_request(&run->cancel);
    if (run->host == NULL || cancel_check(&run->cancel, &run->error) != ERR_OK ||
        check_target(run, &run->error) != ERR_OK ||
        registries_credentials(registries, target->host, target->path, NULL, &run->credentials,
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
    run->order_count = registry_host_order(run->host, &run->credentials, run->order);
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
    if (run->job.target->policy == TAG_DRIFT_STAYS && target->tag[0] && !run->untagged &&
        pushed_tags_put(run->upstream->store, target, &run->job.target->digest, &err) != ERR_OK)
        log_warn("%s: the tag is not recorded: %s", run->target, err.text);
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
    push_run_disconnect(run);
    push_run_report_out(run);
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

/* --- steps --- */

static enum run_next take_step(struct push_run *run)
{
    switch (run->phase) {
    case RUN_BEGIN:
        return begin(run);
    case RUN_ENDPOINT:
        return push_run_next_endpoint(run);
    case RUN_GREET:
        return push_run_greet(run);
    case RUN_BRING:
        break;
    }
    return push_run_bring(run);
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

static enum run_next take_steps(struct push_run *run)
{
    enum run_next next = NEXT_STEP;
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
static void wait_for(struct push_run *run, enum run_next next)
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
    enum run_next next = take_steps(run);
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
    if (job->growing)
        growing_blob_report_in(job->growing);
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
