#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/clock.h"
#include "gateway/http/connections.h"
#include "gateway/http/jobs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MS 1000
#define IDLE_MS 5000
#define DRAIN_MS 2000
#define LATE "HTTP/1.1 408 late\r\n\r\n"

/* The two ends of a connection; the HTTP server is the test. */
struct visit {
    int client;
    int socket;
    struct connection *connection;
};

static struct connections *table(size_t max, const char *late)
{
    const struct connections_options options = {.max = max,
                                                .head_ms = HEAD_MS,
                                                .idle_ms = IDLE_MS,
                                                .drain_ms = DRAIN_MS,
                                                .late_answer = late};
    return connections_new(&options);
}

static struct net_address address_of(uint8_t last)
{
    struct net_address address = {{[10] = 0xFF, [11] = 0xFF, [12] = 127, [15] = last}};
    return address;
}

static void tcp_pair(int ends[2])
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&own, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&own, &size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* So that its kernel takes far less than CLIENT_PACE_BYTES for it. */
    const int room = 4096;
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&own, size), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
}

static bool visit_by(struct connections *connections, const int ends[2], uint8_t address,
                     int64_t since_ms, struct visit *out)
{
    *out = (struct visit){.client = ends[0], .socket = ends[1]};
    if (!connections_admit(connections, ends[1], address_of(address), since_ms)) {
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    out->connection = connection_open(connections, ends[1], address_of(address));
    return true;
}

static bool visit(struct connections *connections, uint8_t address, int64_t since_ms,
                  struct visit *out)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return visit_by(connections, ends, address, since_ms, out);
}

static void leave(struct visit *visit)
{
    connection_close(visit->connection);
    close(visit->socket);
    close(visit->client);
}

/* What the client has got; true: and then the end of the connection. */
static bool ended(const struct visit *visit, const char *wanted)
{
    char text[200] = "";
    ssize_t got = recv(visit->client, text, sizeof text - 1, MSG_DONTWAIT);
    if (got > 0) {
        assert_string_equal(text, wanted);
        got = recv(visit->client, text, sizeof text, MSG_DONTWAIT);
    }
    return got == 0;
}

static void headers_have_a_deadline_from_accept(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct connections *connections = table(10, plain ? LATE : NULL);
        int64_t now_ms = clock_ms();
        struct visit early;
        struct visit late;
        assert_true(visit(connections, 1, now_ms, &early));
        assert_true(visit(connections, 1, now_ms - HEAD_MS / 2, &late));
        assert_true(connection_begins(early.connection));
        connections_sweep(connections, now_ms + HEAD_MS / 2 - 1, false);
        assert_false(ended(&late, ""));
        connections_sweep(connections, now_ms + HEAD_MS / 2, false);
        assert_true(ended(&late, plain ? LATE : ""));
        assert_false(connection_begins(late.connection));
        connections_sweep(connections, now_ms + 100 * HEAD_MS, false);
        assert_false(ended(&early, ""));
        leave(&early);
        leave(&late);
        connections_free(connections);
    }
}

static void one_without_a_request_ends_in_time(void **state)
{
    (void)state;
    struct connections *connections = table(10, LATE);
    struct visit idle;
    assert_true(visit(connections, 1, clock_ms(), &idle));
    assert_true(connection_begins(idle.connection));
    connection_answers(idle.connection);
    connection_rests(idle.connection);
    int64_t before_ms = clock_ms();
    connections_sweep(connections, before_ms - 1000 + IDLE_MS, false);
    assert_false(ended(&idle, ""));
    connections_sweep(connections, before_ms + IDLE_MS, false);
    assert_true(ended(&idle, "")); /* an answer would be taken for that of the next request */
    leave(&idle);
    connections_free(connections);
}

static void a_body_that_nobody_reads_has_a_pace(void **state)
{
    (void)state;
    struct connections *connections = table(10, LATE);
    struct visit slow;
    struct visit fast;
    struct visit *both[] = {&slow, &fast};
    for (int i = 0; i < 2; i++) {
        assert_true(visit(connections, 1, clock_ms(), both[i]));
        assert_true(connection_begins(both[i]->connection));
    }
    /* A job's is the job's affair, until that has answered. */
    connections_sweep(connections, clock_ms() + 100 * DRAIN_MS, true);
    connections_answered(connections, connection_id(slow.connection));
    connection_drains(fast.connection);
    connection_got(slow.connection, CLIENT_PACE_BYTES - 1);
    connection_got(fast.connection, CLIENT_PACE_BYTES);
    connections_sweep(connections, clock_ms() + DRAIN_MS - 1000, false);
    assert_false(ended(&slow, ""));
    connections_sweep(connections, clock_ms() + DRAIN_MS, false);
    assert_true(ended(&slow, LATE));
    assert_false(ended(&fast, ""));
    connections_sweep(connections, clock_ms() + DRAIN_MS, false);
    assert_true(ended(&fast, LATE)); /* a window later, without a byte more */
    leave(&slow);
    leave(&fast);
    connections_free(connections);
}

static void an_answer_does_not_wait_for_the_body(void **state)
{
    (void)state;
    struct connections *connections = table(10, LATE);
    struct visit at;
    assert_true(visit(connections, 1, clock_ms(), &at));
    uint64_t id = connection_id(at.connection);
    connections_end(connections, id, "too early"); /* no headers */
    assert_true(connection_begins(at.connection));
    connection_waits(at.connection);
    connections_end(connections, id, "too late"); /* the HTTP server answers that */
    assert_false(ended(&at, ""));
    connection_rests(at.connection);
    assert_true(connection_begins(at.connection));
    connections_end(connections, id + 1, "somebody else's");
    connections_end(connections, id, "now");
    connections_end(connections, id, "twice");
    assert_true(ended(&at, "now"));
    /* What the client still sends is read for a while. */
    char data;
    assert_int_equal(send(at.client, "x", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(at.socket, &data, 1, MSG_DONTWAIT), 1);
    connections_sweep(connections, clock_ms() + LINGER_MS, false);
    assert_int_equal(recv(at.socket, &data, 1, MSG_DONTWAIT), 0);
    leave(&at);
    connections_end(connections, id, "gone");
    connections_end(NULL, id, "nobody");
    connections_free(connections);
}

/* As much of an answer as the sockets take. */
static void fill(const struct visit *visit)
{
    static const char block[16384];
    while (send(visit->socket, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
}

static void take(const struct visit *visit, size_t bytes)
{
    char block[4096];
    while (bytes > 0) {
        fill(visit);
        ssize_t got = recv(visit->client, block, bytes < sizeof block ? bytes : sizeof block, 0);
        assert_true(got > 0);
        bytes -= (size_t)got;
    }
}

/* Of one request; the next on the connection has none. */
static void an_answer_may_have_a_deadline(void **state)
{
    (void)state;
    struct connections *connections = table(10, LATE);
    struct visit late;
    struct visit next;
    struct visit *both[] = {&late, &next};
    int64_t end_ms = clock_ms() + 100 * DRAIN_MS;
    for (int i = 0; i < 2; i++) {
        assert_true(visit(connections, 1, clock_ms(), both[i]));
        assert_true(connection_begins(both[i]->connection));
        connections_end_by(connections, connection_id(both[i]->connection), end_ms);
        connection_waits(both[i]->connection);
    }
    connection_rests(next.connection);
    assert_true(connection_begins(next.connection));
    connection_waits(next.connection);
    connections_sweep(connections, end_ms - 1, false);
    assert_false(ended(&late, ""));
    connections_sweep(connections, end_ms, false);
    assert_true(ended(&late, ""));
    assert_false(ended(&next, ""));
    uint64_t gone = connection_id(late.connection);
    leave(&late);
    leave(&next);
    connections_end_by(connections, gone, end_ms);
    connections_end_by(NULL, gone, end_ms);
    connections_free(connections);
}

/* When it stops, an answer that waits for its client has a pace, and a job that works has not. */
static void an_answer_that_nobody_takes_does_not_hold_up_the_end(void **state)
{
    (void)state;
    enum { SILENT, TAKING, WORKING, COUNT };
    struct connections *connections = table(10, LATE);
    struct visit all[COUNT];
    int64_t now_ms = clock_ms();
    for (int i = 0; i < COUNT; i++) {
        int ends[2];
        tcp_pair(ends);
        assert_true(visit_by(connections, ends, 1, now_ms, &all[i]));
        assert_true(connection_begins(all[i].connection));
        connection_waits(all[i].connection);
        if (i != WORKING)
            fill(&all[i]);
    }
    connections_sweep(connections, now_ms + 100 * IDLE_MS, false);
    connections_sweep(connections, now_ms, true);
    connections_sweep(connections, now_ms + STOPPING_ANSWER_MS - 1, true);
    assert_false(connection_ended(all[SILENT].connection));
    take(&all[TAKING], 2 * CLIENT_PACE_BYTES);
    connections_sweep(connections, now_ms + STOPPING_ANSWER_MS, true);
    assert_true(connection_ended(all[SILENT].connection));
    assert_false(connection_ended(all[TAKING].connection));
    connections_sweep(connections, now_ms + 2 * STOPPING_ANSWER_MS, true);
    assert_true(connection_ended(all[TAKING].connection)); /* a window later, with none more */
    connections_sweep(connections, now_ms + 100 * STOPPING_ANSWER_MS, true);
    assert_false(connection_ended(all[WORKING].connection));
    for (int i = 0; i < COUNT; i++)
        leave(&all[i]);
    connections_free(connections);
}

/* Who has more than half makes room, what is begun goes last, and others are served. */
static void the_address_with_most_makes_room(void **state)
{
    (void)state;
    enum { MAX = 6 };
    struct connections *connections = table(MAX, LATE);
    struct visit heavy[MAX];
    struct visit other[MAX];
    int64_t now_ms = clock_ms();
    for (int i = 0; i < MAX; i++)
        assert_true(visit(connections, 1, now_ms + i, &heavy[i]));
    assert_true(connection_begins(heavy[0].connection)); /* for a job */
    assert_true(connection_begins(heavy[1].connection));
    connection_answers(heavy[1].connection);
    assert_true(connection_begins(heavy[2].connection));
    connection_rests(heavy[2].connection);
    /* Those without headers, the oldest first. */
    assert_true(visit(connections, 2, now_ms, &other[0]));
    assert_true(ended(&heavy[3], "") && !ended(&heavy[4], ""));
    assert_true(connection_begins(other[0].connection));
    assert_true(visit(connections, 2, now_ms - 1, &other[1]));
    assert_true(ended(&heavy[4], "") && !ended(&heavy[5], ""));
    assert_true(visit(connections, 3, now_ms, &other[2]));
    assert_true(ended(&heavy[5], ""));
    /* Nobody has more than half: any without headers. */
    assert_true(visit(connections, 3, now_ms, &other[3]));
    assert_true(ended(&other[1], "") && !ended(&other[2], ""));
    /* Then any without a request, and whom nothing ends for is refused. */
    assert_true(connection_begins(other[2].connection) && connection_begins(other[3].connection));
    assert_true(visit(connections, 3, now_ms, &other[4]));
    assert_true(ended(&heavy[2], ""));
    assert_true(connection_begins(other[4].connection));
    assert_false(visit(connections, 4, now_ms, &other[5]));
    for (int i = 0; i < MAX; i++)
        leave(&heavy[i]);
    for (int i = 0; i < MAX - 1; i++)
        leave(&other[i]);
    connections_free(connections);
}

static void requests_of_one_address_keep_nobody_out(void **state)
{
    (void)state;
    enum { MAX = 4 };
    struct connections *connections = table(MAX, LATE);
    struct visit heavy[MAX];
    struct visit other;
    for (int i = 0; i < MAX; i++) {
        assert_true(visit(connections, 1, clock_ms(), &heavy[i]));
        assert_true(connection_begins(heavy[i].connection));
    }
    /* Jobs are bounded elsewhere. */
    assert_false(visit(connections, 2, clock_ms(), &other));
    connection_answers(heavy[2].connection);
    assert_false(visit(connections, 1, clock_ms(), &other));
    assert_true(visit(connections, 2, clock_ms(), &other));
    assert_true(ended(&heavy[2], ""));
    for (int i = 0; i < MAX; i++)
        leave(&heavy[i]);
    leave(&other);
    connections_free(connections);
}

/* Of answers those of the address with most end, also when that has no more than half. */
static void an_answer_ends_for_who_has_fewer(void **state)
{
    (void)state;
    enum { MAX = 4 };
    struct connections *connections = table(MAX, LATE);
    struct visit all[MAX];
    struct visit other;
    for (uint8_t i = 0; i < MAX; i++) {
        assert_true(visit(connections, i < 2 ? 1 : i, clock_ms(), &all[i]));
        assert_true(connection_begins(all[i].connection));
        connection_answers(all[i].connection);
    }
    assert_false(visit(connections, 3, clock_ms(), &other));
    assert_true(visit(connections, 9, clock_ms(), &other));
    assert_true(ended(&all[0], "") != ended(&all[1], ""));
    for (int i = 0; i < MAX; i++)
        leave(&all[i]);
    leave(&other);
    connections_free(connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_have_a_deadline_from_accept),
        cmocka_unit_test(one_without_a_request_ends_in_time),
        cmocka_unit_test(a_body_that_nobody_reads_has_a_pace),
        cmocka_unit_test(an_answer_does_not_wait_for_the_body),
        cmocka_unit_test(an_answer_may_have_a_deadline),
        cmocka_unit_test(an_answer_that_nobody_takes_does_not_hold_up_the_end),
        cmocka_unit_test(the_address_with_most_makes_room),
        cmocka_unit_test(an_answer_ends_for_who_has_fewer),
        cmocka_unit_test(requests_of_one_address_keep_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
