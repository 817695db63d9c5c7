#include "base/clock.h"

#include <stdio.h>

int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_s(void)
{
    return clock_wall_ms() / 1000;
}

static int64_t unhurried_from_s; /* of the monotonic clock's beginning */

static void begin_unhurried(void)
{
    unhurried_from_s = clock_wall_s() - clock_ms() / 1000;
}

int64_t clock_unhurried_s(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_unhurried);
    int64_t steady_s = unhurried_from_s + clock_ms() / 1000;
    int64_t wall_s = clock_wall_s();
    return wall_s < steady_s ? wall_s : steady_s;
}

struct timespec clock_deadline(int64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

const char *clock_text(char out[CLOCK_TEXT_MAX])
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, CLOCK_TEXT_MAX - n, ".%03dZ", (int)((now.tv_nsec / 1000000) % 1000));
    return out;
}

const char *clock_text_of(int64_t second, char out[CLOCK_TEXT_MAX])
{
    time_t at = (time_t)second;
    struct tm utc;
    if (gmtime_r(&at, &utc) == NULL ||
        strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        out[0] = '\0';
    return out;
}
