#include "upstream/push/transfers.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "upstream/client/retry.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

TAILQ_HEAD(wait_list, transfer_wait);

struct transfer {
    struct transfers *table;
    struct work work;

    /* its own; constant while it runs */
    transfer_attempt *attempt;
    struct digest credentials_digest;
    struct registry_credentials credentials;
    char *path;
    char *target;
    struct descriptor blob;
    struct push_layer layer;
    struct registry_host *host; /* held */
    struct repository repository;
    struct progress progress;
    struct cancel cancel;
    struct cancel_watch watch;

    /* the worker's at hand */
    struct target_push push;
    struct push_target result;
    struct unfinished_upload upload;
    struct retry retry;
    struct layer_outcome outcome;

    /* under the table's lock */
    struct wait_list waits;  /* longest first */
    struct transfer *leader; /* whose end is waited for */
    bool leads;
    TAILQ_HEAD(followers, transfer) followers; /* of a leader */
    TAILQ_ENTRY(transfer) follow;
    bool listed;
    bool telling; /* the waits are being told something: none may leave, nor be ended */
    struct progress_event last; /* that was told; without a status: nothing yet */
    char last_words[RETRY_WORDS_MAX];
    struct registry_wait last_wait;
    unsigned references;
};

struct transfers {
    struct work_queue *ends;
    struct upload_memory *uploads;
    pthread_mutex_t lock;
    pthread_cond_t told;
    pthread_cond_t ended;
    size_t under_way;
    void *tree;    /* tsearch tree of the transfers that are listed */
    void *leaders; /* the same of those that lead: one for each blob at an endpoint */
};

struct transfers *transfers_new(struct work_queue *ends, struct upload_memory *uploads)
{
    struct transfers *transfers = xcalloc(1, sizeof *transfers);
    transfers->ends = ends;
    transfers->uploads = uploads;
    pthread_mutex_init(&transfers->lock, NULL);
    pthread_cond_init(&transfers->told, NULL);
    pthread_cond_init(&transfers->ended, NULL);
    return transfers;
}

void transfers_close(struct transfers *transfers)
{
    if (transfers == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&transfers->lock);
    while (transfers->under_way > 0)
        pthread_cond_wait(&transfers->ended, &transfers->lock);
}

void transfers_free(struct transfers *transfers)
{
    if (transfers == NULL)
        return;
    pthread_cond_destroy(&transfers->ended);
    pthread_cond_destroy(&transfers->told);
    pthread_mutex_destroy(&transfers->lock);
    free(transfers);
}

/* Of one blob to one endpoint, by the same credentials. */
static int compare_blobs(const struct transfer *a, const struct transfer *b)
{
    const struct endpoint *one = a->repository.endpoint;
    const struct endpoint *other = b->repository.endpoint;
    if (one != other)
        return (uintptr_t)one < (uintptr_t)other ? -1 : 1;
    int order = digest_compare(&a->blob.digest, &b->blob.digest);
    return order ? order : digest_compare(&a->credentials_digest, &b->credentials_digest);
}

static int compare_leaders(const void *left, const void *right)
{
    return compare_blobs(left, right);
}

/* Are these two one transfer? What the blob is to those that want it there does not matter. */
static int compare(const void *left, const void *right)
{
    const struct transfer *a = left;
    const struct transfer *b = right;
    if (a->layer.send != b->layer.send)
        return a->layer.send ? 1 : -1;
    int order = compare_blobs(a, b);
    return order ? order : strcmp(a->path, b->path);
}

/* --- what a transfer tells --- */

static void tell(const struct transfer_wait *wait, const struct progress_event *event)
{
    struct progress_event told = *event;
    told.target = wait->push->target;
    told.id = wait->layer->id[0] ? wait->layer->id : NULL;
    if (told.id || told.wait)
        progress_emit(wait->push->progress, &told);
}

/* With the lock, which is given up meanwhile: tell the last event to this wait and those behind it,
 * one that joins meanwhile included. */
static void tell_from(struct transfer *transfer, struct transfer_wait *wait)
{
    struct transfers *table = transfer->table;
    transfer->telling = true;
    for (; wait; wait = TAILQ_NEXT(wait, link)) {
        pthread_mutex_unlock(&table->lock);
        tell(wait, &transfer->last);
        pthread_mutex_lock(&table->lock);
    }
    transfer->telling = false;
    pthread_cond_broadcast(&table->told);
}

/* With the lock, which is given up meanwhile. */
static void await_told(struct transfer *transfer)
{
    while (transfer->telling)
        pthread_cond_wait(&transfer->table->told, &transfer->table->lock);
}

static void tell_all(void *self, const struct progress_event *event)
{
    struct transfer *transfer = self;
    struct transfers *table = transfer->table;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    await_told(transfer);
    transfer->last = *event;
    transfer->last.status = transfer->last_words;
    snprintf(transfer->last_words, sizeof transfer->last_words, "%s", event->status);
    if (event->wait) {
        transfer->last_wait = *event->wait;
        transfer->last.wait = &transfer->last_wait;
    }
    tell_from(transfer, TAILQ_FIRST(&transfer->waits));
}

/* --- its life --- */

static void run(struct work *work);
static void hurry(void *self);

static bool is_large(const struct transfer *transfer)
{
    return transfer->blob.size > BLOB_SMALL_BYTES;
}

/* Among the small ones, before it is sent among the large ones. */
static bool finds_first(const struct transfer *transfer)
{
    return is_large(transfer) && transfer->layer.id[0] && !transfer->layer.send;
}

static struct transfer *transfer_new(struct transfers *table, const struct transfer_wait *wait,
                                     transfer_attempt *attempt)
{
    const struct target_push *push = wait->push;
    const struct repository *repository = push->repository;
    struct transfer *transfer = xcalloc(1, sizeof *transfer);
    transfer->table = table;
    transfer->work.run = run;
    transfer->attempt = attempt;
    transfer->credentials_digest = registry_credentials_digest(repository->credentials);
    transfer->credentials = registry_credentials_copy(repository->credentials);
    transfer->path = xstrdup(repository->path);
    transfer->target = xstrdup(push->target);
    transfer->blob = *wait->layer->blob;
    transfer->layer = *wait->layer;
    transfer->layer.blob = &transfer->blob;
    transfer->layer.part = finds_first(transfer) ? LAYER_FIND : LAYER_ALL;
    transfer->progress = (struct progress){.emit = tell_all, .self = transfer};
    transfer->references = 1;
    TAILQ_INIT(&transfer->waits);
    TAILQ_INIT(&transfer->followers);
    cancel_init(&transfer->cancel);
    transfer->host = registry_host_hold(repository->endpoint->host);
    repository_init(&transfer->repository, repository->endpoint, transfer->path,
                    &transfer->credentials);
    repository_learn(&transfer->repository, push->repository);
    memcpy(transfer->repository.via, repository->via, sizeof repository->via);
    target_push_init(&transfer->push, push->store, &transfer->repository, &transfer->progress,
                     transfer->target, &transfer->cancel, &transfer->result);
    upload_memo_init(&transfer->upload.memo, table->uploads, repository, &transfer->push.key,
                     &transfer->blob);
    transfer->watch = (struct cancel_watch){.call = hurry, .self = transfer};
    cancel_watch(&transfer->cancel, &transfer->watch);
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    target_push_deinit(&transfer->push);
    repository_deinit(&transfer->repository);
    cancel_deinit(&transfer->cancel);
    registry_credentials_clear(&transfer->credentials);
    registry_host_release(transfer->host);
    free(transfer->path);
    free(transfer->target);
    free(transfer);
}

static void unref(struct transfer *transfer)
{
    struct transfers *table = transfer->table;
    pthread_mutex_lock(&table->lock);
    bool last = --transfer->references == 0;
    pthread_mutex_unlock(&table->lock);
    if (last)
        transfer_free(transfer);
}

static void unlist(struct transfer *transfer)
{
    if (transfer->listed)
        tdelete(transfer, &transfer->table->tree, compare);
    transfer->listed = false;
}

static struct work_queue *queue_of(const struct transfer *transfer)
{
    const struct registry_host *host = transfer->repository.endpoint->host;
    bool large = is_large(transfer) && transfer->layer.part != LAYER_FIND;
    return large ? host->transfers : host->small;
}

/* --- one repository after another --- */

/*
 * A layer that goes into several repositories of one registry is sent into the first of them and
 * mounted into the others from there. So of the transfers of one blob to one endpoint the first
 * leads and the others follow: they begin when it has ended. One that has trouble leads no longer:
 * the next one does, without waiting for it.
 */

/* With the lock. True when it has to wait for another one. */
static bool follow(struct transfer *transfer)
{
    if (transfer->layer.id[0] == '\0' || transfer->layer.send)
        return false;
    struct transfer **leader = tsearch(transfer, &transfer->table->leaders, compare_leaders);
    if (leader == NULL)
        abort(); /* out of memory, as in base/mem.h */
    transfer->leads = *leader == transfer;
    if (transfer->leads)
        return false;
    transfer->leader = *leader;
    TAILQ_INSERT_TAIL(&transfer->leader->followers, transfer, follow);
    return true;
}

/* With the lock. False when it followed nobody. */
static bool follow_no_more(struct transfer *transfer)
{
    if (transfer->leader == NULL)
        return false;
    TAILQ_REMOVE(&transfer->leader->followers, transfer, follow);
    transfer->leader = NULL;
    return true;
}

/* With the lock: those behind it go on, all of them when the blob is there to be mounted. */
static void lead_no_more(struct transfer *transfer, bool there)
{
    struct transfer *next;
    if (!transfer->leads)
        return;
    tdelete(transfer, &transfer->table->leaders, compare_leaders);
    transfer->leads = false;
    while ((next = TAILQ_FIRST(&transfer->followers))) {
        follow_no_more(next);
        if (there || !follow(next))
            work_submit(queue_of(next), &next->work);
    }
}

/* Its cancel was requested: it does not wait any longer. */
static void hurry(void *self)
{
    struct transfer *transfer = self;
    autolock pthread_mutex_t *held = lock_take(&transfer->table->lock);
    bool waits = follow_no_more(transfer) || work_cancel(queue_of(transfer), &transfer->work);
    if (waits)
        work_submit(transfer->table->ends, &transfer->work);
}

/* --- the work --- */

static void end_wait(struct transfer *transfer, struct transfer_wait *wait, bool credited,
                     const struct error *err)
{
    wait->error = *err;
    wait->attempts = transfer->retry.made;
    repository_learn(wait->push->repository, &transfer->repository);
    wait->outcome = transfer->outcome;
    if (!credited || wait->layer->id[0] == '\0' || transfer->outcome.end == LAYER_NONE)
        wait->outcome =
            (struct layer_outcome){.end = wait->layer->id[0] == '\0' ? LAYER_NONE : LAYER_EXISTED,
                                   .sent_bytes = credited ? transfer->outcome.sent_bytes : 0};
    bool brought = wait->outcome.end == LAYER_UPLOADED || wait->outcome.end == LAYER_MOUNTED;
    if (err->code == ERR_OK && brought && wait->push->ahead)
        target_push_credit(wait->push, &transfer->blob.digest, &wait->outcome);
    if (err->code == ERR_OK && transfer->outcome.sent_bytes > 0)
        target_push_learn_sent(wait->push, &transfer->blob.digest);
    else if (err->code == ERR_OK)
        target_push_learn(wait->push, &transfer->blob.digest);
    wait->ended(wait);
}

/* Is another transfer to go on with its session? */
static bool goes_on(struct transfer *transfer, const struct error *err)
{
    const struct transfer_wait *wait;
    bool comes_again = false;
    if (err->code == ERR_CANCELLED)
        return upload_memory_keeps(transfer->table->uploads);
    autolock pthread_mutex_t *held = lock_take(&transfer->table->lock);
    TAILQ_FOREACH(wait, &transfer->waits, link)
    {
        comes_again |= wait->push->comes_again;
    }
    return comes_again && transfer->upload.begun;
}

static void end_upload(struct transfer *transfer, const struct error *err)
{
    if (err->code != ERR_OK && goes_on(transfer, err))
        upload_leave(&transfer->repository, &transfer->upload);
    else
        upload_give_up(&transfer->repository, &transfer->upload);
}

/* The push of an image that is there longest, else who brings the blob ahead of its manifest. */
static const struct transfer_wait *who_counts(const struct transfer *transfer)
{
    const struct transfer_wait *wait;
    TAILQ_FOREACH(wait, &transfer->waits, link)
    {
        if (!wait->push->ahead)
            return wait;
    }
    return TAILQ_FIRST(&transfer->waits);
}

static void end(struct transfer *transfer, const struct error *err)
{
    struct transfers *table = transfer->table;
    struct transfer_wait *wait;
    bool cancelled = err->code == ERR_CANCELLED;
    if (!cancelled)
        end_upload(transfer, err);
    pthread_mutex_lock(&table->lock);
    await_told(transfer);
    unlist(transfer);
    lead_no_more(transfer, err->code == ERR_OK);
    TAILQ_FOREACH(wait, &transfer->waits, link)
    {
        wait->transfer = NULL;
    }
    pthread_mutex_unlock(&table->lock);
    const struct transfer_wait *credited = who_counts(transfer);
    while ((wait = TAILQ_FIRST(&transfer->waits))) {
        TAILQ_REMOVE(&transfer->waits, wait, link);
        end_wait(transfer, wait, wait == credited, err);
    }
    if (cancelled)
        end_upload(transfer, err);
    cancel_unwatch(&transfer->cancel, &transfer->watch);
    unref(transfer);
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    if (--table->under_way == 0)
        pthread_cond_broadcast(&table->ended);
}

/* False when the cancel came first. The last thing that is done with the transfer. */
static bool wait_until(struct transfer *transfer, int64_t due_ms)
{
    struct transfers *table = transfer->table;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    bool waits = !cancel_requested(&transfer->cancel);
    if (waits)
        work_submit_at(queue_of(transfer), &transfer->work, due_ms);
    return waits;
}

static bool has_listeners(struct transfer *transfer)
{
    const struct transfer_wait *wait;
    bool any = false;
    autolock pthread_mutex_t *held = lock_take(&transfer->table->lock);
    TAILQ_FOREACH(wait, &transfer->waits, link)
    {
        any |= wait->push->progress != NULL;
    }
    return any;
}

/* True while its next attempt is not due. */
static bool counts_down(struct transfer *transfer)
{
    char words[RETRY_WORDS_MAX];
    int64_t due_ms = retry_words(&transfer->retry, words);
    if (words[0] == '\0')
        return false;
    if (!has_listeners(transfer))
        return wait_until(transfer, transfer->retry.until_ms);
    target_push_tell_countdown(&transfer->push, transfer->layer.id, words, &transfer->retry.wait);
    return wait_until(transfer, due_ms);
}

/* It was looked for, and is not there. */
static bool has_to_be_sent(const struct transfer *transfer)
{
    return transfer->layer.part == LAYER_FIND && transfer->outcome.end == LAYER_NONE;
}

/* To its place among the large ones: the same attempt goes on there. False when cancelled. */
static bool goes_on_to_send(struct transfer *transfer)
{
    struct transfers *table = transfer->table;
    transfer->retry.made--;
    if (!work_queue_has_place(transfer->host->transfers))
        target_push_tell_layer(&transfer->push, transfer->layer.id, "Waiting");
    pthread_mutex_lock(&table->lock);
    transfer->layer.part = LAYER_SEND;
    pthread_mutex_unlock(&table->lock);
    return wait_until(transfer, clock_ms());
}

static enum errc try_once(struct transfer *transfer, struct error *err)
{
    if (cancel_check(&transfer->push.cancel, err) != ERR_OK)
        return err->code;
    if (transfer->retry.made++ == 0 && !transfer->layer.send &&
        transfer->layer.part != LAYER_SEND && !upload_session_is_open(&transfer->upload.session))
        upload_recall(&transfer->repository, &transfer->upload, transfer->blob.size);
    transfer->outcome = (struct layer_outcome){.end = LAYER_NONE};
    enum errc code = transfer->attempt(&transfer->push, &transfer->layer, &transfer->upload,
                                       &transfer->outcome, err);
    if (code == ERR_OK && !has_to_be_sent(transfer))
        back_off_succeeded(&transfer->repository.endpoint->host->back_off);
    return code;
}

static bool tries_again(struct transfer *transfer, struct error *err)
{
    const char *id = transfer->layer.id;
    autofree char *what = xasprintf("%s %s", transfer->target, id[0] ? id : "config");
    return retry_follows(&transfer->retry, what, &transfer->repository.endpoint->host->back_off,
                         error_retriable(err->code), err);
}

static void run(struct work *work)
{
    struct transfer *transfer = (struct transfer *)((char *)work - offsetof(struct transfer, work));
    struct error err = ERROR_INIT;
    if (transfer->retry.until_ms > 0 && counts_down(transfer))
        return;
    if (try_once(transfer, &err) == ERR_OK && has_to_be_sent(transfer)) {
        if (goes_on_to_send(transfer))
            return;
        cancel_check(&transfer->cancel, &err);
    } else if (err.code != ERR_OK && tries_again(transfer, &err)) {
        pthread_mutex_lock(&transfer->table->lock);
        lead_no_more(transfer, false);
        pthread_mutex_unlock(&transfer->table->lock);
        if (counts_down(transfer) || wait_until(transfer, clock_ms()))
            return;
        cancel_check(&transfer->cancel, &err);
    }
    end(transfer, &err);
}

/* --- waiting for it --- */

static void take_session(struct transfer *transfer)
{
    struct upload_session *opened = transfer->layer.opened;
    transfer->layer.opened = NULL;
    if (opened == NULL)
        return;
    transfer->upload.session = *opened;
    *opened = (struct upload_session){0};
}

/* Wait for the one under way, or list this one: then it is returned. With the lock. */
static struct transfer *find_or_list(struct transfers *table, struct transfer *fresh)
{
    struct transfer **found = tsearch(fresh, &table->tree, compare);
    if (found == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*found == fresh)
        fresh->listed = true;
    table->under_way += fresh->listed;
    return *found;
}

void transfers_join(struct transfers *table, struct transfer_wait *wait, transfer_attempt *attempt)
{
    struct transfer *fresh = transfer_new(table, wait, attempt);
    struct work_queue *queue = queue_of(fresh);
    bool waits = !work_queue_has_place(queue);
    pthread_mutex_lock(&table->lock);
    struct transfer *transfer = find_or_list(table, fresh);
    wait->transfer = transfer;
    TAILQ_INSERT_TAIL(&transfer->waits, wait, link);
    if (transfer->last.status && !transfer->telling)
        tell_from(transfer, wait);
    pthread_mutex_unlock(&table->lock);
    if (transfer != fresh) {
        transfer_free(fresh);
        return;
    }
    take_session(transfer);
    if (waits)
        target_push_tell_layer(&transfer->push, transfer->layer.id, "Waiting");
    pthread_mutex_lock(&table->lock);
    bool follows = !cancel_requested(&transfer->cancel) && follow(transfer);
    if (!follows)
        work_submit(queue, &transfer->work);
    pthread_mutex_unlock(&table->lock);
}

/* With the lock, which is given up while something is told. */
static struct transfer *transfer_to_leave(struct transfers *table, const struct transfer_wait *wait)
{
    while (wait->transfer && wait->transfer->telling)
        pthread_cond_wait(&table->told, &table->lock);
    return wait->transfer;
}

static bool is_alone(const struct transfer_wait *wait)
{
    return TAILQ_FIRST(&wait->transfer->waits) == wait && TAILQ_NEXT(wait, link) == NULL;
}

void transfers_leave(struct transfers *table, struct transfer_wait *wait)
{
    pthread_mutex_lock(&table->lock);
    struct transfer *transfer = transfer_to_leave(table, wait);
    bool ends = transfer && is_alone(wait);
    bool leaves = transfer && !ends;
    if (ends) {
        unlist(transfer);
        lead_no_more(transfer, false);
        transfer->references++;
    } else if (leaves) {
        TAILQ_REMOVE(&transfer->waits, wait, link);
        wait->transfer = NULL;
    }
    pthread_mutex_unlock(&table->lock);
    if (ends) {
        cancel_request(&transfer->cancel);
        unref(transfer);
    } else if (leaves) {
        fail(&wait->error, ERR_CANCELLED, 0, "cancelled");
        wait->ended(wait);
    }
}
