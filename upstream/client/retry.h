/*
 * Trying again: how often, after how long, and after which errors.
 *
 * RETRY_ATTEMPTS attempts. The wait after the Nth failed one is N times the base wait and up to a
 * quarter of that more, so that those that failed together do not come back together: 5 to 6.25 s,
 * 10 to 12.5 s, 15 to 18.75 s, 20 to 25 s. It is longer when the registry asked for more
 * (upstream/client/back_off.h).
 *
 * After ERR_NO_ANSWER there is one more attempt: a deadline of a quarter of an hour is not waited
 * for five times.
 *
 * An error is worth another attempt when the table of base/error.h says so. It does not for
 * unauthorized, denied, unsupported, an answer that is not a registry's, no space left, a corrupt
 * blob and cancelled.
 *
 * Nothing here waits: a struct retry says until when, and its owner is a work that is submitted for
 * that time. One thread at a time.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_RETRY_H
#define SLIPWAY_UPSTREAM_CLIENT_RETRY_H

#include "net/transport.h"
#include "upstream/client/back_off.h"
#include "upstream/client/registry_wait.h"

#define RETRY_ATTEMPTS 5
#define RETRY_WAIT_MS 5000 /* base wait where nothing else is set */

/* Zeroed before the first attempt. */
struct retry {
    unsigned made;             /* attempts: counted by the owner before each */
    bool unanswered;           /* one of them ended with ERR_NO_ANSWER */
    int64_t until_ms;          /* clock_ms() of the next one; 0: none is waited for */
    struct registry_wait wait; /* the same in words, as long as one is waited for */
};

/*
 * After a failed attempt: true when another one follows at retry->until_ms; then the failure is
 * logged as `what`'s and `err` cleared; at info where it is the first since the registry took
 * something (back_off_first_failure()), else at debug. False: the error is the last word; after
 * the last of several it says how many were made. `helps`: the error is worth another attempt.
 */
bool retry_follows(struct retry *retry, const char *what, struct back_off *back_off, bool helps,
                   struct error *err);

/* The wait is told second by second: "Retrying in N seconds" for what is left, "" when it is over.
 * Returns when the next words are due. */
#define RETRY_WORDS_MAX 64
int64_t retry_words(const struct retry *retry, char words[RETRY_WORDS_MAX]);

/* The wait after `failed` attempts; `jitter` is any number, the whole range of which gives the
 * whole range of waits. */
int64_t retry_wait_ms(int64_t base_ms, unsigned failed, uint32_t jitter);

#endif
