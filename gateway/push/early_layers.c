#include "gateway/push/early_layers.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/known_locations.h"
#include "upstream/push/growing_blob.h"

#include <stdio.h>
#include <string.h>

/* ---- the repositories of the targets ---- */

static bool seen_before(const struct push *push, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (reference_same_name(&push->targets[i].reference, &push->targets[index].reference))
            return true;
    return false;
}

static void send_to_all(const struct early_layers *early, const struct descriptor *blob,
                        struct growing_blob *growing)
{
    const struct push *push = early->push;
    for (size_t i = 0; i < push->target_count; i++) {
        const struct reference *target = &push->targets[i].reference;
        if (seen_before(push, i))
            continue;
        if (growing)
            early_upload_growing(early->runtime->early, target, growing, push->via);
        else
            early_upload(early->runtime->early, target, blob, push->via);
    }
}

/* ---- one layer ---- */

static bool was_seen(const struct early_layers *early, const struct digest *diff_id)
{
    struct known_location_list known;
    struct error err = ERROR_INIT;
    return diff_id->algorithm != DIGEST_NONE &&
           (known_locations_get(early->runtime->store, diff_id, &known, &err) != ERR_OK ||
            known.count > 0);
}

/* One that came compressed is known by what it unpacks to, or by itself. */
static bool was_seen_as(const struct early_layers *early, const struct layer_result *layer)
{
    struct error err = ERROR_INIT;
    struct digest diff_id = layer->diff_id;
    bool found = false;
    return known_locations_layer(early->runtime->store, &layer->digest, &found, &diff_id, &err) !=
               ERR_OK ||
           was_seen(early, found ? &diff_id : &layer->diff_id);
}

static void begins(void *self, uint64_t raw_size, const struct digest *diff_id,
                   struct blob_writer *writer)
{
    struct early_layers *early = self;
    struct error err = ERROR_INIT;
    int fd = -1;
    early->begun = !was_seen(early, diff_id);
    if (!early->begun || raw_size < GROWING_LAYER_MIN_BYTES || raw_size == FILE_SIZE_UNKNOWN ||
        early->grown_count == GROWN_LAYERS_MAX)
        return;
    if (blob_writer_reader(writer, &fd, &err) != ERR_OK) {
        log_warn("a layer is not sent before it is whole: %s", err.text);
        return;
    }
    early->growing = growing_blob_new(fd);
    send_to_all(early, NULL, early->growing);
}

static void grew(void *self, uint64_t bytes)
{
    const struct early_layers *early = self;
    if (early->growing)
        growing_blob_grew(early->growing, bytes);
}

static void note_sent(struct early_layers *early, const struct descriptor *blob)
{
    struct digest_item *item = digest_map_add(&early->sent, &blob->digest);
    early->sent_count += item->number == 0;
    item->number = (size_t)blob->size;
}

static void keep_grown(struct early_layers *early)
{
    early->grown =
        mem_grow(early->grown, early->grown_count, &early->grown_capacity, sizeof *early->grown);
    early->grown[early->grown_count++].blob = mem_take(&early->growing);
}

/* It can be sent when the store has it. */
static bool bring_ahead(struct early_layers *early, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    if (batch_bring_ahead(early->batch, digest, &err) == ERR_OK)
        return true;
    log_warn("a layer is not sent before its image is in: %s", err.text);
    return false;
}

static bool may_go(const struct early_layers *early, const struct layer_result *layer)
{
    if (early->growing)
        return true;
    return layer->size >= EARLY_LAYER_MIN_BYTES && early->sent_count < EARLY_LAYERS_MAX &&
           !digest_map_find(&early->sent, &layer->digest) && !was_seen_as(early, layer);
}

static void ended(void *self, const struct layer_result *layer)
{
    struct early_layers *early = self;
    bool goes = early->begun && layer && may_go(early, layer) && bring_ahead(early, &layer->digest);
    early->begun = false;
    if (!goes) {
        early->broken += early->growing != NULL;
        if (early->growing)
            growing_blob_ended(early->growing, NULL);
        growing_blob_release(mem_take(&early->growing));
        return;
    }
    const struct descriptor blob = {.digest = layer->digest, .size = layer->size};
    note_sent(early, &blob);
    if (early->growing) {
        growing_blob_ended(early->growing, &blob);
        keep_grown(early);
    } else {
        send_to_all(early, &blob, NULL);
    }
}

/* ---- the archive ---- */

void early_layers_init(struct early_layers *early, struct runtime *runtime, struct batch *batch,
                       const struct push *push, bool unlisted)
{
    *early = (struct early_layers){.runtime = runtime, .batch = batch, .push = push};
    early->watch = (struct layer_watch){
        .unlisted = unlisted, .begins = begins, .grew = grew, .ended = ended, .self = early};
}

static void end_upload(struct early_layers *early, const struct push *push,
                       const struct digest *digest)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (!seen_before(push, i))
            early_uploads_end(early->runtime->early, &push->targets[i].reference, digest);
}

void early_layers_cancel(struct early_layers *early, struct error *err)
{
    size_t used = strlen(err->text);
    size_t left = early->sent_count + early->broken;
    for (const struct digest_item *item = early->sent.first; item; item = item->next)
        end_upload(early, early->push, &item->digest);
    if (left > 0)
        snprintf(err->text + used, sizeof err->text - used,
                 " (%zu of its layers may have left for the targets by then; no manifest has)",
                 left);
}

/* ---- what was not needed ---- */

static void note_used(struct early_layers *early, const struct descriptor *root, unsigned depth,
                      struct digest_map *used)
{
    struct manifest manifest;
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    if (depth > INDEX_DEPTH_MAX || digest_map_add(used, &root->digest)->number++ > 0 ||
        batch_read_all(early->batch, &root->digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                       &ignored) != ERR_OK ||
        manifest_parse_any(data, size, root->media_type[0] ? root->media_type : NULL, "manifest",
                           &manifest, &ignored) != ERR_OK)
        return;
    if (manifest.kind == MANIFEST_IMAGE)
        digest_map_add(used, &manifest.config.digest);
    for (size_t i = 0; i < manifest.layer_count; i++)
        if (!manifest.layers[i].foreign)
            digest_map_add(used, &manifest.layers[i].digest);
    for (size_t i = 0; i < manifest.child_count; i++)
        note_used(early, &manifest.children[i], depth + 1, used);
    manifest_deinit(&manifest);
}

void early_layers_note_unused(struct early_layers *early, struct push *push)
{
    struct digest_map used = {.first = NULL};
    if (early->sent_count == 0)
        return;
    note_used(early, &push->manifest, 0, &used);
    for (size_t i = 0; i < push->referrer_count; i++)
        note_used(early, &push->referrers[i].manifest, 0, &used);
    push->unused = xcalloc(early->sent_count, sizeof *push->unused);
    for (const struct digest_item *item = early->sent.first; item; item = item->next) {
        if (digest_map_find(&used, &item->digest))
            continue;
        push->unused[push->unused_count++] =
            (struct descriptor){.digest = item->digest, .size = item->number};
        end_upload(early, push, &item->digest);
    }
    digest_map_deinit(&used);
}

void early_layers_settle(struct early_layers *early, struct cancel *cancel)
{
    for (size_t i = 0; i < early->grown_count; i++)
        growing_blob_await(early->grown[i].blob, cancel);
}

void early_layers_deinit(struct early_layers *early)
{
    for (size_t i = 0; i < early->grown_count; i++)
        growing_blob_release(early->grown[i].blob);
    free(early->grown);
    digest_map_deinit(&early->sent);
}
