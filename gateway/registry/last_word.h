/*
 * What is known of a tag at a target, and what a HEAD of it makes of that: the arithmetic of
 * gateway/registry/confirm.h, without clocks, locks and registries.
 *
 * A word is the last that was heard of a manifest there: a push of it ended, or the target was
 * asked. It is about one manifest; of another one nothing is known. After LAST_WORDS_MAX tags the
 * one that was not looked at for the longest time is forgotten: what is not known is asked for.
 *
 * One thread at a time.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_LAST_WORD_H
#define SLIPWAY_GATEWAY_REGISTRY_LAST_WORD_H

#include "image/digest.h"
#include "upstream/client/tag_ask.h"

#include <stdint.h>

#define LAST_WORDS_MAX 4096
#define REFUSED_WAIT_MAX_MS 3600000
#define SILENCE_MS 5000 /* a target that gave no answer is left alone for so long */

enum word {
    WORD_NONE,
    WORD_THERE,  /* the target has the manifest under the tag */
    WORD_FAILED, /* its push ended, and the target does not have it */
};

struct last_word {
    enum word word;
    struct digest digest; /* of the manifest that it is about */
    int64_t since_ms;     /* clock_ms() */
    unsigned failures;    /* in a row */
    int64_t silent_ms;    /* it is not asked before, clock_ms() */
};

/* As of now. */
struct tag_state {
    const struct last_word *word; /* NULL: none */
    const struct digest *digest;  /* of the manifest that the front has */
    int64_t now_ms;
    int64_t confirm_ms; /* so long WORD_THERE is believed */
    bool open;          /* a push to the tag is under way or waits */
    bool away;          /* none begins: the registry is waited for */
    bool waits;         /* somebody waits for the answer */
};

/* Is there something to find out, that can be, and that would change something? */
bool last_word_asks(const struct tag_state *state);

/* What an answer leads to. */
enum tag_step {
    STEP_LEAVE,   /* nothing */
    STEP_QUEUE,   /* it is pushed again, and nobody waits for that */
    STEP_DELIVER, /* it is pushed again: it is not there before */
    STEP_WAIT,    /* the same, of a push that is open */
    STEP_MISSING, /* it is not there, and it is not yet time for another push */
};
/* `away`: there is no answer because nobody is there. */
enum tag_step last_word_judge(const struct tag_state *state, enum tag_answer answer, bool away);

/* How long after so many failures in a row it is pushed again: 1, 2, 4 … times `confirm_ms`, at
 * most REFUSED_WAIT_MAX_MS. */
int64_t last_word_wait_ms(int64_t confirm_ms, unsigned failures);

void last_word_there(struct last_word *word, const struct digest *digest, int64_t now_ms);
void last_word_failed(struct last_word *word, const struct digest *digest, int64_t now_ms);

/* --- of all tags --- */

struct last_words;

struct last_words *last_words_new(void);
void last_words_free(struct last_words *words);

/* Of a target's reference as text; NULL: none. Borrowed until the next last_words_make(). */
struct last_word *last_words_find(struct last_words *words, const char *target);
/* The same, made where there is none: zeroed. */
struct last_word *last_words_make(struct last_words *words, const char *target);

#endif
