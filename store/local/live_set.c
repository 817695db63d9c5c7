#include "store/local/live_set.h"

#include "base/mem.h"

#include <string.h>

#define CAPACITY_FIRST 64

void live_set_deinit(struct live_set *set)
{
    free(set->marks);
    *set = (struct live_set){.marks = NULL};
}

static struct digest_mark mark_of(const struct digest *digest)
{
    struct digest_mark mark;
    memcpy(mark.words, digest->bytes, sizeof mark.words);
    mark.words[0] ^= digest->algorithm == DIGEST_SHA512;
    mark.words[1] |= mark.words[0] == 0;
    return mark;
}

/* Where it is, or would be. */
static size_t place(const struct live_set *set, const struct digest_mark *mark)
{
    size_t at = (size_t)mark->words[0] & (set->capacity - 1);
    while ((set->marks[at].words[0] | set->marks[at].words[1]) != 0 &&
           memcmp(&set->marks[at], mark, sizeof *mark) != 0)
        at = (at + 1) & (set->capacity - 1);
    return at;
}

static bool is_free(const struct digest_mark *mark)
{
    return (mark->words[0] | mark->words[1]) == 0;
}

static void grow(struct live_set *set)
{
    struct live_set grown = {.capacity = set->capacity ? 2 * set->capacity : CAPACITY_FIRST,
                             .count = set->count};
    grown.marks = xcalloc(grown.capacity, sizeof *grown.marks);
    for (size_t i = 0; i < set->capacity; i++)
        if (!is_free(&set->marks[i]))
            grown.marks[place(&grown, &set->marks[i])] = set->marks[i];
    free(set->marks);
    *set = grown;
}

static bool add_mark(struct live_set *set, const struct digest_mark *mark)
{
    if (set->count * 4 >= set->capacity * 3)
        grow(set);
    size_t at = place(set, mark);
    if (!is_free(&set->marks[at]))
        return false;
    set->marks[at] = *mark;
    set->count++;
    return true;
}

bool live_set_add(struct live_set *set, const struct digest *digest)
{
    const struct digest_mark mark = mark_of(digest);
    return add_mark(set, &mark);
}

bool live_set_has(const struct live_set *set, const struct digest *digest)
{
    const struct digest_mark mark = mark_of(digest);
    return set->capacity > 0 && !is_free(&set->marks[place(set, &mark)]);
}

void live_set_merge(struct live_set *set, const struct live_set *from)
{
    for (size_t i = 0; i < from->capacity; i++)
        if (!is_free(&from->marks[i]))
            add_mark(set, &from->marks[i]);
}
