#include "net/transport.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/support/http_double.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE_BYTES ((size_t)64 << 20) /* more than sockets take */

struct fixture {
    struct http_double *server;
    struct transport *transport;
    struct connection *connection;
    char url[128];
};

/* /status/N, /big (10000 bytes), /endless-headers, /once (closes behind its answer), /echo */
static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    (void)self;
    sscanf(request->path, "/status/%d", &answer->status);
    answer->close = strcmp(request->path, "/once") == 0;
    answer->drop = strcmp(request->path, "/drop") == 0;
    if (strcmp(request->path, "/big") == 0)
        memset(answer->body, 'b', 10000);
    if (strcmp(request->path, "/echo") == 0)
        snprintf(answer->body, sizeof answer->body, "%s %zu %s %s", request->method,
                 request->body_size, request->content_type, request->authorization);
    if (strcmp(request->path, "/headers") == 0)
        strcpy(answer->headers, "X-One:  a \r\nx-two: b\r\nX-One: c\r\nX-OneMore: d\r\n");
    if (strcmp(request->path, "/long-header") == 0)
        snprintf(answer->headers, sizeof answer->headers, "X-Long: %0110000d\r\n", 1);
}

static int setup(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    fixture->server = http_double_start(handle, NULL);
    const struct transport_options options = {
        .host = "r.example.com",
        .user_agent = "test",
        .idle_limit = 2,
        .connect_timeout_ms = 5000,
        .times = {.stall_s = 1, .answer_ms = 400, .commit_ms = 3000},
    };
    fixture->transport = transport_new(&options);
    fixture->connection = transport_lease(fixture->transport);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    transport_return(fixture->connection);
    transport_free(fixture->transport);
    http_double_stop(fixture->server);
    free(fixture);
    return 0;
}

static struct http_request request_for(struct fixture *fixture, const char *method,
                                       const char *path)
{
    snprintf(fixture->url, sizeof fixture->url, "http://127.0.0.1:%u%s",
             http_double_port(fixture->server), path);
    return (struct http_request){
        .method = method,
        .url = fixture->url,
        .answer_limit_bytes = 4096,
        .deadline = HTTP_STALL,
    };
}

static void test_status_and_methods(void **state)
{
    struct fixture *fixture = *state;
    static const char *const methods[] = {"GET", "HEAD", "DELETE", "POST"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct error err = ERROR_INIT;
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        struct http_request request = request_for(fixture, methods[i], "/status/404");
        assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                         ERR_OK);
        assert_int_equal(response.status, 404);
        assert_true(response.peer_private);
        char want[32];
        snprintf(want, sizeof want, "%s /status/404", methods[i]);
        assert_int_equal(http_double_count(fixture->server, want), 1);
    }
}

static void test_body_from_memory(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    const struct http_body body = {.data = "12345", .fd = -1, .size = 5};
    struct http_request request = request_for(fixture, "PUT", "/echo");
    request.body = &body;
    request.content_type = "a/b";
    request.authorization = "Basic x";
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_string_equal(buf_cstr(&response.body), "PUT 5 a/b Basic x");
    const struct http_body nothing = {.data = "", .fd = -1, .size = 0};
    request = request_for(fixture, "POST", "/echo");
    request.body = &nothing;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_string_equal(buf_cstr(&response.body), "POST 0  ");
}

static int file_of(size_t size)
{
    char name[] = "/tmp/slipway-transport-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void keep_last(void *arg, uint64_t bytes)
{
    *(uint64_t *)arg = bytes;
}

static void test_body_from_a_file_range(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofd int fd = file_of(3000000);
    uint64_t sent = 0;
    const struct http_body body = {.fd = fd, .offset = 500000, .size = 2500000};
    struct http_request request = request_for(fixture, "PUT", "/echo");
    request.body = &body;
    request.sent = keep_last;
    request.sent_arg = &sent;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_string_equal(buf_cstr(&response.body), "PUT 2500000  ");
    assert_int_equal(sent, 2500000);
}

static void test_file_that_is_too_short(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofd int fd = file_of(999);
    const struct http_body body = {.fd = fd, .size = 1000};
    struct http_request request = request_for(fixture, "PUT", "/echo");
    request.body = &body;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_BLOB_CORRUPT);
}

static void expect_kept(struct fixture *fixture, size_t limit, size_t kept, bool cut)
{
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/big");
    request.answer_limit_bytes = limit;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.body.size, kept);
    assert_int_equal(response.body_cut, cut);
}

static void test_answer_limit(void **state)
{
    expect_kept(*state, 10001, 10000, false);
    expect_kept(*state, 10000, 10000, false);
    expect_kept(*state, 9999, 9999, true);
    expect_kept(*state, 0, 0, true);
}

static void test_headers(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/headers");
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_string_equal(http_header(&response, "x-one"), "a");
    assert_string_equal(http_header(&response, "X-Two"), "b");
    assert_null(http_header(&response, "X-Three"));
    const char *first = http_header(&response, "X-One");
    const char *second = http_header_next(&response, "X-One", first);
    assert_string_equal(second, "c");
    assert_null(http_header_next(&response, "X-One", second));
}

static void test_closed_connection_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    autofd int fd = file_of(3000000);
    const struct http_body body = {.fd = fd, .size = 3000000};
    for (int i = 0; i < 5; i++) {
        struct error err = ERROR_INIT;
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        struct http_request request = request_for(fixture, "PUT", "/once");
        request.body = &body;
        if (transport_exchange(fixture->connection, &request, &response, &err) != ERR_OK)
            fail_msg("%s", err.text);
        assert_int_equal(response.status, 200);
    }
    assert_int_equal(http_double_count(fixture->server, "PUT /once"), 5);
}

static void test_lost_answer(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/drop?secret");
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_CONNECTION_LOST);
    assert_non_null(strstr(err.text, "GET http://127.0.0.1:"));
    assert_non_null(strstr(err.text, "/drop"));
    assert_null(strstr(err.text, "secret"));
    /* On a fresh connection there is nothing stale: it is not sent again. */
    assert_int_equal(http_double_count(fixture->server, "GET /drop"), 1);
}

static void test_stall(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    http_double_stall(fixture->server, "GET");
    struct http_request request = request_for(fixture, "GET", "/status/200");
    int64_t start_ms = clock_ms();
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_TIMEOUT);
    assert_in_range(clock_ms() - start_ms, 500, 10000);
}

static void test_time_limit(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    http_double_stall(fixture->server, "DELETE");
    struct http_request request = request_for(fixture, "DELETE", "/status/200");
    request.timeout_ms = 200;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_TIMEOUT);
}

static void test_answer_in_time(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    http_double_stall(fixture->server, "HEAD");
    struct http_request request = request_for(fixture, "HEAD", "/status/200");
    request.deadline = HTTP_ANSWER;
    int64_t start_ms = clock_ms();
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_TIMEOUT);
    /* Two clocks of whole milliseconds, libcurl's and this one. */
    assert_in_range(clock_ms() - start_ms, 400 - 1, 10000);
}

/* Silence is longer than the stall limit. */
static void test_commit(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    const struct http_body nothing = {.data = "", .fd = -1, .size = 0};
    struct http_request request = request_for(fixture, "PUT", "/status/201?digest");
    request.body = &nothing;
    request.deadline = HTTP_COMMIT;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    assert_int_equal(response.status, 201);
    http_double_stall(fixture->server, "PUT");
    int64_t start_ms = clock_ms();
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_NO_ANSWER);
    assert_in_range(clock_ms() - start_ms, 3000, 30000);
    assert_non_null(strstr(err.text, "all was sent, and for "));
    assert_null(strstr(err.text, "digest"));
}

/* Connections are made, and nobody reads from them. */
static int listen_deaf(char *url, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(url, size, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return fd;
}

static void test_commit_whose_body_stalls(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofree char *large = xcalloc(1, LARGE_BYTES);
    const struct http_body body = {.data = large, .fd = -1, .size = LARGE_BYTES};
    struct http_request request = request_for(fixture, "PUT", "/");
    request.body = &body;
    request.deadline = HTTP_COMMIT;
    int fd = listen_deaf(fixture->url, sizeof fixture->url);
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_TIMEOUT);
    assert_non_null(strstr(err.text, "stalled"));
    close(fd);
}

struct canceller {
    struct cancel cancel;
    int64_t requested_ms;
};

static void *cancel_soon(void *arg)
{
    struct canceller *canceller = arg;
    cancel_wait(&canceller->cancel, 300);
    canceller->requested_ms = clock_ms();
    cancel_request(&canceller->cancel);
    return NULL;
}

/* How long after its cancel an exchange ends that hears nothing from the other side. */
static int64_t ends_after_ms(struct fixture *fixture)
{
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct canceller canceller;
    cancel_init(&canceller.cancel);
    struct http_request request = request_for(fixture, "GET", "/status/200");
    request.cancel = &canceller.cancel;
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, &canceller);
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_CANCELLED);
    int64_t end_ms = clock_ms();
    pthread_join(thread, NULL);
    assert_true(end_ms >= canceller.requested_ms);
    cancel_deinit(&canceller.cancel);
    return end_ms - canceller.requested_ms;
}

/* It is woken: libcurl itself looks up once a second, 700 ms after the cancel. The best of some, as
 * the machine may be busy. */
static void test_cancel(void **state)
{
    struct fixture *fixture = *state;
    int64_t best_ms = INT64_MAX;
    http_double_stall(fixture->server, "GET");
    for (int i = 0; i < 3; i++) {
        int64_t took_ms = ends_after_ms(fixture);
        best_ms = took_ms < best_ms ? took_ms : best_ms;
    }
    assert_in_range(best_ms, 0, 400);
}

static void test_nothing_is_sent_that_was_cancelled_before(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_request(&cancel);
    struct http_request request = request_for(fixture, "HEAD", "/status/200");
    request.cancel = &cancel;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_CANCELLED);
    assert_int_equal(http_double_count(fixture->server, "HEAD"), 0);
    cancel_deinit(&cancel);
}

static void test_private_address(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/status/200");
    request.public_only = true;
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_ADDRESS_REFUSED);
    assert_int_equal(http_double_count(fixture->server, "GET"), 0);
}

static void test_tls_spoken_to_plain_http(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/");
    char url[128];
    snprintf(url, sizeof url, "https%s", fixture->url + strlen("http"));
    request.url = url;
    request.timeout_ms = 20000;
    enum errc code = transport_exchange(fixture->connection, &request, &response, &err);
    assert_int_equal(code, ERR_CONNECTION_LOST);
    assert_non_null(strstr(err.text, "TLS handshake"));
}

static void test_idle_connections_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct connection *leased[4];
    for (size_t i = 0; i < 4; i++)
        leased[i] = transport_lease(fixture->transport);
    for (size_t i = 0; i < 4; i++)
        transport_return(leased[i]);
    struct connection *again = transport_lease(fixture->transport);
    assert_ptr_equal(again, leased[1]);
    transport_return(again);
    transport_return(NULL);
}

/* The number that the next descriptor gets. */
static int next_descriptor(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

static void get(struct connection *connection, struct fixture *fixture, enum errc wanted,
                struct error *err)
{
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/status/200");
    *err = (struct error)ERROR_INIT;
    if (transport_exchange(connection, &request, &response, err) != wanted)
        fail_msg("%s: %s", error_name(err->code), err->text);
}

/* Lease one of each transport, and give it back warm. */
static void warm_up(struct transport **transports, size_t count, struct fixture *fixture)
{
    struct error err;
    for (size_t i = 0; i < count; i++) {
        struct connection *connection = transport_lease(transports[i]);
        get(connection, fixture, ERR_OK, &err);
        transport_return(connection);
    }
}

static void test_idle_connections_of_many_hosts_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    enum { HOSTS = TRANSPORT_IDLE_MAX + 2 };
    struct transport *transports[HOSTS];
    const struct transport_options options = {.host = "r", .user_agent = "test", .idle_limit = 5};
    for (size_t i = 0; i < HOSTS; i++)
        transports[i] = transport_new(&options);
    transport_close_idle(0);
    warm_up(transports, TRANSPORT_IDLE_MAX, fixture);
    warm_up(transports, 1, fixture); /* the first one is in use again: the second is the oldest */
    warm_up(transports + TRANSPORT_IDLE_MAX, 2, fixture);
    assert_int_equal(transport_close_idle(60000), 0);
    transport_free(transports[0]);
    transport_free(transports[1]);
    assert_int_equal(transport_close_idle(0), TRANSPORT_IDLE_MAX - 1);
    for (size_t i = 2; i < HOSTS; i++)
        transport_free(transports[i]);
}

static void test_descriptors_are_spared(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before;
    struct error err;
    const struct transport_options options = {.host = "r", .user_agent = "test", .idle_limit = 5};
    struct transport *transport = transport_new(&options);
    warm_up(&transport, 1, fixture);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* Three quarters may be used: what is warm takes the last of them. */
    int used = next_descriptor();
    struct rlimit small = {.rlim_cur = (rlim_t)(used + 2) * 4 / 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    struct connection *other = transport_lease(transport);
    get(other, fixture, ERR_OK, &err);
    int held[64];
    size_t count = 0;
    while ((rlim_t)next_descriptor() < small.rlim_cur - small.rlim_cur / 4 && count < 64)
        held[count++] = dup(STDERR_FILENO);
    get(fixture->connection, fixture, ERR_IO, &err);
    assert_int_equal(err.sys, EMFILE);
    assert_true(error_retriable(err.code));
    assert_true((rlim_t)next_descriptor() < small.rlim_cur);
    transport_return(other);
    get(fixture->connection, fixture, ERR_OK, &err);
    assert_int_equal(transport_close_idle(0), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (count > 0)
        close(held[--count]);
    transport_free(transport);
}

static void test_a_header_that_is_too_long(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/long-header");
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err),
                     ERR_REGISTRY_ANSWER);
    assert_non_null(strstr(err.text, "head of the answer"));
    get(fixture->connection, fixture, ERR_OK, &err);
}

static void test_a_response_knows_the_secrets_of_its_request(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    char text[100];
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = request_for(fixture, "GET", "/echo");
    request.authorization = "Bearer abcdef.ghi";
    request.secret = "in-the-body";
    assert_int_equal(transport_exchange(fixture->connection, &request, &response, &err), ERR_OK);
    http_text(&response.secrets, response.body.data, response.body.size, text, sizeof text);
    assert_string_equal(text, "GET 0 Bearer ***");
    http_text(&response.secrets, "an in-the-body b", 16, text, sizeof text);
    assert_string_equal(text, "an *** b");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_status_and_methods),
        TEST(test_body_from_memory),
        TEST(test_body_from_a_file_range),
        TEST(test_file_that_is_too_short),
        TEST(test_answer_limit),
        TEST(test_headers),
        TEST(test_closed_connection_is_replaced),
        TEST(test_lost_answer),
        TEST(test_stall),
        TEST(test_time_limit),
        TEST(test_answer_in_time),
        TEST(test_commit),
        TEST(test_commit_whose_body_stalls),
        TEST(test_cancel),
        TEST(test_nothing_is_sent_that_was_cancelled_before),
        TEST(test_private_address),
        TEST(test_tls_spoken_to_plain_http),
        TEST(test_idle_connections_are_bounded),
        TEST(test_idle_connections_of_many_hosts_are_bounded),
        TEST(test_descriptors_are_spared),
        TEST(test_a_header_that_is_too_long),
        TEST(test_a_response_knows_the_secrets_of_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
