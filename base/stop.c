#include "base/stop.h"

#include <errno.h>

static void pause_ms(int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

bool stop_wait(const struct stop *stop, int64_t ms)
{
    int64_t until_ms = clock_ms() + ms;
    for (int64_t left_ms; !stop_requested(stop) && (left_ms = until_ms - clock_ms()) > 0;)
        pause_ms(left_ms < STOP_POLL_MS ? left_ms : STOP_POLL_MS);
    return stop_requested(stop);
}
