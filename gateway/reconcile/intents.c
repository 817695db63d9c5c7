#include "gateway/reconcile/intents.h"

#include "base/mem.h"
#include "image/referrer_list.h"

#include <string.h>

#define PUSHES_AT_ONCE 16

void intents_deinit(struct intents *intents)
{
    free(intents->items);
    digest_map_deinit(&intents->references);
}

/* Of the text, which is long. */
static struct digest key_of(const struct reference *reference)
{
    char text[REFERENCE_TEXT_MAX];
    reference_text(reference, text);
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

bool intents_count(const struct intents *intents, const struct push_target *target)
{
    return strcmp(target->name, intents->target) == 0 && target->reference.tag[0] &&
           !referrer_list_tag_fits(target->reference.tag);
}

struct intent *intents_find(const struct intents *intents, const struct reference *reference)
{
    struct digest key = key_of(reference);
    const struct digest_item *item = digest_map_find(&intents->references, &key);
    return item ? &intents->items[item->number] : NULL;
}

struct intent *intents_take(struct intents *intents, const struct reference *reference)
{
    struct intent *found = intents_find(intents, reference);
    if (found)
        return found;
    struct digest key = key_of(reference);
    intents->items =
        mem_grow(intents->items, intents->count, &intents->capacity, sizeof *intents->items);
    digest_map_add(&intents->references, &key)->number = intents->count;
    intents->items[intents->count] = (struct intent){.id = ""};
    return &intents->items[intents->count++];
}

void intents_learn(struct intents *intents, const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++) {
        const struct push_target *target = &push->targets[i];
        if (!intents_count(intents, target))
            continue;
        struct intent *intent = intents_take(intents, &target->reference);
        if (strcmp(intent->id, push->id) > 0)
            continue;
        memcpy(intent->id, push->id, sizeof intent->id);
        intent->state = target->state;
        intent->manifest = push->manifest.digest;
    }
}

enum errc intents_refresh(struct intents *intents, struct store *store, struct error *err)
{
    struct push pushes[PUSHES_AT_ONCE];
    char before[PUSH_ID_MAX] = "";
    char youngest[PUSH_ID_MAX] = "";
    size_t count = PUSHES_AT_ONCE;
    bool known = false;
    while (count == PUSHES_AT_ONCE && !known) {
        if (pushes_before(store, before, pushes, PUSHES_AT_ONCE, &count, err) != ERR_OK)
            return err->code;
        for (size_t i = 0; i < count; i++) {
            if (youngest[0] == '\0')
                memcpy(youngest, pushes[i].id, sizeof youngest);
            known = known || strcmp(pushes[i].id, intents->youngest) <= 0;
            if (!known)
                intents_learn(intents, &pushes[i]);
            memcpy(before, pushes[i].id, sizeof before);
            push_deinit(&pushes[i]);
        }
    }
    if (youngest[0])
        memcpy(intents->youngest, youngest, sizeof youngest);
    return ERR_OK;
}
