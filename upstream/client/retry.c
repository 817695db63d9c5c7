#include "upstream/client/retry.h"

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

static void tell_left(const struct retry *retry, int64_t left_ms)
{
    if (retry->tell == NULL)
        return;
    int64_t seconds = (left_ms + 999) / 1000;
    char words[64];
    snprintf(words, sizeof words, "Retrying in %" PRId64 " second%s", seconds,
             seconds == 1 ? "" : "s");
    retry->tell(retry->self, words);
}

/* Until `wait_ms` is over, one turn a second; what is left decides, so turns that take longer do
 * not add up. */
static enum errc wait_told(const struct retry *retry, int64_t wait_ms, struct error *err)
{
    int64_t until_ms = clock_ms() + wait_ms;
    for (int64_t left_ms; (left_ms = until_ms - clock_ms()) > 0;) {
        tell_left(retry, left_ms);
        int64_t turn_ms = left_ms % 1000 ? left_ms % 1000 : 1000;
        if (stop_wait(retry->stop, turn_ms))
            break;
    }
    return stop_check(retry->stop, err);
}

static enum errc wait_for_next(const struct retry *retry, unsigned failed, struct error *err)
{
    int64_t wait_ms = retry_wait_ms(retry->base_ms, failed, arc4random());
    int64_t closed_ms = gate_closed_ms(retry->gate);
    if (closed_ms > wait_ms)
        wait_ms = closed_ms;
    log_info("%s: attempt %u of %u failed, the next one follows in %" PRId64 ".%" PRId64 " s: %s",
             retry->what, failed, RETRY_ATTEMPTS, wait_ms / 1000, wait_ms % 1000 / 100, err->text);
    error_clear(err);
    return wait_told(retry, wait_ms, err);
}

static bool worth_another(const struct retry *retry, const struct error *err)
{
    return retry->helps ? retry->helps(retry->self, err) : error_retriable(err->code);
}

enum errc retry_run(const struct retry *retry, unsigned *attempts, struct error *err)
{
    for (unsigned made = 1;; made++) {
        *attempts = made;
        enum errc code = stop_check(retry->stop, err);
        if (code == ERR_OK)
            code = retry->attempt(retry->self, err);
        if (code == ERR_OK || !worth_another(retry, err))
            return code;
        if (made == RETRY_ATTEMPTS)
            return error_wrap(err, "%u attempts", made);
        if (wait_for_next(retry, made, err) != ERR_OK)
            return err->code;
    }
}
