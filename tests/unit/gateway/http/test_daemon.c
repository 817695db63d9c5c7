#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/daemon.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 20000
#define STEP_MS 20
#define REQUEST "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

static struct job *answer(void *self, const struct request *request, struct reply *reply)
{
    (void)self;
    (void)request;
    reply->status = 200;
    reply_json(reply, xstrdup("{}"));
    return NULL;
}

static struct path_shown show(const char *path)
{
    (void)path;
    return (struct path_shown){.pattern = PATH_OTHER};
}

static const struct request_handler handler = {.answer = answer, .show = show};

struct server {
    struct daemon *daemon;
    struct sockaddr_in address;
};

static void start(struct server *server, unsigned connections, int64_t deadline_ms)
{
    struct error err = ERROR_INIT;
    struct sockaddr_storage storage = {0};
    unsigned port = 0;
    server->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&storage, &server->address, sizeof server->address);
    const struct daemon_options options = {.handler = &handler,
                                           .threads = 2,
                                           .connections = connections,
                                           .head_ms = deadline_ms,
                                           .idle_ms = deadline_ms,
                                           .drain_ms = deadline_ms};
    assert_int_equal(daemon_start(&options, &server->daemon, &err), ERR_OK);
    assert_int_equal(daemon_listen(server->daemon, &storage, sizeof server->address, &port, &err),
                     ERR_OK);
    server->address.sin_port = htons((uint16_t)port);
}

/* From 127.0.0.LAST. */
static int visit(const struct server *server, uint8_t last, const char *text)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000U + last)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(client, (const struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(
        connect(client, (const struct sockaddr *)&server->address, sizeof server->address), 0);
    assert_int_equal(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return client;
}

static bool readable(int client, int64_t ms)
{
    struct pollfd item = {.fd = client, .events = POLLIN};
    return poll(&item, 1, (int)ms) == 1;
}

/* What comes until the end of the connection, while a byte goes there now and then. */
static void drip(int client, const char *byte, char text[1000])
{
    size_t size = 0;
    int64_t until_ms = clock_ms() + WAIT_MS;
    for (bool open = true; open;) {
        assert_true(clock_ms() < until_ms);
        ssize_t sent = send(client, byte, 1, MSG_NOSIGNAL);
        (void)sent;
        if (!readable(client, STEP_MS))
            continue;
        ssize_t got = recv(client, text + size, 999 - size, 0);
        size += got > 0 ? (size_t)got : 0;
        open = got > 0;
    }
    text[size] = '\0';
    close(client);
}

static void expect_answer(int client, const char *wanted)
{
    char text[1000] = "";
    assert_true(readable(client, WAIT_MS));
    ssize_t got = recv(client, text, sizeof text - 1, 0);
    assert_true(got > 0);
    assert_non_null(strstr(text, wanted));
}

static void no_byte_puts_a_deadline_off(void **state)
{
    (void)state;
    char text[1000];
    struct server server;
    start(&server, 10, 300);
    int head = visit(&server, 1, "G");
    int next = visit(&server, 1, REQUEST);
    int body =
        visit(&server, 1, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
    expect_answer(next, "200 OK");
    drip(head, "E", text);
    assert_non_null(strstr(text, "CLIENT_STALLED"));
    drip(next, "G", text);
    assert_string_equal(text, "");
    drip(body, "x", text);
    assert_non_null(strstr(text, "CLIENT_STALLED"));
    daemon_stop(server.daemon);
}

static void half_requests_keep_nobody_out(void **state)
{
    (void)state;
    enum { MAX = 8 };
    int half[MAX];
    struct server server;
    start(&server, MAX, WAIT_MS);
    for (int i = 0; i < MAX; i++)
        half[i] = visit(&server, 1, "GET / HTTP");
    for (uint8_t last = 1; last < 5; last++) {
        int client = visit(&server, last, REQUEST);
        expect_answer(client, "200 OK");
        close(client);
    }
    for (int i = 0; i < MAX; i++)
        close(half[i]);
    daemon_stop(server.daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_puts_a_deadline_off),
        cmocka_unit_test(half_requests_keep_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
