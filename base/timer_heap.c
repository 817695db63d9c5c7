#include "base/timer_heap.h"

#include "base/mem.h"

#include <assert.h>

static void set(struct timer_heap *heap, size_t position, struct heap_timer *timer)
{
    heap->timers[position] = timer;
    timer->position = position;
}

static void rise(struct timer_heap *heap, size_t at, struct heap_timer *timer)
{
    for (; at > 1 && heap->timers[at / 2]->due_ms > timer->due_ms; at /= 2)
        set(heap, at, heap->timers[at / 2]);
    set(heap, at, timer);
}

static void sink(struct timer_heap *heap, size_t at, struct heap_timer *timer)
{
    for (size_t child; (child = 2 * at) <= heap->count; at = child) {
        if (child < heap->count && heap->timers[child + 1]->due_ms < heap->timers[child]->due_ms)
            child++;
        if (heap->timers[child]->due_ms >= timer->due_ms)
            break;
        set(heap, at, heap->timers[child]);
    }
    set(heap, at, timer);
}

void timer_heap_deinit(struct timer_heap *heap)
{
    assert(heap->count == 0);
    free(heap->timers);
}

void timer_heap_add(struct timer_heap *heap, struct heap_timer *timer, int64_t due_ms)
{
    assert(timer->position == 0);
    if (heap->count + 1 >= heap->capacity) {
        heap->capacity = heap->capacity ? 2 * heap->capacity : 32;
        heap->timers = xrealloc(heap->timers, heap->capacity, sizeof(struct heap_timer *));
    }
    timer->due_ms = due_ms;
    rise(heap, ++heap->count, timer);
}

void timer_heap_remove(struct timer_heap *heap, struct heap_timer *timer)
{
    size_t at = timer->position;
    assert(at > 0 && heap->timers[at] == timer);
    struct heap_timer *last = heap->timers[heap->count--];
    timer->position = 0;
    if (last == timer)
        return;
    if (at > 1 && heap->timers[at / 2]->due_ms > last->due_ms)
        rise(heap, at, last);
    else
        sink(heap, at, last);
}

struct heap_timer *timer_heap_first(const struct timer_heap *heap)
{
    return heap->count > 0 ? heap->timers[1] : NULL;
}
