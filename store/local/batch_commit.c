#include "base/clock.h"
#include "base/mem.h"
#include "store/local/batch_local.h"
#include "store/local/blob_files.h"
#include "store/local/proofs.h"

#include <errno.h>
#include <fcntl.h>

/*
 * How a batch becomes visible without a lock that all batches share. Other batches may do the same
 * with the same blobs at any moment, so every step is right whoever is first:
 *
 * - A blob that is not there is brought in: by a durable batch with a rename over whatever appeared
 *   meanwhile, since its own file is on the disk; by a volatile batch only where nothing is. One
 *   whose record is durable and whose file is not good is brought in as by a durable batch.
 * - The record of a volatile blob is put only where there is none, so it never takes the durable
 *   state away from a record that another batch has put meanwhile.
 * - A blob that is there is kept and its last use renewed; the renewal is dropped when the record
 *   has changed meanwhile. A durable batch first waits for the disk to have the file.
 * - Every blob that it brings or keeps is held from before the look whether it is there until the
 *   batch ends (store/local/leases.h), so no collection takes it away; a mark on it goes in the
 *   batch's change.
 */

/* A blob that the batch depends on and the store has. */
struct kept {
    struct digest digest;
    struct blob_record record;
};

/* A blob of the batch that is to be brought in. */
struct placed {
    const struct batch_blob *blob;
    bool repairs; /* there is a record, but its file is not good */
    bool durable;
    bool ours; /* the file that is there was written by this batch */
};

struct plan {
    struct batch *batch;
    bool durable;
    struct placed *placed;
    size_t placed_count;
    struct kept *kept;
    size_t kept_count;
};

static void plan_deinit(struct plan *plan)
{
    free(plan->placed);
    free(plan->kept);
}

static void keep(struct plan *plan, const struct digest *digest, const struct blob_record *record)
{
    plan->kept[plan->kept_count++] = (struct kept){.digest = *digest, .record = *record};
}

static enum errc plan_blob(struct plan *plan, const struct batch_blob *blob, struct error *err)
{
    struct store *store = plan->batch->store;
    struct blob_record record;
    bool found = false;
    stage_hold(plan->batch, &blob->digest);
    if (blob_find(store, &blob->digest, &found, &record, err) != ERR_OK)
        return err->code;
    if (found && blob_file_is_there(store->blobs_fd, &blob->digest, record.size)) {
        keep(plan, &blob->digest, &record);
        return ERR_OK;
    }
    plan->placed[plan->placed_count++] =
        (struct placed){.blob = blob,
                        .repairs = found,
                        .durable = plan->durable || (found && record.state == BLOB_DURABLE)};
    return ERR_OK;
}

/* A blob that is not the batch's own: *there false when the store does not have it. */
static enum errc plan_dependency(struct plan *plan, const struct digest *digest, bool *there,
                                 struct error *err)
{
    struct blob_record record;
    *there = true;
    if (batch_find(plan->batch, digest) != NULL)
        return ERR_OK;
    stage_hold(plan->batch, digest);
    if (blob_find(plan->batch->store, digest, there, &record, err) != ERR_OK)
        return err->code;
    if (*there)
        keep(plan, digest, &record);
    return ERR_OK;
}

static enum errc plan_required(struct plan *plan, const struct digest *digest, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    bool there = false;
    if (plan_dependency(plan, digest, &there, err) != ERR_OK)
        return err->code;
    if (!there)
        return fail(err, ERR_BLOB_UNKNOWN, 0, "blob %s is not held", digest_text(digest, text));
    return ERR_OK;
}

/* Layers whose blob is nowhere are left out: a record of them would be of no use. */
static enum errc plan_layers(struct plan *plan, struct error *err)
{
    struct batch *batch = plan->batch;
    size_t left = 0;
    for (size_t i = 0; i < batch->layer_count; i++) {
        bool there = false;
        if (plan_dependency(plan, &batch->layers[i].form.digest, &there, err) != ERR_OK)
            return err->code;
        if (there)
            batch->layers[left++] = batch->layers[i];
    }
    batch->layer_count = left;
    return ERR_OK;
}

/* The manifests that are to be pushed. */
static enum errc plan_push(struct plan *plan, const struct push *push, struct error *err)
{
    if (plan_required(plan, &push->manifest.digest, err) != ERR_OK)
        return error_wrap(err, "the push");
    for (size_t i = 0; i < push->referrer_count; i++)
        if (plan_required(plan, &push->referrers[i].manifest.digest, err) != ERR_OK)
            return error_wrap(err, "the push");
    return ERR_OK;
}

static enum errc plan_front(struct plan *plan, struct error *err)
{
    struct batch *batch = plan->batch;
    for (size_t i = 0; i < batch->member_count; i++)
        if (plan_required(plan, &batch->members[i].digest, err) != ERR_OK)
            return error_wrap(err, "repository %s", batch->members[i].repository);
    for (size_t i = 0; i < batch->manifest_count; i++)
        if (plan_required(plan, &batch->manifests[i].manifest.digest, err) != ERR_OK)
            return error_wrap(err, "manifest in repository %s", batch->manifests[i].repository);
    return batch->push ? plan_push(plan, batch->push, err) : ERR_OK;
}

static size_t most_kept(const struct batch *batch)
{
    size_t most = batch->blob_count + batch->held_count + batch->layer_count +
                  batch->reference_count + batch->member_count + batch->manifest_count;
    return most + (batch->push ? 1 + batch->push->referrer_count : 0);
}

static enum errc plan_all(struct plan *plan, struct error *err)
{
    struct batch *batch = plan->batch;
    plan->placed = xcalloc(batch->blob_count, sizeof *plan->placed);
    plan->kept = xcalloc(most_kept(batch), sizeof *plan->kept);
    for (size_t i = 0; i < batch->blob_count; i++)
        if (plan_blob(plan, &batch->blobs[i], err) != ERR_OK)
            return err->code;
    for (size_t i = 0; i < batch->held_count; i++)
        if (plan_required(plan, &batch->held[i], err) != ERR_OK)
            return err->code;
    for (size_t i = 0; i < batch->reference_count; i++)
        if (plan_required(plan, &batch->references[i].manifest, err) != ERR_OK)
            return error_wrap(err, "reference to a manifest");
    if (plan_front(plan, err) != ERR_OK)
        return err->code;
    return plan_layers(plan, err);
}

static enum errc sync_placed(const struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < plan->placed_count; i++) {
        char name[STAGE_NAME_MAX];
        if (!plan->placed[i].durable)
            continue;
        autofd int fd =
            openat(plan->batch->stage->folder_fd,
                   stage_file_name(plan->placed[i].blob->number, name), O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fail(err, ERR_IO, errno, "open a blob of the batch");
        if (file_sync(fd, "a blob", err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc sync_kept(const struct plan *plan, struct blob_folders *folders, struct error *err)
{
    for (size_t i = 0; i < plan->kept_count; i++) {
        const struct kept *kept = &plan->kept[i];
        if (kept->record.state == BLOB_DURABLE)
            continue;
        if (blob_file_sync(plan->batch->store->blobs_fd, &kept->digest, err) != ERR_OK)
            return err->code;
        blob_folders_add(folders, &kept->digest);
    }
    return ERR_OK;
}

static enum errc place(const struct plan *plan, struct placed *placed, struct error *err)
{
    const struct batch *batch = plan->batch;
    const struct batch_blob *blob = placed->blob;
    int blobs_fd = batch->store->blobs_fd;
    char name[STAGE_NAME_MAX];
    stage_file_name(blob->number, name);
    placed->ours = true;
    if (placed->durable || placed->repairs)
        return blob_file_replace(batch->stage->folder_fd, name, blobs_fd, &blob->digest, err);
    return blob_file_add(batch->stage->folder_fd, name, blob->size, blobs_fd, &blob->digest,
                         &placed->ours, err);
}

static enum errc place_all(const struct plan *plan, struct blob_folders *folders, struct error *err)
{
    for (size_t i = 0; i < plan->placed_count; i++) {
        struct placed *placed = &plan->placed[i];
        if (!placed->durable)
            atomic_store(&plan->batch->store->unsynced, true);
        if (place(plan, placed, err) != ERR_OK)
            return err->code;
        if (placed->durable)
            blob_folders_add(folders, &placed->blob->digest);
    }
    return ERR_OK;
}

static enum errc move_files(const struct plan *plan, struct error *err)
{
    struct blob_folders folders = {0};
    for (size_t i = 0; i < plan->placed_count; i++)
        if (stage_write_out(plan->batch, plan->placed[i].blob->number, err) != ERR_OK)
            return err->code;
    if (sync_placed(plan, err) != ERR_OK ||
        (plan->durable && sync_kept(plan, &folders, err) != ERR_OK) ||
        place_all(plan, &folders, err) != ERR_OK)
        return err->code;
    return blob_folders_sync(&folders, plan->batch->store->blobs_fd,
                             &plan->batch->store->folders_kept, err);
}

static void record_placed(const struct plan *plan, uint64_t now_s, struct change *change)
{
    for (size_t i = 0; i < plan->placed_count; i++) {
        const struct placed *placed = &plan->placed[i];
        struct blob_record record = {.state = placed->durable ? BLOB_DURABLE : BLOB_VOLATILE,
                                     .size = placed->blob->size,
                                     .created_s = now_s,
                                     .last_use_s = now_s};
        struct record_key key = blob_key(&placed->blob->digest);
        struct record_value value = blob_value(&record);
        if (placed->durable || placed->repairs)
            change_put(change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
        else
            change_put_new(change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
        change_delete(change, KV_TOMBS, record_key_slice(&key));
    }
}

static void record_kept(const struct plan *plan, uint64_t now_s, struct change *change)
{
    for (size_t i = 0; i < plan->kept_count; i++) {
        struct blob_record record = plan->kept[i].record;
        struct record_key key = blob_key(&plan->kept[i].digest);
        struct record_value before = blob_value(&record);
        record.last_use_s = now_s;
        if (plan->durable)
            record.state = BLOB_DURABLE;
        struct record_value after = blob_value(&record);
        if (plan->durable)
            change_put(change, KV_BLOBS, record_key_slice(&key), record_value_slice(&after));
        else
            change_swap(change, KV_BLOBS, record_key_slice(&key), record_value_slice(&before),
                        record_value_slice(&after));
        change_delete(change, KV_TOMBS, record_key_slice(&key));
    }
}

static void record_layers(const struct batch *batch, struct change *change)
{
    for (size_t i = 0; i < batch->layer_count; i++) {
        const struct layer_form *form = &batch->layers[i].form;
        struct record_key key = layer_key(&batch->layers[i].diff_id, form->codec, form->effort);
        struct record_value value = layer_value(form);
        /* What is only believed does not take the place of what was seen. */
        if (form->raw_size == 0)
            change_put_new(change, KV_LAYERS, record_key_slice(&key), record_value_slice(&value));
        else
            change_put(change, KV_LAYERS, record_key_slice(&key), record_value_slice(&value));
    }
    for (size_t i = 0; i < batch->start_count; i++) {
        struct record_key key = start_key(&batch->starts[i].start);
        struct record_value value = start_value(&batch->starts[i].diff_id);
        change_put(change, KV_STARTS, record_key_slice(&key), record_value_slice(&value));
    }
}

static enum errc record_references(const struct batch *batch, uint64_t now_s, struct change *change,
                                   struct error *err)
{
    for (size_t i = 0; i < batch->reference_count; i++) {
        const struct batch_reference *named = &batch->references[i];
        uint64_t put_s = now_s;
        if (named->reference.digest.algorithm != DIGEST_NONE &&
            reference_make_room(batch->store, &named->reference, &put_s, change, err) != ERR_OK)
            return err->code;
        struct record_key key = reference_key(&named->reference);
        struct record_value value = reference_value(&named->manifest, put_s, named->media_type);
        change_put(change, KV_REFERENCES, record_key_slice(&key), record_value_slice(&value));
    }
    return ERR_OK;
}

static enum errc record_all(const struct plan *plan, struct error *err)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    autochange struct change change;
    change_init(&change);
    change.durable = plan->durable;
    record_placed(plan, now_s, &change);
    record_kept(plan, now_s, &change);
    record_layers(plan->batch, &change);
    if (record_references(plan->batch, now_s, &change, err) != ERR_OK)
        return err->code;
    batch_record_front(plan->batch, now_s, &change);
    if (change.first == NULL)
        return ERR_OK;
    if (writer_submit(plan->batch->store->writer, &change, err) != ERR_OK)
        return err->code;
    if (plan->batch->push)
        push_id_make(change.number, plan->batch->stage->push_suffix, plan->batch->push->id);
    return ERR_OK;
}

enum errc backend_commit(struct batch *batch, struct error *err)
{
    __attribute__((cleanup(plan_deinit))) struct plan plan = {
        .batch = batch, .durable = batch->durability == BATCH_DURABLE};
    if (plan_all(&plan, err) != ERR_OK || move_files(&plan, err) != ERR_OK)
        return store_tell(batch->store, err);
    /* Their bytes were hashed as they came. */
    for (size_t i = 0; i < plan.placed_count; i++)
        if (plan.placed[i].ours)
            proofs_note(batch->store->proofs, &plan.placed[i].blob->digest);
    return record_all(&plan, err);
}
