/*
 * A bounded byte ring between one producer that must not block and one consumer that may.
 *
 * The producer is a connection of the HTTP server: it puts what fits and, when nothing fits,
 * suspends itself and says so with ring_park(). The consumer is an ingest thread that pulls spans
 * and waits for more. The capacity is the bound on memory per upload: when the consumer is slow (a
 * disk, a registry), the ring is full, the connection is parked and TCP slows the sender down.
 *
 * Lifecycle: ring_new, then both sides work, each side ends its part (ring_end or ring_fail by the
 * producer, ring_discard by the consumer), ring_free when both are done with it; who frees is a
 * matter of the surrounding object's reference count.
 *
 * Threads: one lock inside, held for copies of pointers only; bytes are copied outside it, each
 * side touching only its own part of the memory. on_space runs on the consumer's thread, without
 * the lock.
 */
#ifndef SLIPWAY_BASE_RING_H
#define SLIPWAY_BASE_RING_H

#include "base/error.h"

#include <stdint.h>

struct ring;

/* `capacity` in bytes. `on_space` wakes a parked producer; called once per park. */
struct ring *ring_new(size_t capacity, void (*on_space)(void *arg), void *arg);
void ring_free(struct ring *ring);

/* Producer. Never blocks. Copies at most `size` bytes and returns how many were taken: 0 is "full".
 * After ring_discard() everything is taken and dropped. */
size_t ring_put(struct ring *ring, const void *data, size_t size);

/* Producer, after a put that took nothing and after it suspended itself: true when it stays parked
 * and on_space will be called; false when space has come up meanwhile and it must go on by itself.
 */
bool ring_park(struct ring *ring);

/* Producer: no more bytes will come; properly (end) or because of `why` (fail), which the consumer
 * gets once it has read what was put before. The first of these calls counts; ring_fail() is false
 * when that was ring_end(): all bytes are there. */
void ring_end(struct ring *ring);
bool ring_fail(struct ring *ring, const struct error *why);

/* Consumer. Returns when all bytes are there, the ring is full, or `timeout_ms` have passed. */
void ring_gather(struct ring *ring, int64_t timeout_ms);

/* Consumer. Waits at most `timeout_ms` for bytes; the span is borrowed until the next pull. *size 0
 * is the end. Errors: the producer's, ERR_CLIENT_STALLED when the time ran out. */
enum errc ring_pull(struct ring *ring, const uint8_t **data, size_t *size, int64_t timeout_ms,
                    struct error *err);

/* Consumer: it reads no more. The producer's bytes are dropped from now on, so that a client which
 * is still sending can be answered after its last byte. Wakes a parked producer. */
void ring_discard(struct ring *ring);

/* Bytes put so far, dropped ones included. Any thread. */
uint64_t ring_total(struct ring *ring);

#endif
