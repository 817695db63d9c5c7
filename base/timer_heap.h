/*
 * Timers in the order of their times: a binary heap of what their owners hold. Adding and removing
 * take logarithmic time, the first one none.
 *
 * {0} is an empty one. No lock inside: for one thread at a time.
 */
#ifndef SLIPWAY_BASE_TIMER_HEAP_H
#define SLIPWAY_BASE_TIMER_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* A member of what waits for a time. */
struct heap_timer {
    int64_t due_ms;  /* clock_ms() */
    size_t position; /* in the heap, from 1; 0: in none */
};

struct timer_heap {
    struct heap_timer **timers; /* owned; from index 1 */
    size_t count;
    size_t capacity;
};

/* When it is empty. */
void timer_heap_deinit(struct timer_heap *heap);

/* The timer is in no heap; borrowed until it is removed. */
void timer_heap_add(struct timer_heap *heap, struct heap_timer *timer, int64_t due_ms);
/* The timer is in this heap. */
void timer_heap_remove(struct timer_heap *heap, struct heap_timer *timer);

/* The one that is due first; NULL: none. */
struct heap_timer *timer_heap_first(const struct timer_heap *heap);

#endif
