/*
 * What is true of a push queue whenever its lock is free: gates, tags and targets recounted. Any
 * thread, while there is the queue.
 */
#ifndef SLIPWAY_TESTS_QUEUE_EXAMINE_H
#define SLIPWAY_TESTS_QUEUE_EXAMINE_H

#include "gateway/queue/push_queue.h"

/* What is wrong, in words; static text. NULL: nothing is. */
const char *queue_examine(struct push_queue *queue);

/* Nothing is under way or waits, and nothing counts as such. */
bool queue_examine_is_quiet(struct push_queue *queue);

/* It is to push this target after the answer. */
bool queue_examine_has(struct push_queue *queue, const char *id, size_t target);

/* A push that waits for a time farther away than this; false: there is none. */
bool queue_examine_waits(struct push_queue *queue, int64_t ms, char id[PUSH_ID_MAX]);

/* All of it, to standard error. */
void queue_examine_dump(struct push_queue *queue);

#endif
