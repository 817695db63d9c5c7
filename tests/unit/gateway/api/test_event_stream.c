#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/api/event_stream.h"
#include "tests/support/fake_connection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define WAIT_MS 60000

struct fixture {
    struct fake_connection connection;
    struct event_stream *stream;
    struct body_source body;
    struct progress progress;
    struct buf text; /* what was read */
};

static void start(struct fixture *fixture)
{
    *fixture = (struct fixture){.stream = event_stream_new(), .text = BUF_INIT((size_t)64 << 20)};
    fake_connection_init(&fixture->connection);
    event_stream_attach(fixture->stream, fake_connection_suspendable(&fixture->connection));
    fixture->progress = event_stream_progress(fixture->stream);
    fixture->body = event_stream_body(fixture->stream);
}

static void stop(struct fixture *fixture)
{
    fixture->body.release(fixture->body.self);
    event_stream_unref(fixture->stream);
    buf_deinit(&fixture->text);
}

static void tell(struct fixture *fixture, const char *target, const char *id, const char *status)
{
    const struct progress_event event = {.kind = id ? PROGRESS_STATUS : PROGRESS_MESSAGE,
                                         .target = target,
                                         .id = id,
                                         .status = status};
    progress_emit(&fixture->progress, &event);
}

static void count_down(struct fixture *fixture, const char *target, const char *id,
                       uint64_t seconds)
{
    autofree char *words = xasprintf("Retrying in %llu seconds", (unsigned long long)seconds);
    const struct progress_event event = {
        .kind = PROGRESS_COUNTDOWN, .target = target, .id = id, .status = words};
    progress_emit(&fixture->progress, &event);
}

static void tell_bytes(struct fixture *fixture, const char *id, uint64_t current)
{
    const struct progress_event event = {.kind = PROGRESS_BYTES,
                                         .target = "t",
                                         .id = id,
                                         .status = "Pushing",
                                         .current = current,
                                         .total = 1000000};
    progress_emit(&fixture->progress, &event);
}

static ssize_t read_some(struct fixture *fixture, size_t size)
{
    autofree char *data = xmalloc(size);
    ssize_t got = fixture->body.read(fixture->body.self, data, size);
    if (got > 0)
        buf_append(&fixture->text, data, (size_t)got);
    return got;
}

/* Until the queue is empty: 0, or the stream is over: BODY_END. */
static ssize_t read_all(struct fixture *fixture, size_t piece)
{
    ssize_t got;
    while ((got = read_some(fixture, piece)) > 0)
        ;
    return got;
}

/* Line by line: the sanitizers' strstr looks at all of a text each time. */
static size_t count(const struct fixture *fixture, const char *part)
{
    size_t found = 0;
    const char *end = fixture->text.data + fixture->text.size;
    for (const char *at = fixture->text.data, *next; at < end; at = next) {
        next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        autofree char *line = xstrndup(at, (size_t)(next - at));
        found += strstr(line, part) != NULL;
    }
    return found;
}

static void lines_come_whole_and_in_order(void **state)
{
    (void)state;
    const size_t pieces[] = {1, 7, 4096};
    for (size_t i = 0; i < 3; i++) {
        struct fixture fixture;
        start(&fixture);
        tell(&fixture, "t", NULL, "The push refers to repository [t]");
        tell(&fixture, "t", "aa", "Preparing");
        tell_bytes(&fixture, "aa", 5);
        tell(&fixture, "t", "aa", "Pushed");
        event_stream_end(fixture.stream);
        assert_int_equal(read_all(&fixture, pieces[i]), BODY_END);
        assert_int_equal(fixture.connection.suspends, 0);
        assert_string_equal(
            buf_cstr(&fixture.text),
            "{\"status\":\"The push refers to repository [t]\",\"target\":\"t\"}\n"
            "{\"status\":\"Preparing\",\"id\":\"aa\",\"progressDetail\":{},\"target\":\"t\"}\n"
            "{\"status\":\"Pushing\",\"id\":\"aa\",\"progressDetail\":{\"current\":5,"
            "\"total\":1000000},\"target\":\"t\"}\n"
            "{\"status\":\"Pushed\",\"id\":\"aa\",\"progressDetail\":{},\"target\":\"t\"}\n");
        stop(&fixture);
    }
}

static void begin_and_outcomes(void **state)
{
    (void)state;
    struct fixture fixture;
    struct push push = {.id = "p1", .target_count = 2};
    struct error err = ERROR_INIT;
    start(&fixture);
    push.manifest.digest = digest_of(DIGEST_SHA256, "x", 1);
    event_stream_begin(fixture.stream, &push);
    struct push_target good = {
        .state = PUSH_PUSHED, .digest = push.manifest.digest, .size = 12, .media_type = "a/b"};
    assert_int_equal(reference_parse("r.example.com/a:1", &good.reference, &err), ERR_OK);
    event_stream_outcome(fixture.stream, &good);
    struct push_target bad = {.state = PUSH_FAILED, .reference = good.reference};
    fail(&bad.error, ERR_DENIED, 0, "no \"entry\"");
    bad.error.status = 403;
    event_stream_outcome(fixture.stream, &bad);
    event_stream_end(fixture.stream);
    assert_int_equal(read_all(&fixture, 100), BODY_END);
    assert_int_equal(count(&fixture, "\n"), 3);
    assert_int_equal(count(&fixture, "{\"status\":\"Pushing sha256:"), 1);
    assert_int_equal(count(&fixture, "to 2 targets\",\"push\":{\"id\":\"p1\",\"image\":{"), 1);
    assert_int_equal(count(&fixture, "\"aux\":{\"Tag\":\"1\",\"Digest\":\"sha256:"), 1);
    assert_int_equal(count(&fixture, "\"Size\":12},\"target\":\"r.example.com/a:1\""), 1);
    assert_int_equal(count(&fixture,
                           "{\"errorDetail\":{\"code\":502,\"message\":\"no \\\"entry\\\"\"},"
                           "\"error\":\"no \\\"entry\\\"\",\"target\":"),
                     1);
    assert_int_equal(count(&fixture, "\"code\":\"DENIED\""), 1);
    stop(&fixture);
}

static void what_passes_gives_way_to_what_is_newer(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    for (uint64_t i = 1; i <= 1000; i++) {
        tell_bytes(&fixture, "aa", i);
        tell_bytes(&fixture, "bb", i * 2);
        count_down(&fixture, "t", "cc", 2000 - i);
        count_down(&fixture, "other", "cc", 2000 - i);
    }
    tell(&fixture, "t", "aa", "Pushed");
    tell_bytes(&fixture, "aa", 7);
    event_stream_end(fixture.stream);
    read_all(&fixture, 4096);
    assert_int_equal(count(&fixture, "\n"), 6);
    assert_int_equal(count(&fixture, "\"current\":1000,"), 1);
    assert_int_equal(count(&fixture, "\"current\":2000,"), 1);
    assert_int_equal(count(&fixture, "\"current\":7,"), 1);
    assert_int_equal(count(&fixture, "Retrying in 1000 seconds"), 2);
    stop(&fixture);
}

/* For what and until when, whatever the number of layers and targets. */
static void a_wait_is_told_once(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    const struct registry_wait wait = {
        .registry = "r.example.com", .reason = "status 503", .until_ms = clock_ms() + 60000};
    static const char *const targets[] = {"t", "other"};
    static const char *const layers[] = {"aa", "bb", NULL};
    for (size_t i = 0; i < 6; i++) {
        const struct progress_event event = {.kind = PROGRESS_COUNTDOWN,
                                             .target = targets[i % 2],
                                             .id = layers[i / 2],
                                             .status = "Retrying in 60 seconds",
                                             .wait = &wait};
        progress_emit(&fixture.progress, &event);
    }
    event_stream_end(fixture.stream);
    read_all(&fixture, 4096);
    assert_int_equal(count(&fixture, "for registry r.example.com, until "), 1);
    assert_int_equal(count(&fixture, "Retrying in 60 seconds"), 4);
    assert_int_equal(count(&fixture, "\n"), 5);
    stop(&fixture);
}

static void a_line_that_has_begun_stays(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    tell_bytes(&fixture, "aa", 1);
    assert_int_equal(read_some(&fixture, 10), 10);
    tell_bytes(&fixture, "aa", 22);
    tell_bytes(&fixture, "aa", 333);
    event_stream_end(fixture.stream);
    read_all(&fixture, 10);
    assert_int_equal(count(&fixture, "\n"), 2);
    assert_int_equal(count(&fixture, "\"current\":1,"), 1);
    assert_int_equal(count(&fixture, "\"current\":333,"), 1);
    stop(&fixture);
}

/* A reader that does not read. */
static void what_waits_is_bounded(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    tell(&fixture, "t", "first", "Preparing");
    for (size_t i = 0; i < EVENT_STREAM_BYTES / 100; i++) {
        autofree char *id = xasprintf("%012zu", i);
        tell(&fixture, "t", id, "Preparing");
    }
    tell(&fixture, "t", NULL, "a message");
    tell(&fixture, "t", "first", "Waiting");
    tell(&fixture, "t", "first", "Pushed");
    struct push_target bad = {.state = PUSH_FAILED};
    fail(&bad.error, ERR_DENIED, 0, "no");
    for (size_t i = 0; i < 64; i++)
        event_stream_outcome(fixture.stream, &bad);
    event_stream_end(fixture.stream);
    assert_int_equal(read_all(&fixture, 65536), BODY_END);
    assert_in_range(fixture.text.size, EVENT_STREAM_BYTES / 8, EVENT_STREAM_BYTES / 2);
    assert_int_equal(count(&fixture, "a message"), 0);
    assert_int_equal(count(&fixture, "\"first\""), 1);
    assert_int_equal(count(&fixture, "Pushed"), 1);
    assert_int_equal(count(&fixture, "errorDetail"), 64);
    stop(&fixture);
}

static void there_is_room_again_for_who_reads(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < EVENT_STREAM_BYTES / 1000; i++) {
            autofree char *id = xasprintf("%d-%zu", round, i);
            tell(&fixture, "t", id, "Preparing");
        }
        tell(&fixture, "t", NULL, "a message");
        assert_int_equal(read_all(&fixture, 65536), 0);
    }
    assert_int_equal(count(&fixture, "Preparing"), 3 * (EVENT_STREAM_BYTES / 1000));
    assert_int_equal(count(&fixture, "a message"), 3);
    stop(&fixture);
}

static void an_empty_queue_suspends_and_a_line_resumes(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    assert_int_equal(read_some(&fixture, 100), 0);
    assert_int_equal(fixture.connection.suspended, 1);
    tell(&fixture, "t", "aa", "Waiting");
    assert_int_equal(fixture.connection.suspended, 0);
    tell(&fixture, "t", "aa", "Pushed");
    assert_int_equal(fixture.connection.suspended, 0);
    assert_int_equal(read_all(&fixture, 100), 0);
    assert_int_equal(fixture.connection.suspended, 1);
    event_stream_end(fixture.stream);
    assert_int_equal(fixture.connection.suspended, 0);
    assert_int_equal(read_some(&fixture, 100), BODY_END);
    assert_int_equal(fixture.connection.suspends, 2);
    stop(&fixture);
}

static void nothing_is_kept_for_a_reader_that_is_gone(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    tell(&fixture, "t", "aa", "Waiting");
    fixture.body.release(fixture.body.self);
    for (int i = 0; i < 10; i++)
        tell(&fixture, "t", "aa", "Pushed");
    event_stream_end(fixture.stream);
    event_stream_unref(fixture.stream);
    assert_int_equal(fixture.connection.suspends, 0);
    buf_deinit(&fixture.text);
}

#define TELLERS 4
#define EVENTS 2000

static void *teller(void *arg)
{
    struct fixture *fixture = arg;
    struct push_target bad = {.state = PUSH_FAILED};
    fail(&bad.error, ERR_DENIED, 0, "no");
    for (uint64_t i = 0; i < EVENTS; i++) {
        tell_bytes(fixture, "aa", i);
        tell(fixture, "t", "aa", "Waiting");
        event_stream_outcome(fixture->stream, &bad);
    }
    return NULL;
}

/* The HTTP thread: reads while it is not suspended. */
static void *reader(void *arg)
{
    struct fixture *fixture = arg;
    for (;;) {
        assert_true(fake_connection_wait(&fixture->connection, WAIT_MS));
        if (read_some(fixture, 300) == BODY_END)
            return NULL;
    }
}

static void many_threads_tell(void **state)
{
    (void)state;
    struct fixture fixture;
    pthread_t threads[TELLERS];
    pthread_t reading;
    start(&fixture);
    pthread_create(&reading, NULL, reader, &fixture);
    for (size_t i = 0; i < TELLERS; i++)
        pthread_create(&threads[i], NULL, teller, &fixture);
    for (size_t i = 0; i < TELLERS; i++)
        pthread_join(threads[i], NULL);
    event_stream_end(fixture.stream);
    pthread_join(reading, NULL);
    assert_int_equal(count(&fixture, "errorDetail"), TELLERS * EVENTS);
    assert_int_equal(fixture.connection.suspended, 0);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole_and_in_order),
        cmocka_unit_test(begin_and_outcomes),
        cmocka_unit_test(what_passes_gives_way_to_what_is_newer),
        cmocka_unit_test(a_wait_is_told_once),
        cmocka_unit_test(a_line_that_has_begun_stays),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(there_is_room_again_for_who_reads),
        cmocka_unit_test(an_empty_queue_suspends_and_a_line_resumes),
        cmocka_unit_test(nothing_is_kept_for_a_reader_that_is_gone),
        cmocka_unit_test(many_threads_tell),
    };
    json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
