#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/listener.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ANSWER "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno TLS"
#define WAIT_MS 10000

/* A server that answers each connection with its first byte and closes it. */
struct server {
    pthread_mutex_t lock;
    unsigned connections;
    size_t (*make_room)(void);
    struct listener *listener;
    struct sockaddr_storage address;
};

static void connected(void *self, int socket, const struct sockaddr *address, socklen_t size,
                      int64_t since_ms)
{
    assert_in_range(since_ms, clock_ms() - WAIT_MS, clock_ms());
    struct server *server = self;
    uint8_t data[16];
    assert_int_equal(address->sa_family, server->address.ss_family);
    assert_true(size > 0);
    ssize_t got = recv(socket, data, 1, 0);
    assert_int_equal(got, 1);
    assert_int_equal(send(socket, data, 1, MSG_NOSIGNAL), 1);
    close(socket);
    pthread_mutex_lock(&server->lock);
    server->connections++;
    pthread_mutex_unlock(&server->lock);
}

static void loopback(struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    *address = (struct sockaddr_storage){0};
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void start_answering(struct server *server, const char *tls_answer, const char *plain_answer,
                            size_t waiting_max, int64_t timeout_ms)
{
    struct error err = ERROR_INIT;
    *server = (struct server){.lock = PTHREAD_MUTEX_INITIALIZER, .make_room = server->make_room};
    loopback(&server->address);
    const struct listener_options options = {.address = &server->address,
                                             .address_size = sizeof(struct sockaddr_in),
                                             .tls_answer = tls_answer,
                                             .plain_answer = plain_answer,
                                             .waiting_max = waiting_max,
                                             .timeout_ms = timeout_ms,
                                             .connected = connected,
                                             .self = server,
                                             .make_room = server->make_room};
    assert_int_equal(listener_open(&options, &server->listener, &err), ERR_OK);
    ((struct sockaddr_in *)&server->address)->sin_port = htons(listener_port(server->listener));
    assert_int_not_equal(listener_port(server->listener), 0);
}

static void start(struct server *server, const char *tls_answer, size_t waiting_max,
                  int64_t timeout_ms)
{
    start_answering(server, tls_answer, NULL, waiting_max, timeout_ms);
}

static int visit(const struct server *server)
{
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client >= 0);
    assert_int_equal(
        connect(client, (const struct sockaddr *)&server->address, sizeof(struct sockaddr_in)), 0);
    return client;
}

/* All that comes until the end of the connection. */
static void read_to_end(int client, char text[200])
{
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < 199; size += (size_t)(got > 0 ? got : 0)) {
        struct pollfd item = {.fd = client, .events = POLLIN};
        assert_int_equal(poll(&item, 1, WAIT_MS), 1);
        got = recv(client, text + size, 199 - size, 0);
        assert_true(got >= 0);
    }
    text[size] = '\0';
}

static void expect(const struct server *server, const void *data, size_t size, const char *wanted)
{
    char text[200];
    int client = visit(server);
    assert_int_equal(send(client, data, size, MSG_NOSIGNAL), size);
    read_to_end(client, text);
    assert_string_equal(text, wanted);
    close(client);
}

static void tls_is_answered_at_its_first_byte(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    char long_hello[20000] = "\x16\x03\x01";
    start(&server, ANSWER, 10, WAIT_MS);
    expect(&server, "\x16", 1, ANSWER);
    expect(&server, "\x16\x03\x01\x02\x00\x01", 6, ANSWER);
    expect(&server, "\x16\nGET / HTTP/1.1\r\n\r\n", 20, ANSWER);
    expect(&server, long_hello, sizeof long_hello, ANSWER);
    assert_int_equal(server.connections, 0);
    expect(&server, "\x15", 1, "\x15");
    expect(&server, "\x17", 1, "\x17");
    expect(&server, "G", 1, "G");
    listener_close(server.listener);
    assert_int_equal(server.connections, 3);
}

static void where_tls_is_spoken_it_is_handed_over(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    start(&server, NULL, 10, WAIT_MS);
    expect(&server, "\x16", 1, "\x16");
    expect(&server, "G", 1, "G");
    listener_close(server.listener);
    assert_int_equal(server.connections, 2);
}

static void plain_http_is_answered_where_tls_is_spoken(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    char long_request[20000] = "PUT / HTTP/1.1\r\n";
    start_answering(&server, NULL, ANSWER, 10, WAIT_MS);
    expect(&server, "G", 1, ANSWER);
    expect(&server, "get / HTTP/1.1\r\n\r\n", 18, ANSWER);
    expect(&server, long_request, sizeof long_request, ANSWER);
    assert_int_equal(server.connections, 0);
    expect(&server, "\x16", 1, "\x16");
    expect(&server, "\n", 1, "\n");
    expect(&server, "\xe9", 1, "\xe9");
    listener_close(server.listener);
    assert_int_equal(server.connections, 3);
}

static void one_that_waits_too_long_is_closed(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    char text[200];
    start(&server, ANSWER, 10, 50);
    int64_t before = clock_ms();
    int client = visit(&server);
    read_to_end(client, text);
    assert_string_equal(text, "");
    assert_true(clock_ms() - before >= 50);
    close(client);
    expect(&server, "G", 1, "G");
    listener_close(server.listener);
}

/* Is the connection still open? */
static bool open_still(int client)
{
    struct pollfd item = {.fd = client, .events = POLLIN};
    return poll(&item, 1, 0) == 0;
}

static void the_oldest_gives_way_when_too_many_wait(void **state)
{
    (void)state;
    enum { MAX = 4 };
    struct server server = {.make_room = NULL};
    int clients[MAX + 1];
    char text[200];
    start(&server, ANSWER, MAX, WAIT_MS);
    for (int i = 0; i < MAX - 1; i++)
        clients[i] = visit(&server);
    /* A connection that was served after another was accepted before it. */
    expect(&server, "G", 1, "G");
    clients[MAX - 1] = visit(&server);
    for (int i = 0; i < MAX; i++)
        assert_true(open_still(clients[i]));
    clients[MAX] = visit(&server);
    read_to_end(clients[0], text);
    assert_string_equal(text, "");
    for (int i = 1; i <= MAX; i++) {
        assert_int_equal(send(clients[i], "G", 1, MSG_NOSIGNAL), 1);
        read_to_end(clients[i], text);
        assert_string_equal(text, "G");
    }
    for (int i = 0; i <= MAX; i++)
        close(clients[i]);
    listener_close(server.listener);
}

static void closing_ends_those_that_wait(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    char text[200];
    start(&server, ANSWER, 10, WAIT_MS);
    int client = visit(&server);
    listener_close(server.listener);
    struct pollfd item = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&item, 1, WAIT_MS), 1);
    assert_true(recv(client, text, sizeof text, 0) <= 0);
    close(client);
    listener_close(NULL);
}

static void an_address_in_use_is_refused(void **state)
{
    (void)state;
    struct server server = {.make_room = NULL};
    struct listener *second = NULL;
    struct error err = ERROR_INIT;
    start(&server, ANSWER, 10, WAIT_MS);
    const struct listener_options options = {.address = &server.address,
                                             .address_size = sizeof(struct sockaddr_in),
                                             .waiting_max = 1,
                                             .timeout_ms = 1,
                                             .connected = connected,
                                             .self = &server};
    assert_int_equal(listener_open(&options, &second, &err), ERR_SETTINGS);
    assert_null(second);
    listener_close(server.listener);
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void *visitor_thread(void *arg)
{
    struct server *server = arg;
    static const char tls[] = "\x16\x03\x01\x00\x05hello";
    for (int i = 0; i < 200; i++) {
        if (i % 3 == 0)
            expect(server, tls, sizeof tls, ANSWER);
        else if (i % 3 == 1)
            expect(server, "G", 1, "G");
        else
            close(visit(server));
    }
    return NULL;
}

static void many_at_once_are_not_mixed_up(void **state)
{
    (void)state;
    pthread_t threads[8];
    struct server server = {.make_room = NULL};
    unsigned before = descriptors();
    start(&server, ANSWER, 1000, WAIT_MS);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visitor_thread, &server), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    listener_close(server.listener);
    assert_int_equal(server.connections, 8 * 67);
    assert_int_equal(descriptors(), before);
}

/* ---- without descriptors ---- */

#define HELD_MAX 256

static struct {
    pthread_mutex_t lock; /* guards the descriptors */
    int fds[HELD_MAX];
    size_t count;
    atomic_uint asked;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void hold_all_descriptors(void)
{
    pthread_mutex_lock(&held.lock);
    for (int fd; held.count < HELD_MAX && (fd = dup(STDERR_FILENO)) >= 0;)
        held.fds[held.count++] = fd;
    size_t count = held.count;
    pthread_mutex_unlock(&held.lock);
    assert_true(count > 0 && count < HELD_MAX);
}

static size_t give_one_back(void)
{
    atomic_fetch_add(&held.asked, 1);
    pthread_mutex_lock(&held.lock);
    bool given = held.count > 0;
    if (given)
        close(held.fds[--held.count]);
    pthread_mutex_unlock(&held.lock);
    return given;
}

static size_t give_none_back(void)
{
    atomic_fetch_add(&held.asked, 1);
    return 0;
}

static void without_descriptors(size_t (*make_room)(void), int64_t quiet_ms)
{
    char text[200];
    struct rlimit before;
    struct server server = {.make_room = make_room};
    start(&server, ANSWER, 10, WAIT_MS);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit small = {.rlim_cur = 100, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    atomic_store(&held.asked, 0);
    hold_all_descriptors();
    assert_int_equal(
        connect(client, (const struct sockaddr *)&server.address, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(send(client, "G", 1, MSG_NOSIGNAL), 1);
    struct pollfd item = {.fd = client, .events = POLLIN};
    if (quiet_ms > 0) {
        assert_int_equal(poll(&item, 1, (int)quiet_ms), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    read_to_end(client, text);
    assert_string_equal(text, "G");
    listener_close(server.listener);
    close(client);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (held.count > 0)
        close(held.fds[--held.count]);
}

static void others_make_room_for_a_connection(void **state)
{
    (void)state;
    without_descriptors(give_one_back, 0);
    assert_in_range(atomic_load(&held.asked), 1, 3);
}

static void where_there_is_no_room_it_waits_without_a_busy_loop(void **state)
{
    (void)state;
    without_descriptors(give_none_back, 500);
    assert_in_range(atomic_load(&held.asked), 1, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_is_answered_at_its_first_byte),
        cmocka_unit_test(where_tls_is_spoken_it_is_handed_over),
        cmocka_unit_test(plain_http_is_answered_where_tls_is_spoken),
        cmocka_unit_test(one_that_waits_too_long_is_closed),
        cmocka_unit_test(the_oldest_gives_way_when_too_many_wait),
        cmocka_unit_test(closing_ends_those_that_wait),
        cmocka_unit_test(an_address_in_use_is_refused),
        cmocka_unit_test(many_at_once_are_not_mixed_up),
        cmocka_unit_test(others_make_room_for_a_connection),
        cmocka_unit_test(where_there_is_no_room_it_waits_without_a_busy_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
