/*
 * The orderly end of a whole server, against a registry double that is silent where a test wants
 * it.
 */
#include "gateway/server/server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DESCRIPTORS 256
#define ANSWER_LIMIT ((size_t)1 << 16)

/* A server above a registry double, with what `slipway serve` has without a configuration. */
struct bench {
    struct queue_test *test;
    struct settings *settings;
    struct server *server;
    in_port_t port;
};

static void never_broken(void)
{
    fail_msg("the store is broken");
}

/* Of the socket that listens and is not the double's. */
static in_port_t find_port(const struct bench *bench)
{
    in_port_t theirs = htons((uint16_t)http_double_port(bench->test->http));
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        struct sockaddr_in own = {0};
        socklen_t size = sizeof own;
        int listens = 0;
        socklen_t listens_size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) == 0 && listens &&
            getsockname(fd, (struct sockaddr *)&own, &size) == 0 && own.sin_port != theirs)
            return own.sin_port;
    }
    fail_msg("no socket listens");
    return 0;
}

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    bench->test = queue_test_new();
    queue_test_close(bench->test);
    assert_int_equal(settings_load(NULL, &bench->settings, &err), ERR_OK);
    bench->test->settings = *bench->settings;
    bench->test->settings.listen = "127.0.0.1:0";
    bench->test->settings.data = bench->test->push->folder; /* where control.sock is, too */
    assert_int_equal(server_start(&bench->test->runtime, NULL, never_broken, &bench->server, &err),
                     ERR_OK);
    bench->port = find_port(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    queue_test_free(bench->test);
    settings_free(bench->settings);
    free(bench);
    return 0;
}

static int ask(const struct bench *bench, const char *head, const char *body, size_t size)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = bench->port};
    autofree char *text =
        xasprintf("%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n%s",
                  head, size, body);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return client;
}

/* A request whose body the server waits for, and which does not come. */
static int begin(const struct bench *bench, const char *line)
{
    static const char wanted[] = "HTTP/1.1 100 ";
    autofree char *head = xasprintf("%s HTTP/1.1\r\nExpect: 100-continue\r\nX-Rest:", line);
    char text[sizeof wanted] = "";
    int client = ask(bench, head, "", 1000);
    assert_int_equal(recv(client, text, sizeof wanted - 1, MSG_WAITALL), sizeof wanted - 1);
    assert_string_equal(text, wanted);
    return client;
}

/* All that comes until the end of the connection has these words. */
static void expect_words(int client, const char *status, const char *word)
{
    char text[ANSWER_LIMIT] = "";
    size_t size = 0;
    for (ssize_t got; (got = recv(client, text + size, sizeof text - 1 - size, 0)) > 0;)
        size += (size_t)got;
    text[size] = '\0';
    if (strstr(text, status) == NULL || strstr(text, word) == NULL)
        fail_msg("not %s and %s: %s", status, word, text);
    close(client);
}

/* The registry takes so many and does not say so. */
static void hold_manifests(const struct bench *bench, int times)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "/manifests/", .times = times, .effect = true, .hold = true});
}

/* The client, once the registry has the manifest. */
static int push(const struct bench *bench, const char *letters, const char *accept)
{
    struct made_image image = push_test_image(bench->test->push, letters, 100);
    char digest[DIGEST_TEXT_MAX];
    autofree char *head = xasprintf("POST /v1/pushes HTTP/1.1\r\nAccept: %s\r\nX-Rest:", accept);
    autofree char *body =
        xasprintf("{\"image\":\"%s\",\"to\":[\"%s/team/%s:1\"]}",
                  digest_text(&image.manifest.digest, digest), bench->test->host, letters);
    int client = ask(bench, head, body, strlen(body));
    autofree char *put = xasprintf("PUT /v2/team/%s/manifests/", letters);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, put) == 1);
    return client;
}

static bool not_hurried(void)
{
    return false;
}

static bool is_hurried(void)
{
    return true;
}

/* A registry that is silent for minutes, who waits for it in two ways, and a body that does not
 * come: with any of them the end waits no longer than it was told to, and each gets its answer. */
static void an_end_has_a_bound(void **state)
{
    const struct bench *bench = *state;
    hold_manifests(bench, 2);
    int plain = push(bench, "ab", "*/*");
    int stream = push(bench, "cd", "application/x-ndjson");
    int body = begin(bench, "PUT /v2/team/late/manifests/1");
    int64_t since_ms = clock_ms();
    assert_true(server_end(bench->server, not_hurried, 500, QUEUE_TEST_MS));
    assert_true(clock_ms() - since_ms >= 500);
    assert_true(clock_ms() - since_ms < SERVER_END_MS / 2);
    server_stop(bench->server);
    expect_words(plain, "HTTP/1.1 503 ", "STOPPING");
    expect_words(stream, "HTTP/1.1 200 ", "STOPPING");
    expect_words(body, "HTTP/1.1 503 ", "STOPPING");
}

static void an_end_that_is_hurried_does_not_wait(void **state)
{
    const struct bench *bench = *state;
    hold_manifests(bench, 1);
    int plain = push(bench, "ab", "*/*");
    assert_true(server_end(bench->server, is_hurried, SERVER_END_MS, QUEUE_TEST_MS));
    server_stop(bench->server);
    expect_words(plain, "HTTP/1.1 503 ", "STOPPING");
}

static void what_runs_comes_to_its_end(void **state)
{
    const struct bench *bench = *state;
    hold_manifests(bench, 1);
    int plain = push(bench, "ab", "*/*");
    fake_registry_release(bench->test->registry);
    assert_true(server_end(bench->server, not_hurried, SERVER_END_MS, 0));
    server_stop(bench->server);
    expect_words(plain, "HTTP/1.1 200 ", "\"state\":\"pushed\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_end_has_a_bound),
        TEST(an_end_that_is_hurried_does_not_wait),
        TEST(what_runs_comes_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
