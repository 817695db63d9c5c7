#include "upstream/push/layer_push.h"

#include "base/log.h"
#include "store/layers.h"
#include "upstream/client/registry.h"
#include "upstream/push/blob_push.h"
#include "upstream/push/candidates.h"
#include "upstream/upload/registry_mount.h"

#include <stdio.h>
#include <string.h>

/* One layer on its way; what the steps share. */
struct way {
    struct target_push *push;
    const struct push_layer *layer;
    struct registry_client client;
    struct push_budget budget;
    struct known_location_list known; /* where the layer was seen */
    struct candidate_rules rules;
    struct digest_set asked;
    struct unfinished_upload *upload; /* its session: left open by a mount */
    bool there;                       /* the layer has arrived: no further step */
    struct layer_outcome *outcome;
};

/* --- what is remembered --- */

/* The layer's memory is a help, never a condition: what is wrong with it is only logged. */
static void recall(struct way *way)
{
    struct store *store = way->push->store;
    const struct push_layer *layer = way->layer;
    struct error err = ERROR_INIT;
    if (known_locations_get(store, &layer->layer, &way->known, &err) != ERR_OK) {
        log_warn("layer %s: where it was seen is not known: %s", layer->id, err.text);
        way->known.count = 0;
    }
}

static struct known_location in_target(const struct way *way)
{
    struct known_location here = {.digest = way->layer->blob->digest};
    snprintf(here.source, sizeof here.source, "%s/%s", way->rules.host, way->rules.path);
    location_sign(&here, way->rules.key);
    return here;
}

/* The layer is in the target repository as these credentials see it. */
static void remember(struct way *way)
{
    const struct known_location here = in_target(way);
    struct error err = ERROR_INIT;
    if (known_locations_add(way->push->store, &way->layer->layer, &here, &err) != ERR_OK)
        log_warn("layer %s: not recorded that it is in %s: %s", way->layer->id, here.source,
                 err.text);
}

static void forget(struct way *way, const struct known_location *wrong)
{
    struct error err = ERROR_INIT;
    if (known_locations_remove(way->push->store, wrong, &err) != ERR_OK)
        log_warn("layer %s: not forgotten that it was in %s: %s", way->layer->id, wrong->source,
                 err.text);
}

/* It turned out to be lost: what the registry says of it elsewhere is worth no mount either. */
static void forget_all(struct way *way)
{
    recall(way);
    for (size_t i = 0; i < way->known.count; i++)
        if (candidate_is_at_host(&way->rules, &way->known.items[i]))
            forget(way, &way->known.items[i]);
}

/* --- 3: how much may be asked --- */

static uint64_t raw_size(const struct way *way)
{
    const struct push_layer *layer = way->layer;
    if (digest_equal(&layer->layer, &layer->blob->digest))
        return layer->blob->size;
    uint64_t size = 0;
    struct error ignored = ERROR_INIT;
    bool known = layer_raw_size(way->push->store, &layer->layer, &size, &ignored) == ERR_OK;
    return known && size > 0 ? size : RAW_SIZE_UNKNOWN;
}

/* --- 4, 6, 7: is it there? --- */

/* `seen` is the location that made us ask, NULL when none did. */
static enum errc ask(struct way *way, const struct known_location *seen, struct error *err)
{
    const struct descriptor *blob = way->layer->blob;
    digest_set_add(&way->asked, &blob->digest);
    if (blob_check(way->push, &way->client, blob, &way->there, err) != ERR_OK)
        return err->code;
    bool of_target = seen && candidate_is_target(&way->rules, seen);
    if (!way->there) {
        target_push_learn_missing(way->push, &blob->digest);
        if (of_target)
            forget(way, seen);
        return ERR_OK;
    }
    if (!of_target || !location_matches(seen, way->rules.key))
        remember(way);
    way->outcome->end = LAYER_EXISTED;
    return ERR_OK;
}

static enum errc ask_for_known(struct way *way, bool other_repositories, size_t max,
                               struct error *err)
{
    struct candidates candidates;
    candidates_to_check(&way->rules, &way->known, other_repositories, max, &way->asked,
                        &candidates);
    for (size_t i = 0; i < candidates.count && !way->there; i++)
        if (ask(way, candidates.items[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static enum errc ask_where_it_was_pushed(struct way *way, struct error *err)
{
    return ask_for_known(way, false, 1, err);
}

static enum errc ask_with_what_is_left(struct way *way, struct error *err)
{
    if (way->budget.checks <= way->asked.count)
        return ERR_OK;
    return ask_for_known(way, way->budget.other_repositories, way->budget.checks - way->asked.count,
                         err);
}

static enum errc ask_for_what_would_be_sent(struct way *way, struct error *err)
{
    if (!way->budget.ask_before_sending || digest_set_has(&way->asked, &way->layer->blob->digest))
        return ERR_OK;
    return ask(way, NULL, err);
}

/* --- 5: is it somewhere else at this registry? --- */

static enum errc mounted(struct way *way, const char *from)
{
    way->there = true;
    target_push_learn(way->push, &way->layer->blob->digest);
    remember(way);
    way->outcome->end = LAYER_MOUNTED;
    snprintf(way->outcome->source, sizeof way->outcome->source, "%s", from);
    return ERR_OK;
}

/* Of two open sessions the younger is kept. */
static void keep_session(struct way *way, struct upload_session *opened)
{
    if (!upload_session_is_open(opened))
        return;
    upload_session_cancel(way->push->repository, &way->upload->session);
    way->upload->session = *opened;
}

static enum errc mount_from(struct way *way, const struct known_location *source, struct error *err)
{
    struct reference from;
    if (reference_parse(source->source, &from, err) != ERR_OK)
        return err->code;
    struct upload_session opened = {0};
    struct error why = ERROR_INIT;
    bool done = false;
    registry_mount(&way->client, &source->digest, from.path, &done, &opened, &why);
    if (done)
        return mounted(way, from.path);
    keep_session(way, &opened);
    if (cancel_check(&way->push->cancel, err) != ERR_OK)
        return err->code;
    log_debug("layer %s: not mounted from %s: %s", way->layer->id, source->source,
              why.code == ERR_OK ? "the registry wants an upload" : why.text);
    if (source->hmac[0] == '\0' || location_matches(source, way->rules.key))
        forget(way, source);
    return ERR_OK;
}

static enum errc mount_from_elsewhere(struct way *way, struct error *err)
{
    struct candidates sources;
    candidates_to_mount(&way->rules, &way->known, way->budget.mounts, &sources);
    for (size_t i = 0; i < sources.count && !way->there; i++)
        if (mount_from(way, sources.items[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* --- 8: then it is sent --- */

static enum errc send_it(struct way *way, struct error *err)
{
    const struct push_layer *layer = way->layer;
    if (blob_send(way->push, &way->client, way->upload, layer->blob, layer->id, err) != ERR_OK)
        return err->code;
    way->there = true;
    remember(way);
    way->outcome->end = LAYER_UPLOADED;
    way->outcome->sent_bytes = layer->blob->size;
    return ERR_OK;
}

/* --- the whole way --- */

/* Nothing of an upload that has begun is to be found elsewhere, nor of a blob that was lost. */
static bool is_to_be_sent(struct way *way)
{
    if (way->layer->send)
        forget_all(way);
    return way->upload->begun || way->layer->send || way->layer->part == LAYER_SEND;
}

static enum errc find_or_send(struct way *way, struct error *err)
{
    static enum errc (*const steps[])(struct way *, struct error *) = {
        ask_where_it_was_pushed,
        mount_from_elsewhere,
        ask_with_what_is_left,
        ask_for_what_would_be_sent,
    };
    const struct digest *digest = &way->layer->blob->digest;
    bool only_find = way->layer->part == LAYER_FIND;
    if (is_to_be_sent(way))
        return only_find ? ERR_OK : send_it(way, err);
    way->budget = push_budget(raw_size(way));
    recall(way);
    if (target_push_knows_missing(way->push, digest))
        digest_set_add(&way->asked, digest);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !way->there; i++)
        if (steps[i](way, err) != ERR_OK)
            return err->code;
    return way->there || only_find ? ERR_OK : send_it(way, err);
}

static struct way way_of(struct target_push *push, const struct push_layer *layer)
{
    return (struct way){
        .push = push,
        .layer = layer,
        .rules = {.host = push->repository->endpoint->host->name,
                  .path = push->repository->path,
                  .key = &push->key,
                  .only = &layer->blob->digest},
    };
}

bool layer_is_settled(struct target_push *push, const struct push_layer *layer,
                      struct layer_outcome *outcome)
{
    if (!layer->blob->foreign && !target_push_knows(push, &layer->blob->digest))
        return false;
    *outcome = (struct layer_outcome){.end = layer->blob->foreign ? LAYER_SKIPPED : LAYER_EXISTED};
    return true;
}

enum errc layer_attempt(struct target_push *push, const struct push_layer *layer,
                        struct unfinished_upload *upload, struct layer_outcome *outcome,
                        struct error *err)
{
    if (layer_is_settled(push, layer, outcome))
        return ERR_OK;
    struct way way = way_of(push, layer);
    way.upload = upload;
    way.outcome = outcome;
    registry_client_open(&way.client, push->repository, &push->cancel);
    enum errc code = find_or_send(&way, err);
    registry_client_close(&way.client);
    return code;
}

void layer_note(struct target_push *push, const struct push_layer *layer)
{
    struct way way = way_of(push, layer);
    const struct known_location here = in_target(&way);
    recall(&way);
    for (size_t i = 0; i < way.known.count; i++)
        if (location_equal(&way.known.items[i], &here))
            return;
    remember(&way);
}
