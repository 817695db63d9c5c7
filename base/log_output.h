/*
 * Where lines of the log go: to stderr, for base/log.c alone.
 *
 * Until log_output_start() a line is one write(2), which waits for whoever reads stderr. Afterwards
 * nobody waits: a line is written at once as long as stderr takes it without waiting, which is the
 * rule, so that a crash loses none; else it joins a queue that one thread writes. LOG_QUEUE_BYTES
 * may wait; what does not fit is lost and counted, and a line in its place says how many.
 *
 * Threads: any. One lock inside, under which lines are written that need not wait: it keeps their
 * order. Nothing here is for signal handlers.
 */
#ifndef SLIPWAY_BASE_LOG_OUTPUT_H
#define SLIPWAY_BASE_LOG_OUTPUT_H

#include "base/buf.h"

#include <stdint.h>

#define LOG_QUEUE_BYTES ((size_t)1 << 20)

/* `tell_lost` makes the line that says how many are lost. False: there is no thread for it. */
bool log_output_start(void (*tell_lost)(void *self, uint64_t count, struct buf *line));

/* The thread ends. False when `ms` were not enough for what waits: that is lost, and so is
 * everything after it, as it would wait again. */
bool log_output_stop(int64_t ms);

/* One line, copied. */
void log_output(const char *line, size_t size);

#endif
