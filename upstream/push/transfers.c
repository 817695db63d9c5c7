#include "upstream/push/transfers.h"

#include "base/mem.h"
#include "upstream/push/push_retry.h"

#include <stdio.h>
#include <string.h>

#define WORDS_MAX 384

struct watcher {
    struct target_push *push;
    const struct push_layer *layer;
    struct watcher *next; /* came later */
    uint64_t seen;        /* number of the last event it told */
};

/* The latest event of a kind. */
struct told {
    uint64_t number; /* 0: none yet */
    char words[WORDS_MAX];
    uint64_t current;
    uint64_t total;
};

struct transfer {
    struct transfers *table;
    struct transfer *next;

    /* its own; constant while it runs */
    transfer_attempt *attempt;
    struct digest credentials_digest;
    struct registry_credentials credentials;
    char *path;
    char *target;
    struct descriptor blob;
    struct push_layer layer;
    struct repository repository;
    struct progress progress;
    struct cancel cancel;
    pthread_t thread;
    bool started;

    /* its thread's until `done` */
    struct target_push push;
    struct push_result result;
    struct unfinished_upload upload;

    /* under the table's lock */
    pthread_cond_t changed;
    struct watcher *watchers; /* oldest first */
    struct watcher *credited; /* who counts the work; NULL when nobody waited any more */
    uint64_t events;
    struct told status;
    struct told bytes;
    char last_words[WORDS_MAX];
    bool done;
    unsigned attempts;
    struct error error;
};

struct transfers {
    pthread_mutex_t lock;
    struct transfer *first;
};

struct transfers *transfers_new(void)
{
    struct transfers *transfers = xcalloc(1, sizeof *transfers);
    pthread_mutex_init(&transfers->lock, NULL);
    return transfers;
}

void transfers_free(struct transfers *transfers)
{
    if (transfers == NULL)
        return;
    pthread_mutex_destroy(&transfers->lock);
    free(transfers);
}

/* --- what a transfer tells --- */

static bool is_counted(const struct push_result *result)
{
    return result->layers.existed + result->layers.mounted + result->layers.uploaded > 0;
}

/* On the transfer's thread: kept for the watchers. What comes after the layer was counted are its
 * last words, which are not the same for all. */
static void keep_event(void *self, const struct progress_event *event)
{
    struct transfer *transfer = self;
    pthread_mutex_lock(&transfer->table->lock);
    if (event->kind == PROGRESS_STATUS && is_counted(&transfer->result)) {
        snprintf(transfer->last_words, sizeof transfer->last_words, "%s", event->status);
    } else {
        struct told *told = event->kind == PROGRESS_BYTES ? &transfer->bytes : &transfer->status;
        told->number = ++transfer->events;
        told->current = event->current;
        told->total = event->total;
        snprintf(told->words, sizeof told->words, "%s", event->status);
        pthread_cond_broadcast(&transfer->changed);
    }
    pthread_mutex_unlock(&transfer->table->lock);
}

static void tell(const struct watcher *watcher, const struct told *told, bool bytes)
{
    const char *id = watcher->layer->id;
    if (told->number <= watcher->seen || id[0] == '\0')
        return;
    if (bytes)
        push_tell_bytes(watcher->push, id, told->current, told->total);
    else
        push_tell_layer(watcher->push, id, told->words);
}

/* In the order they happened. */
static void tell_news(const struct watcher *watcher, const struct told *status,
                      const struct told *bytes)
{
    bool status_first = status->number < bytes->number;
    tell(watcher, status_first ? status : bytes, !status_first);
    tell(watcher, status_first ? bytes : status, status_first);
}

/* --- the work, on the transfer's thread --- */

static enum errc attempt_in_turn(void *self, struct error *err)
{
    struct transfer *transfer = self;
    struct gate *gate = &transfer->repository.endpoint->host->transfers;
    if (!gate_try(gate)) {
        push_tell_layer(&transfer->push, transfer->layer.id, "Waiting");
        if (gate_enter(gate, &transfer->push.stop, err) != ERR_OK)
            return err->code;
    }
    enum errc code = transfer->attempt(&transfer->push, &transfer->layer, &transfer->upload, err);
    if (code == ERR_OK)
        gate_succeeded(gate);
    gate_leave(gate);
    return code;
}

static void tell_retry(void *self, const char *words)
{
    struct transfer *transfer = self;
    push_tell_layer(&transfer->push, transfer->layer.id, words);
}

/* With the lock. */
static void unlist(struct transfer *transfer)
{
    struct transfer **at = &transfer->table->first;
    while (*at && *at != transfer)
        at = &(*at)->next;
    if (*at)
        *at = transfer->next;
}

static void end(struct transfer *transfer, const struct error *err)
{
    pthread_mutex_lock(&transfer->table->lock);
    unlist(transfer);
    transfer->attempts = transfer->result.attempts;
    transfer->error = *err;
    transfer->credited = transfer->watchers;
    transfer->done = true;
    pthread_cond_broadcast(&transfer->changed);
    pthread_mutex_unlock(&transfer->table->lock);
}

static void *run(void *arg)
{
    struct transfer *transfer = arg;
    struct error err = ERROR_INIT;
    const char *id = transfer->layer.id;
    autofree char *what = xasprintf("%s %s", transfer->target, id[0] ? id : "config");
    const struct push_work work = {
        .what = what,
        .attempt = attempt_in_turn,
        .tell = tell_retry,
        .self = transfer,
    };
    push_retry(&transfer->push, &work, &err);
    upload_give_up(&transfer->repository, &transfer->upload);
    end(transfer, &err);
    return NULL;
}

/* --- its life --- */

static struct transfer *transfer_new(struct transfers *table, const struct target_push *push,
                                     const struct push_layer *layer, transfer_attempt *attempt)
{
    const struct repository *repository = push->repository;
    struct transfer *transfer = xcalloc(1, sizeof *transfer);
    transfer->table = table;
    transfer->attempt = attempt;
    transfer->credentials_digest = registry_credentials_digest(repository->credentials);
    transfer->credentials = registry_credentials_copy(repository->credentials);
    transfer->path = xstrdup(repository->path);
    transfer->target = xstrdup(push->target);
    transfer->blob = *layer->blob;
    transfer->layer = *layer;
    transfer->layer.blob = &transfer->blob;
    transfer->progress = (struct progress){.emit = keep_event, .self = transfer};
    cancel_init(&transfer->cancel);
    clock_cond_init(&transfer->changed);
    repository_init(&transfer->repository, repository->endpoint, transfer->path,
                    &transfer->credentials);
    repository_learn(&transfer->repository, push->repository);
    push_init(&transfer->push, push->store, &transfer->repository, &transfer->progress,
              transfer->target, &transfer->cancel, &transfer->result);
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    push_deinit(&transfer->push);
    repository_deinit(&transfer->repository);
    pthread_cond_destroy(&transfer->changed);
    cancel_deinit(&transfer->cancel);
    registry_credentials_clear(&transfer->credentials);
    free(transfer->path);
    free(transfer->target);
    free(transfer);
}

static void start(struct transfer *transfer)
{
    struct error err = ERROR_INIT;
    int rc = pthread_create(&transfer->thread, NULL, run, transfer);
    transfer->started = rc == 0;
    if (rc != 0) {
        fail(&err, ERR_MEMORY, rc, "start a thread for a transfer");
        end(transfer, &err);
    }
}

/* Are these two one transfer? What the blob is to those who want it there does not matter. */
static bool is_same(const struct transfer *a, const struct transfer *b)
{
    return a->repository.endpoint == b->repository.endpoint && a->push.store == b->push.store &&
           digest_equal(&a->blob.digest, &b->blob.digest) &&
           digest_equal(&a->credentials_digest, &b->credentials_digest) &&
           strcmp(a->path, b->path) == 0;
}

static void add_watcher(struct transfer *transfer, struct watcher *watcher)
{
    struct watcher **at = &transfer->watchers;
    while (*at)
        at = &(*at)->next;
    *at = watcher;
}

/* Watch the one under way, or list this one: then it is returned. With the lock. */
static struct transfer *find_or_list(struct transfers *table, struct transfer *fresh)
{
    struct transfer *found = table->first;
    while (found && !is_same(found, fresh))
        found = found->next;
    if (found)
        return found;
    fresh->next = table->first;
    return table->first = fresh;
}

static struct transfer *join(struct transfers *table, struct watcher *watcher,
                             transfer_attempt *attempt)
{
    struct transfer *fresh = transfer_new(table, watcher->push, watcher->layer, attempt);
    pthread_mutex_lock(&table->lock);
    struct transfer *transfer = find_or_list(table, fresh);
    add_watcher(transfer, watcher);
    pthread_mutex_unlock(&table->lock);
    if (transfer == fresh)
        start(transfer);
    else
        transfer_free(fresh);
    return transfer;
}

/* The last one ends it and takes it apart. */
static void leave(struct transfers *table, struct transfer *transfer, struct watcher *watcher)
{
    pthread_mutex_lock(&table->lock);
    struct watcher **at = &transfer->watchers;
    while (*at != watcher)
        at = &(*at)->next;
    *at = watcher->next;
    bool last = transfer->watchers == NULL;
    if (last)
        unlist(transfer);
    pthread_mutex_unlock(&table->lock);
    if (!last)
        return;
    cancel_request(&transfer->cancel);
    if (transfer->started)
        pthread_join(transfer->thread, NULL);
    transfer_free(transfer);
}

/* --- watching --- */

static bool has_news(const struct transfer *transfer, const struct watcher *watcher)
{
    return transfer->done || transfer->events > watcher->seen;
}

/* Tell what happens until it has ended: then true, or until the watcher is stopped. */
static bool watch(struct transfers *table, struct transfer *transfer, struct watcher *watcher)
{
    const struct stop *stop = &watcher->push->stop;
    for (bool done = false; !done;) {
        pthread_mutex_lock(&table->lock);
        while (!has_news(transfer, watcher) && !stop_requested(stop))
            stop_wait_turn(&transfer->changed, &table->lock);
        done = transfer->done;
        uint64_t events = transfer->events;
        struct told status = transfer->status;
        struct told bytes = transfer->bytes;
        pthread_mutex_unlock(&table->lock);
        if (!done && stop_requested(stop))
            return false;
        tell_news(watcher, &status, &bytes);
        watcher->seen = events;
    }
    return true;
}

static void count_work(struct target_push *push, const struct push_result *done)
{
    const unsigned counts[] = {
        [LAYER_EXISTED] = done->layers.existed,
        [LAYER_MOUNTED] = done->layers.mounted,
        [LAYER_UPLOADED] = done->layers.uploaded,
    };
    for (unsigned end = 0; end < sizeof counts / sizeof counts[0]; end++)
        for (unsigned i = 0; i < counts[end]; i++)
            push_count_layer(push, (enum layer_end)end);
}

static void tell_end(const struct watcher *watcher, const char *words)
{
    if (watcher->layer->id[0] && words[0])
        push_tell_layer(watcher->push, watcher->layer->id, words);
}

/* The transfer is done: nothing in it changes any more. */
static enum errc take_end(struct transfer *transfer, struct watcher *watcher, struct error *err)
{
    struct target_push *push = watcher->push;
    push_count_attempts(push, transfer->attempts);
    repository_learn(push->repository, &transfer->repository);
    if (transfer->error.code != ERR_OK) {
        tell_end(watcher, "Image push failed");
        *err = transfer->error;
        return err->code;
    }
    push_learn(push, &transfer->blob.digest);
    bool credited = transfer->credited == watcher;
    if (credited)
        push_count_bytes(push, transfer->result.bytes_uploaded);
    if (watcher->layer->id[0] == '\0')
        return ERR_OK;
    if (credited && is_counted(&transfer->result)) {
        count_work(push, &transfer->result);
        tell_end(watcher, transfer->last_words);
    } else {
        push_count_layer(push, LAYER_EXISTED);
        tell_end(watcher, "Layer already exists");
    }
    return ERR_OK;
}

enum errc transfers_push(struct target_push *push, const struct push_layer *layer,
                         transfer_attempt *attempt, struct error *err)
{
    struct transfers *table = push->repository->endpoint->host->under_way;
    struct watcher watcher = {.push = push, .layer = layer};
    struct transfer *transfer = join(table, &watcher, attempt);
    enum errc code = watch(table, transfer, &watcher) ? take_end(transfer, &watcher, err)
                                                      : stop_check(&push->stop, err);
    leave(table, transfer, &watcher);
    return code;
}
