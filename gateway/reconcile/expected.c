#include "gateway/reconcile/expected.h"

#include "base/mem.h"
#include "base/pattern.h"
#include "gateway/push/mirrors.h"
#include "image/referrer_list.h"

#include <stdio.h>
#include <string.h>

#define NAMES_AT_ONCE 100
#define PUSHES_AT_ONCE 16

struct expected {
    struct push_queue *queue;
    struct store *store;
    const struct settings *settings;
    const char *target;
    const char *match;
    struct intents intents;
    char as_of[PUSH_ID_MAX];
    /* the front */
    struct name_list repositories;
    size_t repository; /* the next of them */
    bool begun;
    char *name;                   /* owned: the repository at hand; NULL: none */
    struct reference destination; /* its, without a tag */
    struct name_list tags;
    size_t tag;
    char *last_tag; /* owned: of the page before */
    /* the history */
    bool in_history;
    char before[PUSH_ID_MAX];
    struct push pushes[PUSHES_AT_ONCE];
    size_t push_count; /* that are read */
    size_t push;       /* the one at hand */
    size_t push_target;
    bool no_more_pushes;
};

struct expected *expected_new(struct store *store, struct push_queue *queue,
                              const struct settings *settings, const char *target,
                              const char *match)
{
    struct expected *expected = xcalloc(1, sizeof *expected);
    expected->store = store;
    expected->queue = queue;
    expected->settings = settings;
    expected->target = target;
    expected->match = match;
    expected->intents.target = target;
    return expected;
}

static void drop_pushes(struct expected *expected)
{
    for (size_t i = 0; i < expected->push_count; i++)
        push_deinit(&expected->pushes[i]);
    expected->push_count = expected->push = expected->push_target = 0;
}

void expected_free(struct expected *expected)
{
    if (expected == NULL)
        return;
    drop_pushes(expected);
    intents_deinit(&expected->intents);
    name_list_deinit(&expected->repositories);
    name_list_deinit(&expected->tags);
    free(expected->name);
    free(expected->last_tag);
    free(expected);
}

const char *expected_as_of(const struct expected *expected)
{
    return expected->as_of;
}

/* Those that clients waited for get their records a moment after their end. Before the records are
 * read: they are in one place or the other. */
static void learn_unrecorded(struct expected *expected)
{
    struct push *pushes = NULL;
    size_t count = push_queue_unrecorded(expected->queue, &pushes);
    for (size_t i = 0; i < count; i++) {
        intents_learn(&expected->intents, &pushes[i]);
        push_deinit(&pushes[i]);
    }
    free(pushes);
}

/* Before anything is read that is compared with it. */
static enum errc refresh(struct expected *expected, struct error *err)
{
    struct push now = {.id = ""};
    pushes_accept(expected->store, &now);
    memcpy(expected->as_of, now.id, sizeof expected->as_of);
    learn_unrecorded(expected);
    return intents_refresh(&expected->intents, expected->store, err);
}

static bool is_open(const struct intent *intent)
{
    return !push_state_is_final(intent->state);
}

/* ---- the front ---- */

/* False: none of it goes to the target. */
static bool leads_there(struct expected *expected, const char *repository)
{
    struct error ignored = ERROR_INIT;
    struct mirror_route route;
    if ((expected->match && !pattern_matches(expected->match, repository)) ||
        mirrors_route(expected->settings, repository, &route, &ignored) != ERR_OK)
        return false;
    for (size_t i = 0; i < route.count; i++) {
        if (strcmp(route.targets[i].name, expected->target) != 0)
            continue;
        expected->destination = route.targets[i].repository;
        return true;
    }
    return false;
}

static void leave_repository(struct expected *expected)
{
    free(expected->name);
    free(expected->last_tag);
    expected->name = expected->last_tag = NULL;
    name_list_deinit(&expected->tags);
    expected->tag = 0;
}

/* Names after the last of the page at hand. */
static enum errc read_repositories(struct expected *expected, struct error *err)
{
    struct name_list *list = &expected->repositories;
    autofree char *after = list->count > 0 ? xstrdup(list->names[list->count - 1]) : NULL;
    name_list_deinit(list);
    expected->repository = 0;
    expected->begun = true;
    return repositories_list(expected->store, after, NAMES_AT_ONCE, list, err);
}

/* *found false: there are no others. */
static enum errc next_repository(struct expected *expected, bool *found, struct error *err)
{
    struct name_list *list = &expected->repositories;
    for (*found = false; !*found;) {
        if (expected->repository == list->count && expected->begun && !list->more)
            return ERR_OK;
        if (expected->repository == list->count && read_repositories(expected, err) != ERR_OK)
            return err->code;
        if (expected->repository == list->count)
            continue;
        const char *name = list->names[expected->repository++];
        if (!leads_there(expected, name))
            continue;
        expected->name = xstrdup(name);
        expected->tags = (struct name_list){.more = true};
        *found = true;
    }
    return ERR_OK;
}

static enum errc read_tags(struct expected *expected, struct error *err)
{
    struct name_list *list = &expected->tags;
    if (list->count > 0) {
        free(expected->last_tag);
        expected->last_tag = xstrdup(list->names[list->count - 1]);
    }
    name_list_deinit(list);
    expected->tag = 0;
    if (refresh(expected, err) != ERR_OK)
        return err->code;
    return repository_tags(expected->store, expected->name, expected->last_tag, NAMES_AT_ONCE, list,
                           err);
}

/* What the history says of a tag of the front. False: another push was accepted later than what the
 * front has, so that counts. */
static bool compare(struct expected *expected, const struct repository_manifest *manifest,
                    struct expected_tag *out)
{
    struct intent *intent = intents_take(&expected->intents, &out->reference);
    if (intent->id[0] == '\0') {
        intent->visited = true; /* what the sweep pushes itself is not looked at once more */
        return true;
    }
    bool same = digest_equal(&intent->manifest, &manifest->digest);
    if (!same && intent->state == PUSH_PUSHED && push_id_number(intent->id) > manifest->put_number)
        return false;
    intent->visited = true;
    out->pending = is_open(intent);
    out->pushed = same && intent->state == PUSH_PUSHED;
    return true;
}

static enum errc take_tag(struct expected *expected, const char *tag, struct expected_tag *out,
                          bool *taken, struct error *err)
{
    struct repository_manifest manifest;
    bool found = false;
    *taken = false;
    if (referrer_list_tag_fits(tag))
        return ERR_OK;
    if (repository_tag(expected->store, expected->name, tag, &found, &manifest, err) != ERR_OK ||
        !found)
        return err->code;
    *out = (struct expected_tag){.reference = expected->destination, .digest = manifest.digest};
    snprintf(out->reference.tag, sizeof out->reference.tag, "%s", tag);
    snprintf(out->repository, sizeof out->repository, "%s", expected->name);
    *taken = compare(expected, &manifest, out);
    return ERR_OK;
}

static enum errc next_of_front(struct expected *expected, struct expected_tag *out, bool *more,
                               struct error *err)
{
    for (*more = false; !*more;) {
        bool found = true;
        if (expected->name == NULL && next_repository(expected, &found, err) != ERR_OK)
            return err->code;
        if (!found)
            return ERR_OK;
        if (expected->tag < expected->tags.count) {
            const char *tag = expected->tags.names[expected->tag++];
            if (take_tag(expected, tag, out, more, err) != ERR_OK)
                return err->code;
        } else if (!expected->tags.more) {
            leave_repository(expected);
        } else if (read_tags(expected, err) != ERR_OK) {
            return err->code;
        }
    }
    return ERR_OK;
}

/* ---- the history ---- */

static enum errc read_pushes(struct expected *expected, struct error *err)
{
    drop_pushes(expected);
    if (refresh(expected, err) != ERR_OK ||
        pushes_before(expected->store, expected->before, expected->pushes, PUSHES_AT_ONCE,
                      &expected->push_count, err) != ERR_OK)
        return err->code;
    expected->no_more_pushes = expected->push_count < PUSHES_AT_ONCE;
    if (expected->push_count > 0)
        memcpy(expected->before, expected->pushes[expected->push_count - 1].id,
               sizeof expected->before);
    return ERR_OK;
}

/* The last one that was accepted for its tag, which it got. */
static bool take_target(struct expected *expected, const struct push *push,
                        const struct push_target *target, struct expected_tag *out)
{
    if (!intents_count(&expected->intents, target) || target->state != PUSH_PUSHED)
        return false;
    struct intent *intent = intents_find(&expected->intents, &target->reference);
    if (intent == NULL || intent->visited || strcmp(intent->id, push->id) != 0)
        return false;
    intent->visited = true;
    *out = (struct expected_tag){
        .reference = target->reference, .digest = push->manifest.digest, .pushed = true};
    memcpy(out->push, push->id, sizeof out->push);
    return true;
}

static enum errc next_of_history(struct expected *expected, struct expected_tag *out, bool *more,
                                 struct error *err)
{
    for (*more = false; !*more;) {
        if (expected->push == expected->push_count) {
            if (expected->no_more_pushes)
                return ERR_OK;
            if (read_pushes(expected, err) != ERR_OK)
                return err->code;
            continue;
        }
        const struct push *push = &expected->pushes[expected->push];
        if (expected->push_target < push->target_count) {
            const struct push_target *target = &push->targets[expected->push_target++];
            *more = take_target(expected, push, target, out);
        } else {
            expected->push++;
            expected->push_target = 0;
        }
    }
    return ERR_OK;
}

enum errc expected_next(struct expected *expected, struct expected_tag *out, bool *more,
                        struct error *err)
{
    if (!expected->in_history) {
        if (next_of_front(expected, out, more, err) != ERR_OK || *more)
            return err->code;
        expected->in_history = true;
    }
    *more = false;
    return expected->match ? ERR_OK : next_of_history(expected, out, more, err);
}
