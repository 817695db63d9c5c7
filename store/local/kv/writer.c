#include "store/local/kv/writer.h"

#include "base/lock.h"
#include "base/mem.h"
#include "store/local/kv/kv_room.h"

struct writer {
    struct kv *kv;
    struct fault *fault;
    pthread_t thread;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t submitted;
    pthread_cond_t answered;
    struct change *first;
    struct change *last;
    size_t waiting;
    size_t saving; /* of them, changes that only save work */
    bool stopping;
    struct writer_counts counts;

    /* the thread's own */
    struct writer_counts pending;
};

static enum errc commit_changes(struct writer *writer, struct change *group, struct change *end,
                                struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_write(writer->kv, &txn, err) != ERR_OK)
        return err->code;
    uint64_t applied = 0;
    for (struct change *change = group; change != end; change = change->next) {
        if (change->result.code != ERR_OK)
            continue;
        if (change_apply(change, &txn, err) != ERR_OK)
            return err->code;
        applied++;
    }
    if (applied == 0)
        return ERR_OK;
    if (kv_commit(&txn, err) != ERR_OK)
        return err->code;
    writer->pending.changes += applied;
    writer->pending.commits++;
    return ERR_OK;
}

static void fail_group(struct change *group, const struct error *why)
{
    for (struct change *change = group; change != NULL; change = change->next)
        if (change->result.code == ERR_OK)
            change->result = *why;
}

/* New things, when there is little room for them. */
static bool is_refused(struct writer *writer, struct change *change)
{
    return change->grows && !change->essential &&
           kv_room_check_put(kv_room(writer->kv), &change->result) != ERR_OK;
}

/* Together they may have been too much for what is kept back. */
static void commit_one_by_one(struct writer *writer, struct change *group)
{
    for (struct change *change = group; change != NULL; change = change->next) {
        if (change->result.code != ERR_OK || is_refused(writer, change))
            continue;
        if (commit_changes(writer, change, change->next, &change->result) == ERR_SYNC)
            fail_group(change->next, &change->result);
    }
}

static void sync_group(struct writer *writer, struct change *group)
{
    bool wanted = false;
    for (const struct change *change = group; change != NULL; change = change->next)
        wanted = wanted || (change->durable && change->result.code == ERR_OK);
    if (!wanted)
        return;
    writer->pending.syncs++;
    struct error err = ERROR_INIT;
    if (kv_sync(writer->kv, &err) == ERR_OK)
        return;
    for (struct change *change = group; change != NULL; change = change->next)
        if (change->durable && change->result.code == ERR_OK)
            change->result = err;
}

/* A failure that a change does not bring about by itself is the store's. */
static void tell_faults(struct writer *writer, const struct change *group)
{
    for (const struct change *change = group; change != NULL; change = change->next)
        if (change->result.code != ERR_OK)
            fault_set(writer->fault, change->result.code == ERR_SYNC ? FAULT_STAYS : FAULT_PASSES,
                      &change->result);
}

static void refuse_what_cannot_be(struct writer *writer, struct change *group)
{
    struct error err = ERROR_INIT;
    if (fault_now(writer->fault, &err) == FAULT_STAYS)
        fail_group(group, &err);
    for (struct change *change = group; change != NULL; change = change->next)
        if (change->result.code == ERR_OK)
            is_refused(writer, change);
}

static void commit_group(struct writer *writer, struct change *group)
{
    struct error err = {0};
    refuse_what_cannot_be(writer, group);
    if (commit_changes(writer, group, NULL, &err) == ERR_SYNC)
        fail_group(group, &err);
    else if (err.code != ERR_OK)
        commit_one_by_one(writer, group);
    sync_group(writer, group);
    tell_faults(writer, group);
}

static struct change *take_group(struct writer *writer)
{
    while (writer->first == NULL && !writer->stopping)
        pthread_cond_wait(&writer->submitted, &writer->lock);
    struct change *group = writer->first;
    writer->first = NULL;
    writer->last = NULL;
    writer->waiting = writer->saving = 0;
    return group;
}

static void answer_group(struct writer *writer, struct change *group)
{
    /* A change is its submitter's again, and may be gone, once it is done and the lock is free. */
    for (struct change *change = group; change != NULL; change = change->next)
        change->done = true;
    writer->counts.changes = writer->pending.changes;
    writer->counts.commits = writer->pending.commits;
    writer->counts.syncs = writer->pending.syncs;
    pthread_cond_broadcast(&writer->answered);
}

static void *run(void *arg)
{
    struct writer *writer = arg;
    pthread_mutex_lock(&writer->lock);
    for (struct change *group; (group = take_group(writer)) != NULL;) {
        pthread_mutex_unlock(&writer->lock);
        commit_group(writer, group);
        pthread_mutex_lock(&writer->lock);
        answer_group(writer, group);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

static void writer_free(struct writer *writer)
{
    pthread_cond_destroy(&writer->answered);
    pthread_cond_destroy(&writer->submitted);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

enum errc writer_start(struct kv *kv, struct fault *fault, struct writer **out, struct error *err)
{
    struct writer *writer = xcalloc(1, sizeof *writer);
    writer->kv = kv;
    writer->fault = fault;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->submitted, NULL);
    pthread_cond_init(&writer->answered, NULL);
    int rc = pthread_create(&writer->thread, NULL, run, writer);
    if (rc != 0) {
        writer_free(writer);
        return fail(err, ERR_MEMORY, rc, "start the metadata writer");
    }
    *out = writer;
    return ERR_OK;
}

void writer_stop(struct writer *writer)
{
    if (writer == NULL)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->submitted);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    writer_free(writer);
}

static bool enqueue(struct writer *writer, struct change *change)
{
    if (change->saves_work ? writer->waiting >= WRITER_QUEUE_SAVING_MAX
                           : writer->waiting - writer->saving == WRITER_QUEUE_MAX)
        return false;
    if (writer->last != NULL)
        writer->last->next = change;
    else
        writer->first = change;
    writer->last = change;
    writer->waiting++;
    writer->saving += change->saves_work;
    writer->counts.accepted++;
    pthread_cond_signal(&writer->submitted);
    return true;
}

enum errc writer_submit(struct writer *writer, struct change *change, struct error *err)
{
    change->next = NULL;
    change->done = false;
    error_clear(&change->result);
    pthread_mutex_lock(&writer->lock);
    bool accepted = enqueue(writer, change);
    while (accepted && !change->done)
        pthread_cond_wait(&writer->answered, &writer->lock);
    pthread_mutex_unlock(&writer->lock);
    if (!accepted)
        return fail(err, ERR_BUSY, 0, "too many changes of the metadata wait to be written");
    if (change->result.code != ERR_OK)
        *err = change->result;
    return change->result.code;
}

struct writer_counts writer_counts(struct writer *writer)
{
    autolock pthread_mutex_t *held = lock_take(&writer->lock);
    struct writer_counts counts = writer->counts;
    counts.waiting = writer->waiting;
    return counts;
}
