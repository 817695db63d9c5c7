/*
 * A crew: `count` independent tasks, done by at most `threads` threads at a time, the calling one
 * among them. Returns when all are done. Tasks begin in order. Threads live as long as the call;
 * when none can be started the caller does everything.
 */
#ifndef SLIPWAY_BASE_CREW_H
#define SLIPWAY_BASE_CREW_H

#include <stddef.h>

#define CREW_THREADS_MAX 64

/* `task` is called once for every index, from several threads; it tells its own success. */
void crew_run(size_t count, unsigned threads, void (*task)(void *self, size_t index), void *self);

#endif
