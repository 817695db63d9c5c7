#include "net/transport.h"

#include "base/mem.h"
#include "tests/support/http_double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define AHEAD 3U

struct fixture {
    struct http_double *server;
    struct transport *transport;
    char url[64];
};

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    (void)self;
    (void)request;
    (void)answer;
}

static struct transport *new_transport(void)
{
    const struct transport_options options = {
        .host = "r", .user_agent = "test", .idle_limit = 8, .connect_timeout_ms = 5000};
    return transport_new(&options);
}

static int setup(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    fixture->server = http_double_start(handle, NULL);
    fixture->transport = new_transport();
    snprintf(fixture->url, sizeof fixture->url, "http://127.0.0.1:%u/",
             http_double_port(fixture->server));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    transport_free(fixture->transport);
    assert_int_equal(transport_close_idle(0), 0);
    http_double_stop(fixture->server);
    free(fixture);
    return 0;
}

/* By a connection that has none, which is leased from now on. */
static struct connection *get(struct transport *transport, const struct fixture *fixture,
                              unsigned ahead)
{
    struct error err = ERROR_INIT;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    const struct http_request request = {.method = "GET",
                                         .url = fixture->url,
                                         .answer_limit_bytes = 100,
                                         .deadline = HTTP_ANSWER,
                                         .ahead = ahead};
    struct connection *connection = transport_lease(transport);
    if (transport_exchange(connection, &request, &response, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(response.status, 200);
    return connection;
}

static void return_all(struct connection **connections, size_t count)
{
    for (size_t i = 0; i < count; i++)
        transport_return(connections[i]);
}

static void those_that_follow_are_connected_already(void **state)
{
    const struct fixture *fixture = *state;
    struct connection *connections[AHEAD + 2];
    connections[0] = get(fixture->transport, fixture, AHEAD);
    assert_int_equal(http_double_connections(fixture->server, AHEAD + 1), AHEAD + 1);
    for (size_t i = 1; i <= AHEAD; i++)
        connections[i] = get(fixture->transport, fixture, 0);
    assert_int_equal(http_double_connections(fixture->server, 0), AHEAD + 1);
    connections[AHEAD + 1] = get(fixture->transport, fixture, 0);
    assert_int_equal(http_double_connections(fixture->server, 0), AHEAD + 2);
    return_all(connections, AHEAD + 2);
}

static void one_that_is_warm_opens_none(void **state)
{
    const struct fixture *fixture = *state;
    transport_return(get(fixture->transport, fixture, 0));
    transport_return(get(fixture->transport, fixture, AHEAD));
    assert_int_equal(http_double_connections(fixture->server, 1), 1);
    assert_int_equal(transport_close_idle(0), 1);
}

static void what_the_server_closed_is_not_used(void **state)
{
    const struct fixture *fixture = *state;
    struct connection *connections[2];
    connections[0] = get(fixture->transport, fixture, AHEAD);
    assert_int_equal(http_double_connections(fixture->server, AHEAD + 1), AHEAD + 1);
    http_double_hang_up(fixture->server);
    connections[1] = get(fixture->transport, fixture, 0);
    assert_int_equal(http_double_connections(fixture->server, AHEAD + 2), AHEAD + 2);
    return_all(connections, 2);
}

static void others_do_not_get_them(void **state)
{
    const struct fixture *fixture = *state;
    struct transport *other = new_transport();
    struct connection *connections[2];
    connections[0] = get(fixture->transport, fixture, AHEAD);
    assert_int_equal(http_double_connections(fixture->server, AHEAD + 1), AHEAD + 1);
    connections[1] = get(other, fixture, 0);
    assert_int_equal(http_double_connections(fixture->server, AHEAD + 2), AHEAD + 2);
    return_all(connections, 2);
    transport_free(other);
}

static void what_nobody_took_is_closed(void **state)
{
    const struct fixture *fixture = *state;
    transport_return(get(fixture->transport, fixture, AHEAD));
    assert_int_equal(transport_close_idle(TRANSPORT_IDLE_MS), 0);
    assert_int_equal(transport_close_idle(0), AHEAD + 1);
    assert_int_equal(http_double_ended(fixture->server, AHEAD + 1), AHEAD + 1);
}

static void its_transport_closes_them(void **state)
{
    const struct fixture *fixture = *state;
    transport_return(get(fixture->transport, fixture, AHEAD));
    struct transport *other = new_transport();
    transport_return(get(other, fixture, AHEAD));
    assert_int_equal(http_double_connections(fixture->server, 2 * (AHEAD + 1)), 2 * (AHEAD + 1));
    transport_free(other);
    assert_int_equal(http_double_ended(fixture->server, AHEAD + 1), AHEAD + 1);
    assert_int_equal(transport_close_idle(0), AHEAD + 1);
    assert_int_equal(http_double_ended(fixture->server, 2 * (AHEAD + 1)), 2 * (AHEAD + 1));
}

static void there_are_never_many(void **state)
{
    const struct fixture *fixture = *state;
    transport_return(get(fixture->transport, fixture, 10 * TRANSPORT_IDLE_MAX));
    assert_int_equal(transport_close_idle(0), TRANSPORT_IDLE_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_that_follow_are_connected_already, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_warm_opens_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_server_closed_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(others_do_not_get_them, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_took_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(its_transport_closes_them, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_never_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
