/*
 * Time. Deadlines and durations use the monotonic clock in milliseconds; the wall clock is only for
 * what a person or another machine reads.
 */
#ifndef SLIPWAY_BASE_CLOCK_H
#define SLIPWAY_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds on the monotonic clock. */
int64_t clock_ms(void);

/* Seconds, and milliseconds, since the epoch. */
int64_t clock_wall_s(void);
int64_t clock_wall_ms(void);

/* Seconds since the epoch, but for what the wall clock was set forward since this was asked for
 * first: by it nothing is over early that was to last so long. */
int64_t clock_unhurried_s(void);

/* The absolute CLOCK_MONOTONIC time `ms` milliseconds from now, for clock_cond_init()'s conditions.
 */
struct timespec clock_deadline(int64_t ms);

/* A condition variable whose timed waits use the monotonic clock. */
void clock_cond_init(pthread_cond_t *cond);

/* RFC 3339 UTC with milliseconds into `out`; returns out. */
#define CLOCK_TEXT_MAX 32
const char *clock_text(char out[CLOCK_TEXT_MAX]);
/* The same of a second since the epoch, without milliseconds. */
const char *clock_text_of(int64_t second, char out[CLOCK_TEXT_MAX]);

#endif
