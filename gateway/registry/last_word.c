#include "gateway/registry/last_word.h"

#include "base/mem.h"

#include <search.h>
#include <string.h>
#include <sys/queue.h>

/* ---- what follows from it ---- */

static enum word word_of(const struct tag_state *state)
{
    const struct last_word *word = state->word;
    return word && digest_equal(&word->digest, state->digest) ? word->word : WORD_NONE;
}

int64_t last_word_wait_ms(int64_t confirm_ms, unsigned failures)
{
    int64_t wait_ms = confirm_ms;
    while (failures-- > 1 && wait_ms < REFUSED_WAIT_MAX_MS)
        wait_ms *= 2;
    return wait_ms < REFUSED_WAIT_MAX_MS ? wait_ms : REFUSED_WAIT_MAX_MS;
}

/* Has it failed, and waits for its time? */
static bool is_early(const struct tag_state *state)
{
    const struct last_word *word = state->word;
    return word_of(state) == WORD_FAILED &&
           state->now_ms - word->since_ms < last_word_wait_ms(state->confirm_ms, word->failures);
}

bool last_word_asks(const struct tag_state *state)
{
    const struct last_word *word = state->word;
    bool fresh = word_of(state) == WORD_THERE && state->now_ms - word->since_ms < state->confirm_ms;
    bool silent = word && state->now_ms < word->silent_ms;
    if (state->away || fresh || silent)
        return false;
    return state->waits || (!state->open && !is_early(state));
}

enum tag_step last_word_judge(const struct tag_state *state, enum tag_answer answer, bool away)
{
    bool failed = word_of(state) == WORD_FAILED;
    switch (answer) {
    case TAG_SAME:
        return STEP_LEAVE;
    case TAG_ABSENT:
        if (state->open)
            return STEP_WAIT;
        return is_early(state) ? STEP_MISSING : STEP_DELIVER;
    case TAG_OTHER:
    case TAG_UNKNOWN:
        break;
    }
    return failed && !away && !state->open && !is_early(state) ? STEP_QUEUE : STEP_LEAVE;
}

void last_word_there(struct last_word *word, const struct digest *digest, int64_t now_ms)
{
    *word = (struct last_word){.word = WORD_THERE, .digest = *digest, .since_ms = now_ms};
}

void last_word_failed(struct last_word *word, const struct digest *digest, int64_t now_ms)
{
    bool again = word->word == WORD_FAILED && digest_equal(&word->digest, digest);
    *word = (struct last_word){.word = WORD_FAILED,
                               .digest = *digest,
                               .since_ms = now_ms,
                               .failures = again ? word->failures + 1 : 1};
}

/* ---- the table ---- */

struct item {
    TAILQ_ENTRY(item) link;
    struct last_word word;
    char target[];
};

struct last_words {
    void *tree;                    /* tsearch tree of items */
    TAILQ_HEAD(items, item) items; /* that was looked at last, first */
    size_t count;
};

struct last_words *last_words_new(void)
{
    struct last_words *words = xcalloc(1, sizeof *words);
    TAILQ_INIT(&words->items);
    return words;
}

void last_words_free(struct last_words *words)
{
    if (words == NULL)
        return;
    tdestroy(words->tree, free);
    free(words);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->target, ((const struct item *)b)->target);
}

static struct item *item_new(const char *target)
{
    size_t size = strlen(target) + 1;
    struct item *item = xcalloc(1, sizeof *item + size);
    memcpy(item->target, target, size);
    return item;
}

struct last_word *last_words_find(struct last_words *words, const char *target)
{
    autofree struct item *wanted = item_new(target);
    struct item **held = tfind(wanted, &words->tree, compare);
    if (held == NULL)
        return NULL;
    TAILQ_REMOVE(&words->items, *held, link);
    TAILQ_INSERT_HEAD(&words->items, *held, link);
    return &(*held)->word;
}

static void forget_oldest(struct last_words *words)
{
    struct item *oldest = TAILQ_LAST(&words->items, items);
    tdelete(oldest, &words->tree, compare);
    TAILQ_REMOVE(&words->items, oldest, link);
    words->count--;
    free(oldest);
}

struct last_word *last_words_make(struct last_words *words, const char *target)
{
    struct last_word *found = last_words_find(words, target);
    if (found)
        return found;
    struct item *item = item_new(target);
    if (words->count == LAST_WORDS_MAX)
        forget_oldest(words);
    if (tsearch(item, &words->tree, compare) == NULL)
        abort(); /* out of memory, as in base/mem.h */
    TAILQ_INSERT_HEAD(&words->items, item, link);
    words->count++;
    return &item->word;
}
