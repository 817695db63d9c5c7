#include "gateway/push/archive_push.h"

#include "base/mem.h"
#include "gateway/ingest/ingest.h"
#include "gateway/push/early_layers.h"
#include "image/digest_map.h"
#include "store/pushes.h"

#include <string.h>

enum errc push_order_add(struct push_order *order, const char *text, struct error *err)
{
    struct reference ref;
    char name[REFERENCE_NAME_MAX + 1];
    if (reference_parse(text, &ref, err) != ERR_OK)
        return error_wrap(err, "target");
    if (ref.digest.algorithm != DIGEST_NONE)
        return fail(err, ERR_DIGEST_REFERENCE, 0,
                    "cannot push a digest reference: name a tag of %s instead",
                    reference_name(&ref, name));
    return push_add_target(&order->push, &ref, false, false, err);
}

static const char *const compressions[] = {
    [SETTING_CODEC_KEEP] = "keep",
    [SETTING_CODEC_GZIP] = "gzip",
    [SETTING_CODEC_ZSTD] = "zstd",
    [SETTING_CODEC_NONE] = "none",
};

enum errc compression_parse(const char *text, enum setting_codec *out, struct error *err)
{
    for (unsigned i = 0; i < sizeof compressions / sizeof compressions[0]; i++)
        if (strcmp(compressions[i], text) == 0) {
            *out = (enum setting_codec)i;
            return ERR_OK;
        }
    return fail(err, ERR_BAD_REQUEST, 0, "compression is keep, gzip, zstd or none, not \"%.40s\"",
                text);
}

const char *compression_name(enum setting_codec compression)
{
    return compressions[compression];
}

void push_order_deinit(struct push_order *order)
{
    push_deinit(&order->push);
    for (size_t i = 0; i < order->more_count; i++)
        push_deinit(&order->more[i]);
    free(order->more);
    order->more = NULL;
    order->more_count = 0;
    free(order->image);
    order->image = NULL;
}

/* ---- targets ---- */

static enum errc add_tagged(struct push *push, const struct push_target *bare,
                            const char *const *tags, size_t tag_count, struct error *err)
{
    for (size_t i = 0; i < tag_count; i++) {
        struct reference reference = bare->reference;
        if (reference_set_tag(&reference, tags[i], err) != ERR_OK ||
            push_add_target(push, &reference, bare->optional, bare->stored, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc expand(const struct push *bare, const char *const *tags, size_t tag_count,
                        const char *advice, struct push *out, struct error *err)
{
    for (size_t i = 0; i < bare->target_count; i++) {
        const struct push_target *target = &bare->targets[i];
        char name[REFERENCE_NAME_MAX + 1];
        if (target->reference.tag[0] == '\0' && tag_count == 0)
            return fail(err, ERR_NO_TAG, 0, "no tags to push for %s: %s",
                        reference_name(&target->reference, name), advice);
        const char *own[] = {target->reference.tag};
        bool tagged = own[0][0] != '\0';
        if (add_tagged(out, target, tagged ? own : tags, tagged ? 1 : tag_count, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

enum errc push_expand_tags(struct push *push, const char *const *tags, size_t tag_count,
                           const char *advice, struct error *err)
{
    struct push expanded = {.target_count = 0};
    if (expand(push, tags, tag_count, advice, &expanded, err) != ERR_OK) {
        push_deinit(&expanded);
        return err->code;
    }
    free(push->targets);
    push->targets = expanded.targets;
    push->target_count = expanded.target_count;
    return ERR_OK;
}

static enum errc expand_by_names(struct push *push, const struct chosen_image *chosen,
                                 struct error *err)
{
    autofree const char **tags = xcalloc(chosen->name_count, sizeof(char *));
    autofree char *advice =
        chosen->odd_name
            ? xasprintf("the archive's name \"%.150s\" is no NAME:TAG, add a tag", chosen->odd_name)
            : xstrdup("the archive names none, add one");
    for (size_t i = 0; i < chosen->name_count; i++)
        tags[i] = chosen->names[i].reference.tag;
    return push_expand_tags(push, tags, chosen->name_count, advice, err);
}

/* ---- the image ---- */

static void put_names(struct batch *batch, const struct chosen_image *chosen)
{
    for (size_t i = 0; i < chosen->name_count; i++)
        if (chosen->names[i].reference.path[0])
            batch_put_reference(batch, &chosen->names[i].reference, &chosen->manifest.digest,
                                chosen->manifest.media_type);
}

typedef enum errc route_fn(const struct settings *settings, const struct route_judge *judge,
                           const struct chosen_image *chosen, struct batch *batch,
                           struct push *push, struct error *err);

static enum errc complete(struct runtime *runtime, const struct route_judge *judge,
                          struct chosen_image *chosen, struct batch *batch, route_fn *route,
                          struct push *push, struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(runtime);
    push->manifest = chosen->manifest;
    push->config = chosen->config;
    push->referrers = mem_take(&chosen->referrers);
    push->referrer_count = chosen->referrer_count;
    enum errc rc = push->target_count > 0 ? expand_by_names(push, chosen, err)
                                          : route(settings, judge, chosen, batch, push, err);
    if (rc == ERR_OK)
        put_names(batch, chosen);
    return rc;
}

/* Of no two images: which of them would have the tag is not for chance to say. */
static enum errc note_targets(const struct push *push, struct digest_map *seen, struct error *err)
{
    for (size_t i = 0; i < push->target_count; i++) {
        char text[REFERENCE_TEXT_MAX];
        reference_text(&push->targets[i].reference, text);
        const struct digest key = digest_of(DIGEST_SHA256, text, strlen(text));
        struct digest_item *item = digest_map_add(seen, &key);
        if (item->number++ > 0)
            return fail(err, ERR_AMBIGUOUS_IMAGE, 0,
                        "two images of the archive would go to %s: choose one with image=", text);
    }
    return ERR_OK;
}

/* One push for each. */
static enum errc complete_all(struct runtime *runtime, struct chosen_images *chosen,
                              struct batch *batch, struct push_order *order, struct error *err)
{
    struct digest_map seen = {.first = NULL};
    order->more_count = chosen->count - 1;
    order->more = xcalloc(order->more_count, sizeof *order->more);
    order->push.key.pushes = chosen->count;
    for (size_t i = 0; i < order->more_count; i++) {
        order->more[i].key = order->push.key;
        order->more[i].by = order->push.by;
    }
    for (size_t i = 0; i < chosen->count && err->code == ERR_OK; i++) {
        struct push *push = i == 0 ? &order->push : &order->more[i - 1];
        route_fn *route = i == 0 ? archive_route : archive_route_more;
        if (complete(runtime, &order->judge, &chosen->items[i], batch, route, push, err) == ERR_OK)
            note_targets(push, &seen, err);
    }
    digest_map_deinit(&seen);
    return err->code;
}

static void tell_brought(const struct push_order *order, const struct catalog *catalog)
{
    for (size_t i = 0; order->brought && i < catalog_count(catalog); i++) {
        const struct catalog_entry *entry = catalog_at(catalog, i);
        if (entry->target == NULL && entry->content.raw_size >= FILE_PASSED_MIN)
            order->brought(order->self, &entry->content.diff_id);
    }
}

static enum errc take_into(struct runtime *runtime, struct push_order *order, struct source source,
                           struct cancel *cancel, struct batch *batch,
                           const struct layer_watch *watch, struct error *err)
{
    struct ingest_options options = {.files = runtime_file_options(runtime, order->compression),
                                     .limit_bytes = RUNTIME_SETTING(runtime, limits.archive_bytes),
                                     .watch = watch};
    struct image_selector selector = {.image = order->image,
                                      .several =
                                          order->push.target_count == 0 && order->image == NULL,
                                      .platform = order->has_platform ? &order->platform : NULL,
                                      .codec = options.files.codec,
                                      .effort = options.files.effort,
                                      .codecs = runtime->codecs,
                                      .cancel = cancel};
    struct catalog *catalog = NULL;
    struct chosen_images chosen = {0};
    if (ingest_archive(&options, source, cancel, batch, &catalog, err) != ERR_OK)
        return err->code;
    tell_brought(order, catalog);
    if (order->held)
        held_layers_complete(order->held, &options.files, batch, catalog, err);
    enum errc rc = err->code;
    if (rc == ERR_OK)
        rc = image_choose(catalog, batch, &selector, &chosen, err);
    catalog_free(catalog);
    if (rc == ERR_OK)
        rc = complete_all(runtime, &chosen, batch, order, err);
    chosen_images_deinit(&chosen);
    return rc;
}

/* A source that counts. */
struct received {
    struct source source;
    uint64_t bytes;
};

static enum errc pull_received(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct received *received = self;
    if (source_pull(&received->source, data, size, err) != ERR_OK)
        return err->code;
    received->bytes += *size;
    return ERR_OK;
}

static enum errc skip_received(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    const struct received *received = self;
    return source_pass_over(&received->source, count, skipped, err);
}

static enum errc rewind_received(void *self, struct error *err)
{
    const struct received *received = self;
    return source_rewind(&received->source, err);
}

/* With compression "none" layers are stored as they unpack: limits.archive is their limit. */
static void limit_expansion(struct runtime *runtime, const struct push_order *order,
                            struct batch *batch, const struct received *received)
{
    const struct expansion expansion = {.free_bytes = ARCHIVE_EXPANSION_FREE_BYTES,
                                        .times = ARCHIVE_EXPANSION_TIMES,
                                        .received_bytes = &received->bytes};
    if (runtime_file_options(runtime, order->compression).codec != CODEC_NONE)
        batch_limit_expansion(batch, &expansion);
}

/* What was not answered as accepted is not to begin at the next start either. */
static void take_back(struct runtime *runtime, const struct push_order *order, size_t count)
{
    struct error ignored = ERROR_INIT;
    pushes_remove(runtime->store, order->push.id, &ignored);
    for (size_t i = 0; i < count; i++)
        pushes_remove(runtime->store, order->more[i].id, &ignored);
}

static enum errc accept_more(struct runtime *runtime, struct push_order *order, struct error *err)
{
    for (size_t i = 0; i < order->more_count; i++) {
        struct push *push = &order->more[i];
        pushes_accept(runtime->store, push);
        if (push_stored_targets(push) == 0 || pushes_put(runtime->store, push, true, err) == ERR_OK)
            continue;
        take_back(runtime, order, i);
        return err->code;
    }
    return ERR_OK;
}

/* The image that is chosen may be another one than the only one, and without targets nobody knows
 * yet where it goes. */
static bool may_leave_early(const struct push_order *order)
{
    return order->push.target_count > 0 && order->image == NULL && !order->has_platform;
}

/* The targets are those of the order until the image is chosen. `early`: what leaves meanwhile;
 * NULL: nothing. */
static enum errc take_in(struct runtime *runtime, struct push_order *order, struct source source,
                         struct cancel *cancel, struct early_layers *early, struct batch *batch,
                         struct error *err)
{
    const struct layer_watch *watch = early ? &early->watch : NULL;
    enum errc rc = take_into(runtime, order, source, cancel, batch, watch, err);
    if (rc == ERR_OK && early) {
        early_layers_note_unused(early, &order->push);
        early_layers_settle(early, cancel);
    }
    return rc;
}

static enum errc commit(struct runtime *runtime, struct push_order *order, struct batch *batch,
                        struct error *err)
{
    if (batch_commit(batch, err) != ERR_OK)
        return err->code;
    if (order->push.id[0] == '\0')
        pushes_accept(runtime->store, &order->push);
    return accept_more(runtime, order, err);
}

enum errc archive_take(struct runtime *runtime, struct push_order *order, struct source source,
                       struct cancel *cancel, struct error *err)
{
    struct received received = {.source = source};
    const struct source counted = {.pull = pull_received,
                                   .self = &received,
                                   .pass_over = source.pass_over ? skip_received : NULL,
                                   .rewind = source.rewind ? rewind_received : NULL};
    autobatch struct batch *batch = batch_begin(runtime->store, BATCH_VOLATILE);
    struct early_layers early;
    bool leaves = may_leave_early(order);
    limit_expansion(runtime, order, batch, &received);
    if (leaves)
        early_layers_init(&early, runtime, batch, &order->push, order->early);
    if (take_in(runtime, order, counted, cancel, leaves ? &early : NULL, batch, err) == ERR_OK)
        commit(runtime, order, mem_take(&batch), err);
    if (leaves && err->code != ERR_OK)
        early_layers_cancel(&early, err);
    if (leaves)
        early_layers_deinit(&early);
    return err->code;
}
