#include "base/ring.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro fail(): ours is called (fail)(). */

#define TIMEOUT_MS 30000 /* of a test that would hang otherwise */

/* A producer that can be parked, as a suspended connection is. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    int openings;
};

static void gate_open(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    gate->openings++;
    pthread_cond_signal(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

static bool gate_wait(struct gate *gate)
{
    struct timespec until = clock_deadline(TIMEOUT_MS);
    int rc = 0;
    pthread_mutex_lock(&gate->lock);
    while (!gate->open && rc == 0)
        rc = pthread_cond_timedwait(&gate->opened, &gate->lock, &until);
    gate->open = false;
    pthread_mutex_unlock(&gate->lock);
    return rc == 0;
}

static void gate_init(struct gate *gate)
{
    memset(gate, 0, sizeof *gate);
    pthread_mutex_init(&gate->lock, NULL);
    clock_cond_init(&gate->opened);
}

static void gate_deinit(struct gate *gate)
{
    pthread_cond_destroy(&gate->opened);
    pthread_mutex_destroy(&gate->lock);
}

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 2654435761u >> 13);
}

struct producer {
    struct ring *ring;
    struct gate gate;
    uint64_t total;
    size_t piece;
    const struct error *failure; /* instead of a proper end */
    uint64_t parks;
    bool hung;
};

static void put_all(struct producer *producer, const uint8_t *data, size_t size)
{
    while (size > 0 && !producer->hung) {
        size_t taken = ring_put(producer->ring, data, size);
        data += taken;
        size -= taken;
        if (taken == 0 && ring_park(producer->ring)) {
            producer->parks++;
            producer->hung = !gate_wait(&producer->gate);
        }
    }
}

static void *produce(void *arg)
{
    struct producer *producer = arg;
    autofree uint8_t *data = xmalloc(producer->piece);
    uint64_t at = 0;
    while (at < producer->total && !producer->hung) {
        uint64_t left = producer->total - at;
        size_t n = left < producer->piece ? (size_t)left : producer->piece;
        for (size_t i = 0; i < n; i++)
            data[i] = byte_at(at + i);
        put_all(producer, data, n);
        at += n;
    }
    if (producer->failure)
        ring_fail(producer->ring, producer->failure);
    else
        ring_end(producer->ring);
    return NULL;
}

/* Reads to the end and checks every byte; returns how many came. */
static uint64_t consume(struct ring *ring, size_t capacity, enum errc *rc, struct error *err)
{
    uint64_t at = 0;
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        *rc = ring_pull(ring, &data, &size, TIMEOUT_MS, err);
        if (*rc != ERR_OK || size == 0)
            return at;
        assert_true(size <= (capacity + 1) / 2);
        for (size_t i = 0; i < size; i++)
            if (data[i] != byte_at(at + i))
                fail_msg("byte %llu is wrong", (unsigned long long)(at + i));
        at += size;
    }
}

static void every_byte_arrives_in_order(void **state)
{
    (void)state;
    static const struct {
        size_t capacity, piece;
        uint64_t total;
    } table[] = {
        {1, 1, 2000},         {1, 100, 2000},          {2, 3, 5000},
        {3, 2, 5000},         {7, 7, 10000},           {64, 5, 100000},
        {64, 64, 100000},     {64, 1000, 100000},      {1000, 999, 500000},
        {1000, 1001, 500000}, {65536, 16384, 8000000}, {64, 64, 0},
    };
    uint64_t parks = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct producer producer = {.total = table[i].total, .piece = table[i].piece};
        gate_init(&producer.gate);
        producer.ring = ring_new(table[i].capacity, gate_open, &producer.gate);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
        struct error err = ERROR_INIT;
        enum errc rc = ERR_INTERNAL;
        uint64_t got = consume(producer.ring, table[i].capacity, &rc, &err);
        pthread_join(thread, NULL);
        assert_int_equal(rc, ERR_OK);
        assert_true(got == table[i].total);
        assert_true(ring_total(producer.ring) == table[i].total);
        assert_false(producer.hung);
        /* Once a park, never without one. */
        assert_true((uint64_t)producer.gate.openings == producer.parks);
        parks += producer.parks;
        ring_free(producer.ring);
        gate_deinit(&producer.gate);
    }
    assert_true(parks > 0);
    ring_free(NULL);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void pull(struct ring *ring, size_t want)
{
    struct error err = ERROR_INIT;
    const uint8_t *data = NULL;
    size_t size = 77;
    assert_int_equal(ring_pull(ring, &data, &size, TIMEOUT_MS, &err), ERR_OK);
    assert_int_equal(size, want);
}

static void a_full_ring_takes_nothing(void **state)
{
    (void)state;
    int calls = 0;
    struct ring *ring = ring_new(8, count_call, &calls);
    assert_int_equal(ring_put(ring, "1234567", 7), 7);
    assert_false(ring_park(ring));
    assert_int_equal(ring_put(ring, "89", 2), 1);
    assert_int_equal(ring_put(ring, "9", 1), 0);
    assert_true(ring_park(ring));
    assert_int_equal(calls, 0);
    ring_free(ring);
}

static void a_parked_producer_wakes_when_a_quarter_is_free(void **state)
{
    (void)state;
    int calls = 0;
    struct ring *ring = ring_new(16, count_call, &calls);
    assert_int_equal(ring_put(ring, "0123456789abcdef", 16), 16);
    assert_true(ring_park(ring));
    pull(ring, 8); /* lent, not yet given back */
    assert_int_equal(calls, 0);
    assert_int_equal(ring_put(ring, "x", 1), 0);
    pull(ring, 8);
    assert_int_equal(calls, 1);
    assert_false(ring_park(ring));
    assert_int_equal(ring_put(ring, "01234567+", 9), 8);
    /* Not parked, so nobody is to be woken. */
    pull(ring, 8);
    assert_int_equal(calls, 1);

    /* A span that ends with the memory, here 3 bytes, is less than a quarter. */
    struct ring *odd = ring_new(16, count_call, &calls);
    assert_int_equal(ring_put(odd, "0123456789abc", 13), 13);
    pull(odd, 8);
    pull(odd, 5);
    assert_int_equal(ring_put(odd, "0123456789a", 11), 11);
    pull(odd, 3);
    assert_int_equal(ring_put(odd, "0123456789a", 11), 5);
    assert_true(ring_park(odd));
    pull(odd, 8);
    assert_int_equal(calls, 1);
    pull(odd, 5);
    assert_int_equal(calls, 2);
    ring_free(odd);
    ring_free(ring);
}

static void a_silent_client_is_told_from_an_ended_one(void **state)
{
    (void)state;
    int calls = 0;
    struct ring *ring = ring_new(8, count_call, &calls);
    struct error err = ERROR_INIT;
    const uint8_t *data = NULL;
    size_t size = 77;
    int64_t start = clock_ms();
    assert_int_equal(ring_pull(ring, &data, &size, 20, &err), ERR_CLIENT_STALLED);
    assert_true(clock_ms() - start >= 19);
    assert_int_equal(size, 77);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_CLIENT_STALLED);
    assert_int_equal(ring_put(ring, "x", 1), 1);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_OK);
    assert_int_equal(size, 1);
    ring_end(ring);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_OK);
    assert_int_equal(size, 0);
    ring_free(ring);
}

static void a_failure_comes_after_the_bytes_before_it(void **state)
{
    (void)state;
    int calls = 0;
    struct ring *ring = ring_new(8, count_call, &calls);
    struct error why = ERROR_INIT, err = ERROR_INIT;
    const uint8_t *data = NULL;
    size_t size = 0;
    (fail)(&why, ERR_CLIENT_GONE, 0, "the client went away");
    assert_int_equal(ring_put(ring, "abc", 3), 3);
    assert_true(ring_fail(ring, &why));
    ring_end(ring);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_OK);
    assert_int_equal(size, 3);
    assert_memory_equal(data, "abc", 3);
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_CLIENT_GONE);
    assert_string_equal(err.text, "the client went away");
    assert_int_equal(ring_pull(ring, &data, &size, 0, &err), ERR_CLIENT_GONE);
    ring_free(ring);

    struct ring *ended = ring_new(8, count_call, &calls);
    ring_end(ended);
    assert_false(ring_fail(ended, &why));
    assert_int_equal(ring_pull(ended, &data, &size, 0, &err), ERR_OK);
    assert_int_equal(size, 0);
    ring_free(ended);
}

/* It returns for a full ring, for the end, and for the time; only the last one takes long. */
static void bytes_are_gathered_before_they_are_pulled(void **state)
{
    (void)state;
    int calls = 0;
    const int64_t short_ms = 20, long_ms = 60000;
    struct ring *ring = ring_new(8, count_call, &calls);
    int64_t begin_ms = clock_ms();
    assert_int_equal(ring_put(ring, "1234567", 7), 7);
    ring_gather(ring, short_ms);
    assert_true(clock_ms() - begin_ms >= short_ms);
    assert_int_equal(ring_put(ring, "8", 1), 1);
    ring_gather(ring, long_ms);
    pull(ring, 4);
    pull(ring, 4);
    ring_end(ring);
    ring_gather(ring, long_ms);
    pull(ring, 0);
    assert_true(clock_ms() - begin_ms < long_ms);
    ring_free(ring);
}

static void a_failure_wakes_a_waiting_consumer(void **state)
{
    (void)state;
    struct error why = ERROR_INIT, err = ERROR_INIT;
    (fail)(&why, ERR_CLIENT_GONE, 0, "gone");
    struct producer producer = {.total = 100000, .piece = 100, .failure = &why};
    gate_init(&producer.gate);
    producer.ring = ring_new(256, gate_open, &producer.gate);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
    enum errc rc = ERR_OK;
    assert_int_equal(consume(producer.ring, 256, &rc, &err), 100000);
    assert_int_equal(rc, ERR_CLIENT_GONE);
    pthread_join(thread, NULL);
    ring_free(producer.ring);
    gate_deinit(&producer.gate);
}

static void discarded_bytes_are_taken_and_counted(void **state)
{
    (void)state;
    int calls = 0;
    struct ring *ring = ring_new(8, count_call, &calls);
    assert_int_equal(ring_put(ring, "12345678", 8), 8);
    assert_true(ring_park(ring));
    ring_discard(ring);
    assert_int_equal(calls, 1);
    ring_discard(ring);
    assert_int_equal(calls, 1);
    assert_false(ring_park(ring));
    assert_int_equal(ring_put(ring, "0123456789", 10), 10);
    assert_int_equal(ring_put(ring, "0123456789", 10), 10);
    assert_true(ring_total(ring) == 28);
    ring_free(ring);
}

/* The consumer gives up in the middle, whatever the producer is doing at that moment. */
static void a_discarding_consumer_frees_the_producer(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct producer producer = {.total = 50000, .piece = 700};
        gate_init(&producer.gate);
        producer.ring = ring_new(256, gate_open, &producer.gate);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
        for (int i = 0; i < round; i++) {
            struct error err = ERROR_INIT;
            const uint8_t *data = NULL;
            size_t size = 0;
            assert_int_equal(ring_pull(producer.ring, &data, &size, TIMEOUT_MS, &err), ERR_OK);
        }
        ring_discard(producer.ring);
        pthread_join(thread, NULL);
        assert_false(producer.hung);
        assert_true(ring_total(producer.ring) == producer.total);
        ring_free(producer.ring);
        gate_deinit(&producer.gate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_in_order),
        cmocka_unit_test(a_full_ring_takes_nothing),
        cmocka_unit_test(a_parked_producer_wakes_when_a_quarter_is_free),
        cmocka_unit_test(a_silent_client_is_told_from_an_ended_one),
        cmocka_unit_test(a_failure_comes_after_the_bytes_before_it),
        cmocka_unit_test(bytes_are_gathered_before_they_are_pulled),
        cmocka_unit_test(a_failure_wakes_a_waiting_consumer),
        cmocka_unit_test(discarded_bytes_are_taken_and_counted),
        cmocka_unit_test(a_discarding_consumer_frees_the_producer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
