/*
 * Threads that nobody joins: those of a table that counts them and waits for the count.
 */
#ifndef SLIPWAY_BASE_THREAD_H
#define SLIPWAY_BASE_THREAD_H

/* Start run(arg) on a detached thread. 0, or an errno: then there is no thread, and `arg` is the
 * caller's as before. */
int thread_detached(void *(*run)(void *arg), void *arg);

#endif
