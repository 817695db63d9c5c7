#include "store/push.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

bool push_target_is(const struct push_target *target, const char *name)
{
    static const char other[] = "other:";
    if (target->name[0])
        return strcmp(target->name, name) == 0;
    return strncmp(name, other, strlen(other)) == 0 &&
           strcmp(target->reference.host, name + strlen(other)) == 0;
}

const char *push_target_label(const struct push_target *target, char label[TARGET_LABEL_MAX + 1])
{
    if (target->name[0])
        snprintf(label, TARGET_LABEL_MAX + 1, "%s", target->name);
    else
        snprintf(label, TARGET_LABEL_MAX + 1, "other:%s", target->reference.host);
    return label;
}

void push_deinit(struct push *push)
{
    free(push->targets);
    free(push->referrers);
    free(push->unused);
    push->targets = NULL;
    push->referrers = NULL;
    push->unused = NULL;
    push->target_count = push->referrer_count = push->unused_count = 0;
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
    to->unused = copy_of(from->unused, from->unused_count, sizeof *to->unused);
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
                                                               .state = PUSH_QUEUED,
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

static const char *const state_names[PUSH_STATE_MAX + 1] = {
    [PUSH_QUEUED] = "queued",         [PUSH_PUSHED] = "pushed",     [PUSH_FAILED] = "failed",
    [PUSH_SUPERSEDED] = "superseded", [PUSH_RUNNING] = "running",   [PUSH_WAITING] = "waiting",
    [PUSH_DRIFTED] = "drifted",       [PUSH_REFUSED] = "refused",   [PUSH_EXPIRED] = "expired",
    [PUSH_CANCELLED] = "cancelled",   [PUSH_ORPHANED] = "orphaned",
};

const char *push_state_name(enum push_state state)
{
    return state_names[state];
}

bool push_state_by_name(const char *name, enum push_state *out)
{
    for (enum push_state state = PUSH_QUEUED; state <= PUSH_STATE_MAX; state++)
        if (strcmp(state_names[state], name) == 0) {
            *out = state;
            return true;
        }
    return false;
}

bool push_state_is_final(enum push_state state)
{
    return state != PUSH_QUEUED && state != PUSH_RUNNING && state != PUSH_WAITING &&
           state != PUSH_ORPHANED;
}

bool push_state_is_failure(enum push_state state)
{
    return push_state_is_final(state) && state != PUSH_PUSHED && state != PUSH_SUPERSEDED;
}

const struct push_target *push_failure(const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (push_state_is_failure(push->targets[i].state) && !push->targets[i].optional)
            return &push->targets[i];
    return NULL;
}

/* Of so many targets in these states. */
static int overall_of(const size_t counts[PUSH_STATE_MAX + 1], size_t count)
{
    if (counts[PUSH_RUNNING] > 0)
        return PUSH_RUNNING;
    if (counts[PUSH_QUEUED] > 0)
        return PUSH_QUEUED;
    if (counts[PUSH_WAITING] + counts[PUSH_ORPHANED] > 0)
        return PUSH_WAITING;
    size_t good = counts[PUSH_PUSHED] + counts[PUSH_SUPERSEDED];
    if (counts[PUSH_SUPERSEDED] == count)
        return PUSH_SUPERSEDED;
    if (good == count)
        return PUSH_PUSHED;
    if (counts[PUSH_CANCELLED] == count)
        return PUSH_CANCELLED;
    return good > 0 ? 0 : PUSH_FAILED;
}

int push_overall(const struct push *push)
{
    size_t counts[PUSH_STATE_MAX + 1] = {0};
    size_t required = 0;
    for (size_t i = 0; i < push->target_count; i++)
        required += !push->targets[i].optional;
    for (size_t i = 0; i < push->target_count; i++)
        counts[push->targets[i].state] += required == 0 || !push->targets[i].optional;
    return overall_of(counts, required ? required : push->target_count);
}

size_t push_stored_targets(const struct push *push)
{
    size_t count = 0;
    for (size_t i = 0; i < push->target_count; i++)
        count += push->targets[i].stored;
    return count;
}

bool push_is_open(const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored && !push_state_is_final(push->targets[i].state))
            return true;
    return false;
}
