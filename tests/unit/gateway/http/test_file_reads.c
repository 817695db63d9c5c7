#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "gateway/http/file_reads.h"
#include "tests/support/http_daemon.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file of a kind that is never read without waiting (RWF_NOWAIT is EOPNOTSUPP): as one on a disk
 * whose bytes are not in memory. */
#define COLD "/proc/version"
#define WARM_BYTES (FILE_READ_BYTES + 1000)

struct fixture {
    struct executor *executor;
    struct file_reads *reads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned suspends;
    unsigned resumes;
    bool gated; /* readers stay with the connection that they resume */
    unsigned at_gate;
    unsigned most_at_gate;
    char cold[1024];
    size_t cold_size;
};

static void suspend(void *arg)
{
    struct fixture *fixture = arg;
    pthread_mutex_lock(&fixture->lock);
    fixture->suspends++;
    pthread_mutex_unlock(&fixture->lock);
}

static void resume(void *arg)
{
    struct fixture *fixture = arg;
    pthread_mutex_lock(&fixture->lock);
    fixture->resumes++;
    if (++fixture->at_gate > fixture->most_at_gate)
        fixture->most_at_gate = fixture->at_gate;
    pthread_cond_broadcast(&fixture->changed);
    while (fixture->gated)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    fixture->at_gate--;
    pthread_mutex_unlock(&fixture->lock);
}

static void wait_resumed(struct fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    while (fixture->resumes < fixture->suspends)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
}

static void start(struct fixture *fixture)
{
    struct error err = ERROR_INIT;
    const struct executor_options options = {.threads_max = 2 * FILE_READS_MAX};
    *fixture =
        (struct fixture){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    assert_int_equal(executor_new(&options, &fixture->executor, &err), ERR_OK);
    fixture->reads = file_reads_new(fixture->executor);
    int fd = open(COLD, O_RDONLY | O_CLOEXEC);
    fixture->cold_size = (size_t)read(fd, fixture->cold, sizeof fixture->cold - 1);
    close(fd);
    assert_true(fixture->cold_size > 10);
}

static void stop(struct fixture *fixture)
{
    file_reads_close(fixture->reads);
    file_reads_free(fixture->reads);
    executor_free(fixture->executor);
    assert_int_equal(fixture->suspends, fixture->resumes);
}

static int cold_file(void)
{
    return open(COLD, O_RDONLY | O_CLOEXEC);
}

/* Just written, so it is in memory. Its bytes count up. */
static int warm_file(void)
{
    char name[] = "file_reads.XXXXXX";
    int fd = mkstemp(name);
    uint8_t *data = xmalloc(WARM_BYTES);
    for (size_t i = 0; i < WARM_BYTES; i++)
        data[i] = (uint8_t)(i % 251);
    assert_int_equal(write(fd, data, WARM_BYTES), WARM_BYTES);
    unlink(name);
    free(data);
    return fd;
}

static struct body_source body_of(struct fixture *fixture, int fd, uint64_t offset, uint64_t size)
{
    const struct suspendable connection = {
        .suspend = suspend, .resume = resume, .connection = fixture};
    return file_body(fixture->reads, fd, offset, size, connection);
}

/* At most `size` bytes into `out`, `piece` at a time, waiting where the connection does; what the
 * last read said instead of bytes goes to *end. */
static size_t read_all(struct fixture *fixture, struct body_source *body, char *out, size_t size,
                       size_t piece, ssize_t *end)
{
    size_t have = 0;
    ssize_t got = 0;
    while (have < size) {
        got = body->read(body->self, out + have, size - have < piece ? size - have : piece);
        if (got < 0)
            break;
        have += (size_t)got;
        if (got == 0)
            wait_resumed(fixture);
    }
    *end = got;
    body->release(body->self);
    return have;
}

static void what_is_in_memory_is_read_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    char *out = xmalloc(WARM_BYTES);
    ssize_t end;
    struct body_source body = body_of(&fixture, warm_file(), 7, WARM_BYTES - 7);
    assert_int_equal(read_all(&fixture, &body, out, WARM_BYTES - 7, 1000, &end), WARM_BYTES - 7);
    for (size_t i = 0; i < WARM_BYTES - 7; i++)
        assert_int_equal((uint8_t)out[i], (i + 7) % 251);
    free(out);
    stop(&fixture);
    assert_int_equal(fixture.suspends, 0);
}

static void what_is_not_is_read_while_the_connection_waits(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    char out[1024];
    ssize_t end;
    struct body_source whole = body_of(&fixture, cold_file(), 0, fixture.cold_size);
    assert_int_equal(read_all(&fixture, &whole, out, fixture.cold_size, 3, &end),
                     fixture.cold_size);
    assert_memory_equal(out, fixture.cold, fixture.cold_size);
    assert_int_equal(fixture.suspends, 1);
    struct body_source part = body_of(&fixture, cold_file(), 5, 4);
    assert_int_equal(read_all(&fixture, &part, out, 4, sizeof out, &end), 4);
    assert_memory_equal(out, fixture.cold + 5, 4);
    stop(&fixture);
}

/* Each reader fills a block of its own; nobody who sends has anything to do with the disk. */
static void so_many_are_read_at_once(void **state)
{
    (void)state;
    enum { BODIES = 2 * FILE_READS_MAX };
    struct fixture fixture;
    struct body_source bodies[BODIES];
    char out[1024];
    start(&fixture);
    fixture.gated = true;
    for (size_t i = 0; i < BODIES; i++) {
        bodies[i] = body_of(&fixture, cold_file(), 0, fixture.cold_size);
        assert_int_equal(bodies[i].read(bodies[i].self, out, sizeof out), 0);
    }
    pthread_mutex_lock(&fixture.lock);
    while (fixture.at_gate < FILE_READS_MAX)
        pthread_cond_wait(&fixture.changed, &fixture.lock);
    assert_int_equal(fixture.resumes, FILE_READS_MAX);
    fixture.gated = false;
    pthread_cond_broadcast(&fixture.changed);
    pthread_mutex_unlock(&fixture.lock);
    wait_resumed(&fixture);
    for (size_t i = 0; i < BODIES; i++) {
        assert_int_equal(bodies[i].read(bodies[i].self, out, sizeof out), fixture.cold_size);
        assert_memory_equal(out, fixture.cold, fixture.cold_size);
        bodies[i].release(bodies[i].self);
    }
    stop(&fixture);
    assert_int_equal(fixture.most_at_gate, FILE_READS_MAX);
}

static void a_file_that_lost_bytes_breaks_off(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    char *out = xmalloc(WARM_BYTES + 1);
    ssize_t end;
    struct body_source body = body_of(&fixture, warm_file(), 0, WARM_BYTES + 1);
    assert_int_equal(read_all(&fixture, &body, out, WARM_BYTES + 1, 100000, &end), WARM_BYTES);
    assert_int_equal(end, BODY_BROKEN);
    free(out);
    stop(&fixture);
}

static void once_closed_no_connection_is_suspended(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    file_reads_close(fixture.reads);
    char out[100];
    ssize_t end;
    struct body_source cold = body_of(&fixture, cold_file(), 0, 10);
    assert_int_equal(read_all(&fixture, &cold, out, 10, 10, &end), 0);
    assert_int_equal(end, BODY_BROKEN);
    struct body_source warm = body_of(&fixture, warm_file(), 0, 10);
    assert_int_equal(read_all(&fixture, &warm, out, 10, 10, &end), 10);
    stop(&fixture);
    assert_int_equal(fixture.suspends, 0);
}

static void answer(void *self, const struct request *request, struct reply *reply)
{
    (void)request;
    const struct fixture *fixture = self;
    reply_file(reply, cold_file(), 1, fixture->cold_size - 1);
}

static void a_client_gets_it_with_its_length(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    struct http_daemon daemon = {.answer = answer, .self = &fixture, .reads = fixture.reads};
    autobuf struct buf text = BUF_INIT(10000);
    autofree char *length = xasprintf("Content-Length: %zu\r\n", fixture.cold_size - 1);
    http_daemon_start(&daemon);
    http_daemon_ask(&daemon, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &text);
    assert_non_null(strstr(buf_cstr(&text), length));
    assert_string_equal(strstr(buf_cstr(&text), "\r\n\r\n") + 4, fixture.cold + 1);
    http_daemon_ask(&daemon, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &text);
    assert_non_null(strstr(buf_cstr(&text), length));
    assert_string_equal(strstr(buf_cstr(&text), "\r\n\r\n") + 4, "");
    file_reads_close(fixture.reads);
    http_daemon_stop(&daemon);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_memory_is_read_at_once),
        cmocka_unit_test(what_is_not_is_read_while_the_connection_waits),
        cmocka_unit_test(so_many_are_read_at_once),
        cmocka_unit_test(a_file_that_lost_bytes_breaks_off),
        cmocka_unit_test(once_closed_no_connection_is_suspended),
        cmocka_unit_test(a_client_gets_it_with_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
