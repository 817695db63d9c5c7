#include "base/mem.h"
#include "store/local/collect_internal.h"

#include <stdio.h>

/* One rule that is for the repository: of the tags that it is about, the ages of those that were
 * put last, as a heap with the oldest of them first. */
struct keep_state {
    const struct keep_rule *rule;
    size_t number; /* in the configuration, from 1 */
    struct keep_age *last;
    size_t count, capacity;
};

static bool is_older(const struct keep_age *a, const struct keep_age *b)
{
    return a->number < b->number;
}

void keep_ruling_init(struct keep_ruling *ruling, const struct collect_options *options,
                      const char *repository)
{
    *ruling = (struct keep_ruling){.rules = xcalloc(options->rule_count, sizeof *ruling->rules)};
    for (size_t i = 0; i < options->rule_count; i++)
        if (options->matches(options->rules[i].match, repository))
            ruling->rules[ruling->count++] =
                (struct keep_state){.rule = &options->rules[i], .number = i + 1};
}

void keep_ruling_deinit(struct keep_ruling *ruling)
{
    for (size_t i = 0; i < ruling->count; i++)
        free(ruling->rules[i].last);
    free(ruling->rules);
}

static bool is_about(const struct keep_state *state, const struct collect_options *options,
                     const char *tag)
{
    return state->rule->tags == NULL || options->matches(state->rule->tags, tag);
}

static void swap(struct keep_age *a, struct keep_age *b)
{
    struct keep_age other = *a;
    *a = *b;
    *b = other;
}

static void sink_first(struct keep_state *state)
{
    for (size_t at = 0;;) {
        size_t oldest = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < state->count; child++)
            if (is_older(&state->last[child], &state->last[oldest]))
                oldest = child;
        if (oldest == at)
            return;
        swap(&state->last[at], &state->last[oldest]);
        at = oldest;
    }
}

static void add_last(struct keep_state *state, struct keep_age age)
{
    if (state->count == state->rule->last) {
        if (is_older(&age, &state->last[0]))
            return;
        state->last[0] = age;
        sink_first(state);
        return;
    }
    state->last = mem_grow(state->last, state->count, &state->capacity, sizeof *state->last);
    size_t at = state->count++;
    state->last[at] = age;
    for (; at > 0 && is_older(&state->last[at], &state->last[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&state->last[at], &state->last[(at - 1) / 2]);
}

void keep_meet(struct keep_ruling *ruling, const struct collect_options *options, const char *tag,
               struct keep_age age)
{
    for (size_t i = 0; i < ruling->count; i++)
        if (ruling->rules[i].rule->last > 0 && is_about(&ruling->rules[i], options, tag))
            add_last(&ruling->rules[i], age);
}

static bool keeps(const struct keep_state *state, struct keep_age age, uint64_t now_s, char *why,
                  size_t size)
{
    const struct keep_rule *rule = state->rule;
    if (rule->last == 0 && rule->age_s == 0) {
        snprintf(why, size, "kept by rule %zu", state->number);
        return true;
    }
    if (rule->last > 0 && (state->count < rule->last || !is_older(&age, &state->last[0]))) {
        snprintf(why, size, "kept by rule %zu: one of the last %u", state->number, rule->last);
        return true;
    }
    if (rule->age_s > 0 && age.put_s + (uint64_t)rule->age_s >= now_s) {
        snprintf(why, size, "kept by rule %zu: put in the last %lld s", state->number,
                 (long long)rule->age_s);
        return true;
    }
    return false;
}

bool keep_judge(const struct keep_ruling *ruling, const struct collect_options *options,
                const char *tag, struct keep_age age, uint64_t now_s, char *why, size_t size)
{
    for (size_t i = 0; i < ruling->count; i++)
        if (is_about(&ruling->rules[i], options, tag) &&
            keeps(&ruling->rules[i], age, now_s, why, size))
            return true;
    snprintf(why, size, ruling->count ? "no rule keeps it" : "kept: no rule is for its repository");
    return ruling->count == 0;
}
