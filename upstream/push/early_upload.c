#include "upstream/push/early_upload.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/client/registry_host.h"
#include "upstream/push/push_run.h"

#include <stddef.h>
#include <stdio.h>

struct early_uploads {
    struct upstream *upstream;
    struct cancel cancel;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    size_t under_way;
    bool closed;
};

/* One blob on its way. */
struct early_blob {
    struct early_uploads *early;
    struct registry_host *host;
    struct push_target target;
    struct digest digest;
};

struct early_uploads *early_uploads_new(struct upstream *upstream)
{
    struct early_uploads *early = xcalloc(1, sizeof *early);
    early->upstream = upstream;
    cancel_init(&early->cancel);
    pthread_mutex_init(&early->lock, NULL);
    pthread_cond_init(&early->ended, NULL);
    return early;
}

void early_uploads_close(struct early_uploads *early)
{
    if (early == NULL)
        return;
    cancel_request(&early->cancel);
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    early->closed = true;
    while (early->under_way > 0)
        pthread_cond_wait(&early->ended, &early->lock);
}

void early_uploads_free(struct early_uploads *early)
{
    if (early == NULL)
        return;
    pthread_cond_destroy(&early->ended);
    pthread_mutex_destroy(&early->lock);
    cancel_deinit(&early->cancel);
    free(early);
}

static bool enter(struct early_uploads *early)
{
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    bool open = !early->closed;
    early->under_way += open;
    return open;
}

static void leave(struct early_uploads *early)
{
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    early->under_way--;
    pthread_cond_signal(&early->ended);
}

static void on_ended(void *self)
{
    struct early_blob *blob = self;
    const struct error *err = &blob->target.error;
    struct early_uploads *early = blob->early;
    if (blob->target.state == PUSH_FAILED && err->code != ERR_CANCELLED) {
        char id[DIGEST_SHORT_MAX];
        /* The push of the manifest fails in the same way, and says so. */
        log_debug("%s/%s: blob %s is not sent before its manifest: %s", blob->host->name,
                  blob->target.reference.path, digest_short(&blob->digest, id), err->text);
        /* What else waits for a registry that cannot be reached would only wait in vain. */
        if (error_party(err->code) == PARTY_NETWORK)
            atomic_store(&blob->host->away_ms, clock_ms());
    }
    registry_host_release(blob->host);
    free(blob);
    leave(early);
}

void early_upload(struct early_uploads *early, const struct reference *target,
                  const struct descriptor *blob, const char *via)
{
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    struct upstream *upstream = early->upstream;
    if (registries_host(upstream->registries, target->host, &host, &err) != ERR_OK) {
        log_debug("%s: no blob is sent before its manifest: %s", target->host, err.text);
        return;
    }
    if (work_queue_waiting(host->early) >= EARLY_QUEUE_MAX || !enter(early)) {
        registry_host_release(host);
        return;
    }
    struct early_blob *made = xcalloc(1, sizeof *made);
    *made = (struct early_blob){
        .early = early, .host = host, .target = {.reference = *target}, .digest = blob->digest};
    made->target.reference.tag[0] = '\0';
    made->target.reference.digest = (struct digest){.algorithm = DIGEST_NONE};
    const struct push_options options = {.upstream = upstream,
                                         .cancel = &early->cancel,
                                         .remembers = true,
                                         .ended = on_ended,
                                         .self = made};
    struct push_job job = {.options = &options, .target = &made->target, .blob = *blob};
    snprintf(job.via, sizeof job.via, "%s", via);
    push_run_start(&job);
}
