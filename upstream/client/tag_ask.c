#include "upstream/client/tag_ask.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "upstream/client/registry.h"
#include "upstream/client/registry_host.h"
#include "upstream/client/registry_manifest.h"

#include <assert.h>
#include <search.h>
#include <stddef.h>
#include <string.h>

TAILQ_HEAD(tag_ask_list, tag_ask);

struct tag_request {
    struct work step;
    struct work clock;
    struct tag_asks *asks;
    struct registry_host *host; /* NULL: there is none, see `error` */
    struct work_queue *queue;   /* of the step */
    struct reference reference;
    struct cancel cancel;
    struct error error;
    struct digest digest; /* the answer, without an error */
    /* under the lock of all */
    struct tag_ask_list askers;
    bool shared; /* others may join it */
    bool overdue;
    unsigned parts; /* that use it: the step, the clock, who cancels it */
    char key[];
};

struct tag_asks {
    struct registries *registries;
    struct work_queue *ends;
    int64_t limit_ms;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    void *requests; /* tsearch tree */
    size_t under_way;
};

struct tag_asks *tag_asks_new(struct registries *registries, struct work_queue *ends,
                              int64_t limit_ms)
{
    struct tag_asks *asks = xcalloc(1, sizeof *asks);
    asks->registries = registries;
    asks->ends = ends;
    asks->limit_ms = limit_ms;
    pthread_mutex_init(&asks->lock, NULL);
    pthread_cond_init(&asks->ended, NULL);
    return asks;
}

void tag_asks_free(struct tag_asks *asks)
{
    if (asks == NULL)
        return;
    pthread_mutex_lock(&asks->lock);
    while (asks->under_way > 0)
        pthread_cond_wait(&asks->ended, &asks->lock);
    pthread_mutex_unlock(&asks->lock);
    assert(asks->requests == NULL);
    pthread_cond_destroy(&asks->ended);
    pthread_mutex_destroy(&asks->lock);
    free(asks);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct tag_request *)a)->key, ((const struct tag_request *)b)->key);
}

/* ---- the end ---- */

static void leave(struct tag_request *request, unsigned parts)
{
    struct tag_asks *asks = request->asks;
    pthread_mutex_lock(&asks->lock);
    request->parts -= parts;
    bool last = request->parts == 0;
    pthread_mutex_unlock(&asks->lock);
    if (!last)
        return;
    registry_host_release(request->host);
    cancel_deinit(&request->cancel);
    free(request);
    autolock pthread_mutex_t *held = lock_take(&asks->lock);
    if (--asks->under_way == 0)
        pthread_cond_broadcast(&asks->ended);
}

/* With the lock. */
static void share_no_more(struct tag_request *request)
{
    if (request->shared)
        tdelete(request, &request->asks->requests, compare);
    request->shared = false;
}

static void judge(const struct tag_request *request, struct tag_ask *ask)
{
    const struct digest *there = &request->digest;
    const struct digest *expected = &ask->expected;
    ask->error = request->error;
    ask->digest = *there;
    if (request->error.code != ERR_OK)
        ask->answer = TAG_UNKNOWN;
    else if (there->algorithm == DIGEST_NONE)
        ask->answer = TAG_ABSENT;
    else if (digest_equal(there, expected))
        ask->answer = TAG_SAME;
    else if (expected->algorithm == DIGEST_NONE || there->algorithm == expected->algorithm)
        ask->answer = TAG_OTHER;
    else
        fail(&ask->error, ERR_REGISTRY_ANSWER, 0,
             "%s: the registry names it by a digest of another algorithm", request->key);
}

static void tell(struct tag_request *request)
{
    struct tag_asks *asks = request->asks;
    struct tag_ask_list askers = TAILQ_HEAD_INITIALIZER(askers);
    struct tag_ask *ask, *next;
    pthread_mutex_lock(&asks->lock);
    share_no_more(request);
    TAILQ_CONCAT(&askers, &request->askers, link);
    TAILQ_FOREACH(ask, &askers, link)
    {
        ask->request = NULL;
    }
    pthread_mutex_unlock(&asks->lock);
    for (ask = TAILQ_FIRST(&askers); ask; ask = next) {
        next = TAILQ_NEXT(ask, link);
        judge(request, ask);
        ask->answered(ask);
    }
}

/* ---- the request ---- */

static void ask_endpoint(struct tag_request *request, struct endpoint *endpoint,
                         const struct registry_credentials *credentials)
{
    struct error *err = &request->error;
    const struct reference *reference = &request->reference;
    struct repository repository;
    struct registry_client client;
    char digest[DIGEST_TEXT_MAX];
    const char *name = reference->tag;
    if (name[0] == '\0')
        name = digest_text(&reference->digest, digest);
    error_clear(err);
    repository_init(&repository, endpoint, reference->path, credentials);
    registry_client_open(&client, &repository, &request->cancel);
    if (atomic_load(&endpoint->answered) || registry_ping(&client, err) == ERR_OK)
        registry_manifest_digest(&client, name, &request->digest, err);
    registry_client_close(&client);
    repository_deinit(&repository);
}

/* Each endpoint once, until one answers the question. */
static void ask_host(struct tag_request *request)
{
    const struct reference *reference = &request->reference;
    struct registry_credentials credentials = {0};
    struct endpoint *order[ENDPOINTS_MAX];
    struct error *err = &request->error;
    if (request->host == NULL ||
        registries_credentials(request->asks->registries, reference->host, reference->path, NULL,
                               &credentials, err) != ERR_OK)
        return;
    size_t count = registry_host_order(request->host, &credentials, order);
    fail(err, ERR_CONNECT, 0, "%s has no endpoint that may be used", request->key);
    for (size_t i = 0; i < count && err->code != ERR_OK; i++)
        if (!cancel_requested(&request->cancel) && registry_host_allows(request->host, order[i]))
            ask_endpoint(request, order[i], &credentials);
    registry_credentials_clear(&credentials);
}

static void explain(struct tag_request *request)
{
    struct error *err = &request->error;
    pthread_mutex_lock(&request->asks->lock);
    bool overdue = request->overdue;
    pthread_mutex_unlock(&request->asks->lock);
    if (overdue && err->code != ERR_OK)
        fail(err, ERR_TIMEOUT, 0, "%s: the registry has not said within %lld ms what it has",
             request->key, (long long)request->asks->limit_ms);
}

static void on_step(struct work *work)
{
    struct tag_request *request =
        (struct tag_request *)((char *)work - offsetof(struct tag_request, step));
    ask_host(request);
    explain(request);
    tell(request);
    leave(request, work_cancel(request->asks->ends, &request->clock) ? 2 : 1);
}

static void on_clock(struct work *work)
{
    struct tag_request *request =
        (struct tag_request *)((char *)work - offsetof(struct tag_request, clock));
    pthread_mutex_lock(&request->asks->lock);
    request->overdue = true;
    pthread_mutex_unlock(&request->asks->lock);
    if (!work_cancel(request->queue, &request->step)) {
        cancel_request(&request->cancel);
        leave(request, 1);
        return;
    }
    request->error.code = ERR_TIMEOUT;
    explain(request);
    tell(request);
    leave(request, 2);
}

/* ---- who asks ---- */

static struct tag_request *request_new(struct tag_asks *asks, const struct reference *reference)
{
    char text[REFERENCE_TEXT_MAX];
    size_t size = strlen(reference_text(reference, text)) + 1;
    struct tag_request *request = xcalloc(1, sizeof *request + size);
    memcpy(request->key, text, size);
    request->asks = asks;
    request->reference = *reference;
    request->step.run = on_step;
    request->clock.run = on_clock;
    request->parts = 2;
    TAILQ_INIT(&request->askers);
    cancel_init(&request->cancel);
    registries_host(asks->registries, reference->host, &request->host, &request->error);
    request->queue = request->host ? request->host->requests : asks->ends;
    return request;
}

/* With the lock. NULL: it is under way, and was joined. */
static struct tag_request *join(struct tag_request *made, struct tag_ask *ask)
{
    struct tag_request **held = tsearch(made, &made->asks->requests, compare);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    ask->request = *held;
    TAILQ_INSERT_TAIL(&ask->request->askers, ask, link);
    ask->request->shared = true;
    return ask->request == made ? made : NULL;
}

void tag_ask_start(struct tag_asks *asks, const struct reference *reference, struct tag_ask *ask)
{
    struct tag_request *made = request_new(asks, reference);
    pthread_mutex_lock(&asks->lock);
    bool first = join(made, ask) != NULL;
    asks->under_way++;
    if (first) {
        work_submit_at(asks->ends, &made->clock, clock_ms() + asks->limit_ms);
        work_submit(made->queue, &made->step);
    }
    pthread_mutex_unlock(&asks->lock);
    if (!first)
        leave(made, 2);
}

bool tag_ask_cancel(struct tag_asks *asks, struct tag_ask *ask)
{
    pthread_mutex_lock(&asks->lock);
    struct tag_request *request = ask->request;
    bool last = false;
    if (request) {
        TAILQ_REMOVE(&request->askers, ask, link);
        ask->request = NULL;
        last = TAILQ_EMPTY(&request->askers);
    }
    if (last) {
        share_no_more(request);
        request->parts++;
    }
    pthread_mutex_unlock(&asks->lock);
    if (last) {
        cancel_request(&request->cancel);
        leave(request, 1);
    }
    return request != NULL;
}
