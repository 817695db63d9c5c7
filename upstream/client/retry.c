#include "upstream/client/retry.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t retry_wait_ms(int64_t base_ms, unsigned failed, uint32_t jitter)
{
    int64_t least = base_ms * failed;
    return least + (int64_t)((uint64_t)(least / 4) * jitter / UINT32_MAX);
}

/* A registry in trouble fails many attempts of many blobs in the same way: one line for all. */
static void tell(const struct retry *retry, const char *what, struct back_off *back_off,
                 int64_t wait_ms, const struct error *err)
{
    log_event(back_off_first_failure(back_off) ? LOG_INFO : LOG_DEBUG, "attempt.failed",
              LOG_FIELDS(log_text("target", what), log_number("attempt", retry->made),
                         log_text("code", error_name(err->code)),
                         log_text("party", party_name(error_party(err->code))),
                         log_text("error", err->text)),
              "attempt %u of %u failed, the next one follows in %" PRId64 ".%" PRId64 " s",
              retry->made, RETRY_ATTEMPTS, wait_ms / 1000, wait_ms % 1000 / 100);
}

bool retry_follows(struct retry *retry, const char *what, struct back_off *back_off, bool helps,
                   struct error *err)
{
    retry->until_ms = 0;
    if (!helps)
        return false;
    bool again = err->code != ERR_NO_ANSWER || !retry->unanswered;
    retry->unanswered |= err->code == ERR_NO_ANSWER;
    if (retry->made >= RETRY_ATTEMPTS || !again) {
        error_wrap(err, "%u attempts", retry->made);
        return false;
    }
    int64_t wait_ms = retry_wait_ms(back_off->base_ms, retry->made, arc4random());
    int64_t asked_ms = back_off_left_ms(back_off);
    if (asked_ms > wait_ms)
        wait_ms = asked_ms;
    tell(retry, what, back_off, wait_ms, err);
    retry->until_ms = clock_ms() + wait_ms;
    retry->wait =
        (struct registry_wait){.registry = back_off->registry, .until_ms = retry->until_ms};
    snprintf(retry->wait.reason, sizeof retry->wait.reason, "%s", err->text);
    error_clear(err);
    return true;
}

int64_t retry_words(const struct retry *retry, char words[RETRY_WORDS_MAX])
{
    int64_t left_ms = retry->until_ms - clock_ms();
    words[0] = '\0';
    if (left_ms <= 0)
        return retry->until_ms;
    int64_t seconds = (left_ms + 999) / 1000;
    snprintf(words, RETRY_WORDS_MAX, "Retrying in %" PRId64 " second%s", seconds,
             seconds == 1 ? "" : "s");
    return retry->until_ms - (seconds - 1) * 1000;
}
