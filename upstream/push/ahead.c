#include "upstream/push/ahead.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/associations.h"
#include "upstream/client/endpoints.h"
#include "upstream/client/registry.h"
#include "upstream/push/repository_memory.h"
#include "upstream/push/transfers.h"

#include <stdio.h>
#include <string.h>

/* A blob that waits. The path of the repository is at the end. */
struct errand {
    struct errand *next;
    struct digest digest;
    uint64_t size;
    char path[];
};

/* What waits for one registry host, and the threads that work on it. */
struct lane {
    struct ahead *ahead;
    struct lane *next;
    struct registry_host *host;
    struct errand *first; /* this and what follows under the lock */
    struct errand **last;
    size_t count;
    unsigned threads;
};

struct ahead {
    struct store *store;
    struct registries *registries;
    struct repository_memory *memory;
    struct cancel cancel;
    pthread_mutex_t lock; /* guards what follows, and the lanes */
    pthread_cond_t ended;
    struct lane *lanes;
    unsigned threads;
    bool closed;
};

struct ahead *ahead_new(struct store *store, struct registries *registries)
{
    struct ahead *ahead = xcalloc(1, sizeof *ahead);
    ahead->store = store;
    ahead->registries = registries;
    ahead->memory = repository_memory_new((int64_t)AHEAD_MEMORY_S * 1000);
    cancel_init(&ahead->cancel);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->ended, NULL);
    return ahead;
}

/* --- what waits: with the lock --- */

static struct lane *lane_of(struct ahead *ahead, struct registry_host *host)
{
    struct lane *lane = ahead->lanes;
    while (lane && lane->host != host)
        lane = lane->next;
    if (lane)
        return lane;
    lane = xcalloc(1, sizeof *lane);
    lane->ahead = ahead;
    lane->host = host;
    lane->last = &lane->first;
    lane->next = ahead->lanes;
    return ahead->lanes = lane;
}

static void append(struct lane *lane, struct errand *errand)
{
    *lane->last = errand;
    lane->last = &errand->next;
    lane->count++;
}

static struct errand *take(struct lane *lane)
{
    struct errand *errand = lane->first;
    if (errand == NULL)
        return NULL;
    lane->first = errand->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    lane->count--;
    return errand;
}

static void drop_all(struct lane *lane)
{
    for (struct errand *errand; (errand = take(lane));)
        free(errand);
}

/* --- one blob, on a thread of its lane --- */

struct bringing {
    struct ahead *ahead;
    struct known_blobs *known;
    struct registry_credentials credentials;
    const char *target;
    const char *path;
    struct descriptor blob;
    struct push_layer layer;
};

/* Once: it is not worth waiting for a registry that may never have been one. */
static enum errc greet(struct target_push *push, struct error *err)
{
    if (atomic_load(&push->repository->endpoint->answered))
        return ERR_OK;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->stop);
    return registry_ping(&client, err);
}

static enum errc bring_to_endpoint(void *self, struct endpoint *endpoint, bool last,
                                   struct error *err)
{
    (void)last;
    const struct bringing *bringing = self;
    struct push_result result = {0};
    struct repository repository;
    struct target_push push;
    repository_init(&repository, endpoint, bringing->path, &bringing->credentials);
    push_init(&push, bringing->ahead->store, &repository, NULL, bringing->target,
              &bringing->ahead->cancel, &result);
    push_share(&push, bringing->known);
    enum errc code = ERR_OK;
    if (!push_knows(&push, &bringing->blob.digest)) {
        code = greet(&push, err);
        if (code == ERR_OK)
            code = transfers_push(&push, &bringing->layer, layer_attempt, err);
    }
    push_deinit(&push);
    repository_deinit(&repository);
    return code;
}

/* By its diffID it can be mounted from where an image with it was pushed to. */
static void name_layer(const struct ahead *ahead, struct bringing *bringing)
{
    struct push_layer *layer = &bringing->layer;
    struct error err = ERROR_INIT;
    bool found = false;
    layer->blob = &bringing->blob;
    if (associations_layer(ahead->store, &bringing->blob.digest, &found, &layer->layer, &err) !=
        ERR_OK)
        log_warn("%s: which layer a blob is, is not known: %s", bringing->target, err.text);
    if (!found)
        layer->layer = bringing->blob.digest;
    digest_short(&layer->layer, layer->id);
}

static enum errc bring(const struct lane *lane, const struct errand *errand, const char *target,
                       struct error *err)
{
    struct ahead *ahead = lane->ahead;
    struct reference repository = {.tag = ""};
    struct bringing bringing = {
        .ahead = ahead,
        .target = target,
        .path = errand->path,
        .blob = {.digest = errand->digest, .size = errand->size},
    };
    if (registries_credentials(ahead->registries, lane->host->name, errand->path,
                               &bringing.credentials, err) != ERR_OK)
        return err->code;
    snprintf(repository.host, sizeof repository.host, "%s", lane->host->name);
    snprintf(repository.path, sizeof repository.path, "%s", errand->path);
    bringing.known = repository_memory_hold(ahead->memory, &repository, clock_ms());
    name_layer(ahead, &bringing);
    enum errc code = endpoints_try(lane->host, bring_to_endpoint, &bringing, err);
    repository_memory_release(ahead->memory, bringing.known);
    registry_credentials_clear(&bringing.credentials);
    return code;
}

/* Where a registry cannot be reached, what else waits for it would only keep threads busy. */
static void give_up(struct lane *lane)
{
    pthread_mutex_lock(&lane->ahead->lock);
    drop_all(lane);
    pthread_mutex_unlock(&lane->ahead->lock);
}

static void do_errand(struct lane *lane, const struct errand *errand)
{
    struct error err = ERROR_INIT;
    autofree char *target = xasprintf("%s/%s", lane->host->name, errand->path);
    char id[DIGEST_SHORT_MAX];
    if (bring(lane, errand, target, &err) == ERR_OK || err.code == ERR_CANCELLED)
        return;
    log_info("%s: blob %s is not sent ahead of its manifest: %s", target,
             digest_short(&errand->digest, id), err.text);
    if (is_transport_error(err.code))
        give_up(lane);
}

static void *work(void *arg)
{
    struct lane *lane = arg;
    struct ahead *ahead = lane->ahead;
    pthread_mutex_lock(&ahead->lock);
    for (struct errand *errand; (errand = take(lane));) {
        pthread_mutex_unlock(&ahead->lock);
        do_errand(lane, errand);
        free(errand);
        pthread_mutex_lock(&ahead->lock);
    }
    lane->threads--;
    ahead->threads--;
    pthread_cond_broadcast(&ahead->ended);
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

/* --- threads --- */

/* The thread was counted; there is none. The others do its work; where there are none, nobody. */
static void no_thread(struct lane *lane)
{
    struct ahead *ahead = lane->ahead;
    log_warn("%s: no thread to send blobs ahead", lane->host->name);
    pthread_mutex_lock(&ahead->lock);
    ahead->threads--;
    if (--lane->threads == 0)
        drop_all(lane);
    pthread_cond_broadcast(&ahead->ended);
    pthread_mutex_unlock(&ahead->lock);
}

static struct errand *errand_new(const char *path, const struct descriptor *blob)
{
    size_t size = strlen(path) + 1;
    struct errand *errand = xcalloc(1, sizeof *errand + size);
    errand->digest = blob->digest;
    errand->size = blob->size;
    memcpy(errand->path, path, size);
    return errand;
}

void ahead_send(struct ahead *ahead, const struct reference *target, const struct descriptor *blob)
{
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    if (registries_host(ahead->registries, target->host, &host, &err) != ERR_OK) {
        log_info("%s: no blob is sent ahead: %s", target->host, err.text);
        return;
    }
    struct errand *errand = errand_new(target->path, blob);
    bool starts = false;
    pthread_mutex_lock(&ahead->lock);
    struct lane *lane = lane_of(ahead, host);
    if (!ahead->closed && lane->count < AHEAD_QUEUE_MAX) {
        append(lane, errand);
        errand = NULL;
        starts = lane->threads < host->transfer_limit;
        lane->threads += starts;
        ahead->threads += starts;
    }
    pthread_mutex_unlock(&ahead->lock);
    free(errand);
    if (starts && thread_detached(work, lane) != 0)
        no_thread(lane);
}

void ahead_close(struct ahead *ahead)
{
    cancel_request(&ahead->cancel);
    pthread_mutex_lock(&ahead->lock);
    ahead->closed = true;
    for (struct lane *lane = ahead->lanes; lane; lane = lane->next)
        drop_all(lane);
    while (ahead->threads > 0)
        pthread_cond_wait(&ahead->ended, &ahead->lock);
    pthread_mutex_unlock(&ahead->lock);
}

void ahead_free(struct ahead *ahead)
{
    if (ahead == NULL)
        return;
    for (struct lane *lane = ahead->lanes, *next; lane; lane = next) {
        next = lane->next;
        free(lane);
    }
    repository_memory_free(ahead->memory);
    pthread_cond_destroy(&ahead->ended);
    pthread_mutex_destroy(&ahead->lock);
    cancel_deinit(&ahead->cancel);
    free(ahead);
}

/* --- what is known --- */

struct known_blobs *ahead_known(struct ahead *ahead, const struct reference *target)
{
    return repository_memory_hold(ahead->memory, target, clock_ms());
}

void ahead_release(struct ahead *ahead, struct known_blobs *known)
{
    repository_memory_release(ahead->memory, known);
}

void ahead_forget(struct ahead *ahead, const struct reference *target)
{
    repository_memory_forget(ahead->memory, target);
}
