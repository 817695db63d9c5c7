#include "upstream/upload/upload_memory.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/client/registry_host.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NOTES_AT_ONCE 32
#define OLD_AT_ONCE 16

struct note {
    TAILQ_ENTRY(note) link;
    struct open_upload upload; /* without a location: it has ended */
    const struct upload_memo *owner;
    bool changed; /* since it was written */
    bool recorded;
    bool writing;
    bool left; /* by this process */
};

TAILQ_HEAD(note_list, note);

struct upload_memory {
    struct store *store;
    struct work_queue *queue;
    atomic_bool keeps;
    struct work write;
    struct work sweep;
    struct registries *registries; /* of the sweep */
    pthread_mutex_t lock;          /* guards what follows */
    struct note_list notes;
    bool writes; /* the work waits or runs */
    bool sweeps;
    bool closed;
};

static void on_write(struct work *work);
static void on_sweep(struct work *work);

struct upload_memory *upload_memory_new(struct store *store, struct work_queue *queue)
{
    struct upload_memory *memory = xcalloc(1, sizeof *memory);
    memory->store = store;
    memory->queue = queue;
    memory->write.run = on_write;
    memory->sweep.run = on_sweep;
    pthread_mutex_init(&memory->lock, NULL);
    TAILQ_INIT(&memory->notes);
    return memory;
}

void upload_memory_keep(struct upload_memory *memory)
{
    atomic_store(&memory->keeps, true);
}

bool upload_memory_keeps(const struct upload_memory *memory)
{
    return memory && atomic_load(&memory->keeps);
}

/* ---- writing; all with the lock, but where it is said ---- */

static struct note *find(struct upload_memory *memory, const struct open_upload *upload)
{
    struct note *note;
    TAILQ_FOREACH(note, &memory->notes, link)
    {
        if (open_upload_same(&note->upload, upload))
            return note;
    }
    return NULL;
}

/* The memo's, from now on. */
static struct note *own(const struct upload_memo *memo)
{
    struct note *note = find(memo->memory, &memo->upload);
    if (note == NULL) {
        note = xcalloc(1, sizeof *note);
        note->upload = memo->upload;
        TAILQ_INSERT_TAIL(&memo->memory->notes, note, link);
    }
    note->owner = memo;
    note->left = false;
    return note;
}

static struct note *owned(const struct upload_memo *memo)
{
    struct note *note = find(memo->memory, &memo->upload);
    return note && note->owner == memo ? note : NULL;
}

static void drop(struct upload_memory *memory, struct note *note)
{
    TAILQ_REMOVE(&memory->notes, note, link);
    open_upload_deinit(&note->upload);
    free(note);
}

static void schedule(struct upload_memory *memory)
{
    if (memory->writes || memory->closed)
        return;
    memory->writes = true;
    work_submit_at(memory->queue, &memory->write, clock_ms() + UPLOAD_NOTE_MS);
}

static size_t take_changed(struct upload_memory *memory, struct open_upload *out)
{
    struct note *note;
    size_t count = 0;
    TAILQ_FOREACH(note, &memory->notes, link)
    {
        if (!note->changed || count == NOTES_AT_ONCE)
            continue;
        note->changed = false;
        note->writing = true;
        open_upload_copy(&note->upload, &out[count++]);
    }
    return count;
}

static void settle(struct upload_memory *memory)
{
    struct note *next;
    for (struct note *note = TAILQ_FIRST(&memory->notes); note; note = next) {
        next = TAILQ_NEXT(note, link);
        if (note->writing)
            note->recorded = true;
        note->writing = false;
        if (!note->changed && (note->left || note->upload.location == NULL))
            drop(memory, note);
    }
}

/* Without the lock; by one thread at a time. False when nothing was to be written. What could not
 * be written costs bytes only. */
static bool write_some(struct upload_memory *memory)
{
    struct open_upload uploads[NOTES_AT_ONCE];
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&memory->lock);
    size_t count = take_changed(memory, uploads);
    pthread_mutex_unlock(&memory->lock);
    if (count > 0 && open_uploads_write(memory->store, uploads, count, &err) != ERR_OK)
        log_debug("where uploads are is not recorded: %s", err.text);
    pthread_mutex_lock(&memory->lock);
    settle(memory);
    pthread_mutex_unlock(&memory->lock);
    for (size_t i = 0; i < count; i++) {
        char id[DIGEST_SHORT_MAX];
        if (uploads[i].location)
            log_debug("upload of %s to %s recorded at %llu bytes",
                      digest_short(&uploads[i].digest, id), uploads[i].source,
                      (unsigned long long)uploads[i].offset);
        open_upload_deinit(&uploads[i]);
    }
    return count > 0;
}

static void on_write(struct work *work)
{
    struct upload_memory *memory =
        (struct upload_memory *)((char *)work - offsetof(struct upload_memory, write));
    struct note *note;
    write_some(memory);
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    memory->writes = false;
    TAILQ_FOREACH(note, &memory->notes, link)
    {
        if (note->changed)
            schedule(memory);
    }
}

void upload_memory_close(struct upload_memory *memory)
{
    if (memory == NULL)
        return;
    pthread_mutex_lock(&memory->lock);
    memory->closed = true;
    pthread_mutex_unlock(&memory->lock);
    work_cancel(memory->queue, &memory->write);
    work_cancel(memory->queue, &memory->sweep);
}

void upload_memory_free(struct upload_memory *memory)
{
    if (memory == NULL)
        return;
    while (write_some(memory))
        ;
    for (struct note *note; (note = TAILQ_FIRST(&memory->notes));)
        drop(memory, note);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

/* ---- one upload ---- */

void upload_memo_init(struct upload_memo *memo, struct upload_memory *memory,
                      const struct repository *repository, const struct location_key *key,
                      const struct descriptor *blob)
{
    struct known_location whose = {.digest = blob->digest};
    *memo = (struct upload_memo){.memory = NULL};
    if (memory == NULL || memory->store == NULL || blob->size < UPLOAD_NOTE_LEAST)
        return;
    snprintf(whose.source, sizeof whose.source, "%s/%s", repository->endpoint->host->name,
             repository->path);
    location_sign(&whose, key);
    memo->memory = memory;
    memo->upload.digest = blob->digest;
    memcpy(memo->upload.source, whose.source, sizeof whose.source);
    memcpy(memo->upload.hmac, whose.hmac, sizeof whose.hmac);
}

/* Under the rules for a Location that the endpoint has just sent. */
static enum errc open_again(const struct repository *repository, const struct open_upload *upload,
                            struct upload_session *session, struct error *err)
{
    struct endpoint *endpoint = repository->endpoint;
    struct url url = {0};
    if (strcmp(upload->endpoint, endpoint->base.text) != 0)
        return fail(err, ERR_ADDRESS_REFUSED, 0, "another endpoint opened it: %s",
                    upload->endpoint);
    if (url_follow(&endpoint->base, upload->location, endpoint_is_private(endpoint), &url, err) !=
        ERR_OK)
        return err->code;
    *session = (struct upload_session){
        .offset = upload->offset, .said = upload->offset, .chunk_least = upload->chunk_least};
    url_move(&url, &session->url);
    return ERR_OK;
}

static bool is_old(const struct open_upload *upload)
{
    return upload->at_s + UPLOAD_NOTE_AGE_S <= (uint64_t)clock_wall_s();
}

/* What this process has not written yet counts, and what it still uses is nobody else's. */
static bool look(struct upload_memo *memo, struct open_upload *out)
{
    struct upload_memory *memory = memo->memory;
    struct error err = ERROR_INIT;
    bool any = false;
    pthread_mutex_lock(&memory->lock);
    struct note *note = find(memory, &memo->upload);
    bool known = note != NULL;
    bool free_to_take = known && note->left && note->upload.location;
    if (free_to_take)
        open_upload_copy(&note->upload, out);
    pthread_mutex_unlock(&memory->lock);
    if (known)
        return free_to_take;
    if (open_uploads_get(memory->store, out, &any, &err) != ERR_OK)
        log_debug("%s: where an upload was is not known: %s", out->source, err.text);
    return any;
}

bool upload_memo_recall(struct upload_memo *memo, struct repository *repository,
                        struct upload_session *session)
{
    struct open_upload found = memo->upload;
    struct error err = ERROR_INIT;
    if (memo->memory == NULL || !look(memo, &found))
        return false;
    bool usable = !is_old(&found) && open_again(repository, &found, session, &err) == ERR_OK;
    if (err.code != ERR_OK)
        log_debug("%s: an upload does not go on where it was: %s", found.source, err.text);
    autolock pthread_mutex_t *held = lock_take(&memo->memory->lock);
    struct note *note = own(memo);
    open_upload_deinit(&note->upload);
    note->upload = found;
    note->recorded = true;
    return usable;
}

void upload_memo_note(struct upload_memo *memo, const struct repository *repository,
                      const struct upload_session *session)
{
    struct upload_memory *memory = memo->memory;
    if (memory == NULL || !upload_session_is_open(session) ||
        strlen(session->url.text) > OPEN_UPLOAD_URL_MAX)
        return;
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    struct note *note = own(memo);
    open_upload_deinit(&note->upload);
    note->upload.endpoint = xstrdup(repository->endpoint->base.text);
    note->upload.location = xstrdup(session->url.text);
    note->upload.at_s = (uint64_t)clock_wall_s();
    note->upload.offset = session->offset;
    note->upload.chunk_least = session->chunk_least;
    note->changed = true;
    schedule(memory);
}

void upload_memo_forget(struct upload_memo *memo)
{
    struct upload_memory *memory = memo->memory;
    if (memory == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    struct note *note = owned(memo);
    if (note == NULL)
        return;
    if (!note->recorded && !note->writing) {
        drop(memory, note);
        return;
    }
    open_upload_deinit(&note->upload);
    note->changed = true;
    schedule(memory);
}

void upload_memo_leave(struct upload_memo *memo)
{
    struct upload_memory *memory = memo->memory;
    if (memory == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    struct note *note = owned(memo);
    if (note && !note->changed && !note->writing)
        drop(memory, note);
    else if (note)
        note->left = true;
}

/* ---- what nobody goes on with ---- */

static bool is_under_way(struct upload_memory *memory, const struct open_upload *upload)
{
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    return memory->closed || find(memory, upload) != NULL;
}

/* At the endpoint that opened it, where there still is one. */
static void take_back_at(struct endpoint *endpoint, const char *path,
                         const struct registry_credentials *credentials,
                         const struct open_upload *upload)
{
    struct repository repository;
    struct upload_session session = {0};
    struct error err = ERROR_INIT;
    repository_init(&repository, endpoint, path, credentials);
    if (registry_host_allows(endpoint->host, endpoint) &&
        open_again(&repository, upload, &session, &err) == ERR_OK)
        upload_session_cancel(&repository, &session);
    repository_deinit(&repository);
}

static void take_back(struct upload_memory *memory, const struct open_upload *upload)
{
    struct registry_credentials credentials = {0};
    struct registry_host *host = NULL;
    struct reference source;
    struct error err = ERROR_INIT;
    if (reference_parse(upload->source, &source, &err) != ERR_OK ||
        registries_host(memory->registries, source.host, &host, &err) != ERR_OK)
        return;
    if (registries_credentials(memory->registries, source.host, source.path, NULL, &credentials,
                               &err) == ERR_OK)
        for (size_t i = 0; i < host->endpoint_count; i++)
            take_back_at(&host->endpoints[i], source.path, &credentials, upload);
    registry_credentials_clear(&credentials);
    registry_host_release(host);
}

static void on_sweep(struct work *work)
{
    struct upload_memory *memory =
        (struct upload_memory *)((char *)work - offsetof(struct upload_memory, sweep));
    struct open_upload old[OLD_AT_ONCE];
    struct error err = ERROR_INIT;
    uint64_t before_s = (uint64_t)clock_wall_s() - UPLOAD_NOTE_AGE_S;
    size_t count = 0;
    if (open_uploads_older(memory->store, before_s, old, OLD_AT_ONCE, &count, &err) != ERR_OK)
        log_debug("old uploads are not looked for: %s", err.text);
    for (size_t i = 0; i < count; i++) {
        if (!is_under_way(memory, &old[i])) {
            take_back(memory, &old[i]);
            free(old[i].location);
            old[i].location = NULL;
            open_uploads_write(memory->store, &old[i], 1, &err);
        }
        open_upload_deinit(&old[i]);
    }
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    memory->sweeps = false;
}

void upload_memory_expire(struct upload_memory *memory, struct registries *registries)
{
    if (memory->store == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    if (memory->sweeps || memory->closed)
        return;
    memory->sweeps = true;
    memory->registries = registries;
    work_submit(memory->queue, &memory->sweep);
}
