#include "store/push.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void push_deinit(struct push *push)
{
    free(push->targets);
    free(push->referrers);
    push->targets = NULL;
    push->referrers = NULL;
    push->target_count = push->referrer_count = 0;
}

static void *copy_of(const void *items, size_t count, size_t size)
{
    void *copy = xcalloc(count, size);
    if (count > 0)
        memcpy(copy, items, count * size);
    return copy;
}

void push_copy(const struct push *from, struct push *to)
{
    *to = *from;
    to->targets = copy_of(from->targets, from->target_count, sizeof *to->targets);
    to->referrers = copy_of(from->referrers, from->referrer_count, sizeof *to->referrers);
}

static bool same_target(const struct reference *a, const struct reference *b)
{
    return reference_same_name(a, b) && strcmp(a->tag, b->tag) == 0 &&
           digest_equal(&a->digest, &b->digest);
}

enum errc push_add_target_of(struct push *push, const struct reference *reference, bool optional,
                             bool stored, size_t most, struct error *err)
{
    for (size_t i = 0; i < push->target_count; i++) {
        struct push_target *have = &push->targets[i];
        if (!same_target(&have->reference, reference))
            continue;
        have->optional = have->optional && optional;
        have->stored = have->stored && stored;
        return ERR_OK;
    }
    if (push->target_count == most)
        return fail(err, ERR_BAD_REQUEST, 0, "more than %zu targets", most);
    push->targets = xrealloc(push->targets, push->target_count + 1, sizeof *push->targets);
    push->targets[push->target_count++] = (struct push_target){.reference = *reference,
                                                               .optional = optional,
                                                               .stored = stored,
                                                               .state = PUSH_WAITING,
                                                               .attempts = 1};
    return ERR_OK;
}

enum errc push_add_target(struct push *push, const struct reference *reference, bool optional,
                          bool stored, struct error *err)
{
    return push_add_target_of(push, reference, optional, stored, TARGETS_MAX, err);
}

enum errc push_add_referrer(struct push *push, const struct descriptor *manifest, const char *tag,
                            struct error *err)
{
    if (push->referrer_count == REFERRERS_MAX)
        return fail(err, ERR_UNSUPPORTED, 0, "the image has more than %d referrers", REFERRERS_MAX);
    push->referrers = xrealloc(push->referrers, push->referrer_count + 1, sizeof *push->referrers);
    struct push_referrer *referrer = &push->referrers[push->referrer_count++];
    *referrer = (struct push_referrer){.manifest = *manifest};
    snprintf(referrer->tag, sizeof referrer->tag, "%s", tag);
    return ERR_OK;
}

const struct push_target *push_failure(const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].state == PUSH_FAILED && !push->targets[i].optional)
            return &push->targets[i];
    return NULL;
}

size_t push_stored_targets(const struct push *push)
{
    size_t count = 0;
    for (size_t i = 0; i < push->target_count; i++)
        count += push->targets[i].stored;
    return count;
}

bool push_is_waiting(const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored && push->targets[i].state == PUSH_WAITING)
            return true;
    return false;
}
