#include "upstream/push/early_upload.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/blob.h"
#include "upstream/client/registry_host.h"
#include "upstream/push/growing_blob.h"
#include "upstream/push/push_run.h"

#include <stddef.h>
#include <stdio.h>

struct early_uploads {
    struct upstream *upstream;
    struct cancel cancel;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    TAILQ_HEAD(early_list, early_blob) under_way;
    bool closed;
};

/* One blob on its way. */
struct early_blob {
    struct early_uploads *early;
    struct registry_host *host;
    struct push_target target;
    struct digest digest;
    struct growing_blob *growing; /* held; NULL: it was whole from the beginning */
    struct cancel cancel;         /* a child of all uploads' */

    /* under their lock */
    TAILQ_ENTRY(early_blob) link;
    unsigned references; /* its run's, and those of who cancels it; 0: it goes */
};

struct early_uploads *early_uploads_new(struct upstream *upstream)
{
    struct early_uploads *early = xcalloc(1, sizeof *early);
    early->upstream = upstream;
    cancel_init(&early->cancel);
    TAILQ_INIT(&early->under_way);
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
    while (!TAILQ_EMPTY(&early->under_way))
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

/* Among those under way; false when there are to be no more. */
static bool enter(struct early_blob *blob)
{
    struct early_uploads *early = blob->early;
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    bool open = !early->closed;
    if (open)
        TAILQ_INSERT_TAIL(&early->under_way, blob, link);
    return open;
}

static void clean(struct early_blob *blob)
{
    cancel_deinit(&blob->cancel);
    growing_blob_release(blob->growing);
    registry_host_release(blob->host);
}

static void release(struct early_blob *blob)
{
    struct early_uploads *early = blob->early;
    pthread_mutex_lock(&early->lock);
    bool last = --blob->references == 0;
    pthread_mutex_unlock(&early->lock);
    if (!last)
        return;
    clean(blob);
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    TAILQ_REMOVE(&early->under_way, blob, link);
    pthread_cond_signal(&early->ended);
    free(blob);
}

static void on_ended(void *self)
{
    struct early_blob *blob = self;
    const struct error *err = &blob->target.error;
    if (blob->target.state == PUSH_FAILED && err->code != ERR_CANCELLED) {
        char id[DIGEST_SHORT_MAX];
        /* The push of the manifest fails in the same way, and says so. */
        log_debug("%s/%s: blob %s is not sent before its manifest: %s", blob->host->name,
                  blob->target.reference.path,
                  blob->growing ? "that was being written" : digest_short(&blob->digest, id),
                  err->text);
        /* What else waits for a registry that cannot be reached would only wait in vain. */
        if (error_party(err->code) == PARTY_NETWORK)
            atomic_store(&blob->host->away_ms, clock_ms());
    }
    release(blob);
}

static void start(struct early_uploads *early, const struct reference *target,
                  const struct descriptor *blob, struct growing_blob *growing, const char *via)
{
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    struct upstream *upstream = early->upstream;
    if (registries_host(upstream->registries, target->host, &host, &err) != ERR_OK) {
        log_debug("%s: no blob is sent before its manifest: %s", target->host, err.text);
        return;
    }
    struct early_blob *made = xcalloc(1, sizeof *made);
    *made = (struct early_blob){.early = early,
                                .host = host,
                                .target = {.reference = *target},
                                .digest = blob->digest,
                                .growing = growing ? growing_blob_hold(growing) : NULL,
                                .references = 1};
    made->target.reference.tag[0] = '\0';
    made->target.reference.digest = (struct digest){.algorithm = DIGEST_NONE};
    cancel_init_child(&made->cancel, &early->cancel, "no push needs the blob any more");
    if (work_queue_waiting(host->early) >= EARLY_QUEUE_MAX || !enter(made)) {
        clean(made);
        free(made);
        return;
    }
    const struct push_options options = {.upstream = upstream,
                                         .cancel = &made->cancel,
                                         .remembers = true,
                                         .ended = on_ended,
                                         .self = made};
    struct push_job job = {
        .options = &options, .target = &made->target, .blob = *blob, .growing = growing};
    snprintf(job.via, sizeof job.via, "%s", via);
    push_run_start(&job);
}

void early_upload(struct early_uploads *early, const struct reference *target,
                  const struct descriptor *blob, const char *via)
{
    start(early, target, blob, NULL, via);
}

void early_upload_growing(struct early_uploads *early, const struct reference *target,
                          struct growing_blob *blob, const char *via)
{
    const struct descriptor unknown = {.size = 0};
    start(early, target, &unknown, blob, via);
}

/* --- what nobody needs any more --- */

static bool is_of(const struct early_blob *blob, const struct digest *digest)
{
    struct descriptor whole = {.size = 0};
    uint64_t bytes = 0;
    if (blob->growing == NULL)
        return digest_equal(&blob->digest, digest);
    return growing_blob_now(blob->growing, &bytes, &whole) == BLOB_IS_WHOLE &&
           digest_equal(&whole.digest, digest);
}

/* Held: release(). NULL: there is none that was not cancelled already. Any blob, without a digest.
 */
static struct early_blob *find(struct early_uploads *early, const struct reference *target,
                               const struct digest *digest)
{
    struct early_blob *blob;
    autolock pthread_mutex_t *held = lock_take(&early->lock);
    TAILQ_FOREACH(blob, &early->under_way, link)
    {
        if (blob->references > 0 && reference_same_name(&blob->target.reference, target) &&
            (digest == NULL || is_of(blob, digest)) && !cancel_requested(&blob->cancel))
            break;
    }
    if (blob)
        blob->references++;
    return blob;
}

void early_uploads_end(struct early_uploads *early, const struct reference *target,
                       const struct digest *digest)
{
    for (struct early_blob *blob; (blob = find(early, target, digest));) {
        cancel_request(&blob->cancel);
        release(blob);
    }
}

static bool has_any(struct early_uploads *early, const struct reference *target)
{
    struct early_blob *blob = find(early, target, NULL);
    if (blob)
        release(blob);
    return blob;
}

/* A member of an index may be a blob of any kind, and what cannot be read was not pushed either. */
static void end_below(struct early_uploads *early, const struct reference *target,
                      const struct descriptor *part, unsigned depth)
{
    struct error ignored = ERROR_INIT;
    struct manifest parsed;
    autofree char *data = NULL;
    size_t size = 0;
    const char *type = part->media_type[0] ? part->media_type : NULL;
    early_uploads_end(early, target, &part->digest);
    if (depth > INDEX_DEPTH_MAX || !has_any(early, target) ||
        blob_read_all(early->upstream->store, &part->digest, MANIFEST_LIMIT_BYTES, "manifest",
                      &data, &size, &ignored) != ERR_OK ||
        manifest_parse_any(data, size, type, "manifest", &parsed, &ignored) != ERR_OK)
        return;
    if (parsed.kind == MANIFEST_IMAGE)
        early_uploads_end(early, target, &parsed.config.digest);
    for (size_t i = 0; i < parsed.layer_count; i++)
        early_uploads_end(early, target, &parsed.layers[i].digest);
    for (size_t i = 0; i < parsed.child_count; i++)
        end_below(early, target, &parsed.children[i], depth + 1);
    manifest_deinit(&parsed);
}

void early_uploads_end_image(struct early_uploads *early, const struct reference *target,
                             const struct descriptor *manifest)
{
    end_below(early, target, manifest, 0);
}
