#include "upstream/push/candidates.h"

#include "image/reference.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct push_budget push_budget(uint64_t raw_size)
{
    if (raw_size != RAW_SIZE_UNKNOWN && raw_size > MIDDLE_LAYER_MAX_BYTES)
        return (struct push_budget){4, 3, .other_repositories = true, .ask_before_sending = true};
    if (raw_size > SMALL_LAYER_MAX_BYTES)
        return (struct push_budget){3, 1, .other_repositories = false, .ask_before_sending = true};
    return (struct push_budget){1, 1, .other_repositories = false, .ask_before_sending = false};
}

bool digest_set_has(const struct digest_set *set, const struct digest *digest)
{
    for (size_t i = 0; i < set->count; i++)
        if (digest_equal(&set->items[i], digest))
            return true;
    return false;
}

void digest_set_add(struct digest_set *set, const struct digest *digest)
{
    if (set->count < KNOWN_LOCATIONS_MAX && !digest_set_has(set, digest))
        set->items[set->count++] = *digest;
}

/* --- sources --- */

/* docker.io and library/ made explicit. False for what is no reference. */
static bool parse_source(const struct known_location *known, struct reference *out)
{
    struct error ignored = ERROR_INIT;
    return reference_parse(known->source, out, &ignored) == ERR_OK;
}

bool candidate_is_target(const struct candidate_rules *rules, const struct known_location *known)
{
    struct reference source;
    return parse_source(known, &source) && strcmp(source.host, rules->host) == 0 &&
           strcmp(source.path, rules->path) == 0;
}

bool candidate_is_at_host(const struct candidate_rules *rules, const struct known_location *known)
{
    struct reference source;
    return parse_source(known, &source) && strcmp(source.host, rules->host) == 0;
}

static bool may_be_mounted(const struct candidate_rules *rules, const struct known_location *known)
{
    struct reference source;
    return parse_source(known, &source) && strcmp(source.host, rules->host) == 0 &&
           strcmp(source.path, rules->path) != 0;
}

/* --- order --- */

struct ranked {
    const struct known_location *known;
    bool matches;
    size_t shared;
};

/* Components are what stands between slashes; only whole ones count. */
static size_t shared_components(const char *a, const char *b)
{
    size_t shared = 0;
    for (;;) {
        size_t size = strcspn(a, "/");
        if (size != strcspn(b, "/") || memcmp(a, b, size) != 0)
            return shared;
        shared++;
        if (a[size] == '\0' || b[size] == '\0')
            return shared;
        a += size + 1;
        b += size + 1;
    }
}

static struct ranked rank(const struct candidate_rules *rules, const struct known_location *known)
{
    char target[REFERENCE_NAME_MAX + 2];
    char name[REFERENCE_NAME_MAX + 1];
    struct reference source;
    snprintf(target, sizeof target, "%s/%s", rules->host, rules->path);
    const char *text = parse_source(known, &source) ? reference_name(&source, name) : known->source;
    return (struct ranked){
        .known = known,
        .matches = location_matches(known, rules->key),
        .shared = shared_components(text, target),
    };
}

static bool is_better(const struct ranked *a, const struct ranked *b)
{
    if (a->matches != b->matches)
        return a->matches;
    return a->shared > b->shared;
}

/* Sorted by insertion: what is equal stays in the order in which it comes. */
struct ranking {
    size_t count;
    struct ranked items[KNOWN_LOCATIONS_MAX];
};

static void insert(struct ranking *ranking, struct ranked ranked)
{
    size_t at = ranking->count++;
    for (; at > 0 && is_better(&ranked, &ranking->items[at - 1]); at--)
        ranking->items[at] = ranking->items[at - 1];
    ranking->items[at] = ranked;
}

static bool has_wanted_digest(const struct candidate_rules *rules,
                              const struct known_location *known)
{
    return rules->only == NULL || digest_equal(rules->only, &known->digest);
}

/* --- candidates --- */

void candidates_to_mount(const struct candidate_rules *rules,
                         const struct known_location_list *known, size_t max,
                         struct candidates *out)
{
    struct ranking ranking = {.count = 0};
    for (size_t i = known->count; i > 0; i--) {
        const struct known_location *item = &known->items[i - 1];
        if (has_wanted_digest(rules, item) && may_be_mounted(rules, item))
            insert(&ranking, rank(rules, item));
    }
    for (out->count = 0; out->count < ranking.count && out->count < max; out->count++)
        out->items[out->count] = ranking.items[out->count].known;
}

static bool is_in(const struct candidates *candidates, const struct digest *digest)
{
    for (size_t i = 0; i < candidates->count; i++)
        if (digest_equal(&candidates->items[i]->digest, digest))
            return true;
    return false;
}

void candidates_to_check(const struct candidate_rules *rules,
                         const struct known_location_list *known, bool other_repositories,
                         size_t max, const struct digest_set *asked, struct candidates *out)
{
    struct ranking ranking = {.count = 0};
    for (size_t i = known->count; i > 0; i--) {
        const struct known_location *item = &known->items[i - 1];
        bool counts =
            other_repositories || item->source[0] == '\0' || candidate_is_target(rules, item);
        if (counts && has_wanted_digest(rules, item))
            insert(&ranking, rank(rules, item));
    }
    out->count = 0;
    for (size_t i = 0; i < ranking.count && out->count < max; i++) {
        const struct known_location *item = ranking.items[i].known;
        if (!is_in(out, &item->digest) && !digest_set_has(asked, &item->digest))
            out->items[out->count++] = item;
    }
}
