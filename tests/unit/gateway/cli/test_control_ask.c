#include "gateway/cli/control_ask.h"

#include "base/file.h"
#include "base/folder_socket.h"
#include "base/mem.h"
#include "gateway/cli/cli.h"
#include "gateway/service/control.h"
#include "tests/support/test_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ANSWER_200                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"known\":1}"
#define ANSWER_REFUSED                                                                             \
    "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 53\r\n\r\n"       \
    "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not by you\"}]}"
#define ANSWER_LINES                                                                               \
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"           \
    "{\"n\":1}\nnonsense\n{\"n\":2}\n"
#define ANSWER_WEB "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"

/* A data folder, and one connection of the gateway that it is of. */
struct scratch {
    char top[64];
    char data[400]; /* longer than the address of a socket */
    int listener;   /* -1: nobody listens */
    pthread_t thread;
    const char *answer;
    char asked[4096];
};

/* Of a request, once all of its head is there; else 0. */
static size_t size_of_request(const char *asked)
{
    static const char length[] = "Content-Length: ";
    const char *end = strstr(asked, "\r\n\r\n");
    if (end == NULL)
        return 0;
    const char *field = strstr(asked, length);
    size_t head = (size_t)(end + 4 - asked);
    return field ? head + strtoul(field + sizeof length - 1, NULL, 10) : head;
}

static void *serve_one(void *arg)
{
    struct scratch *scratch = arg;
    size_t size = 0;
    int client = accept4(scratch->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return NULL;
    for (size_t wanted = 1; size < wanted && size < sizeof scratch->asked - 1;) {
        ssize_t got = read(client, scratch->asked + size, sizeof scratch->asked - 1 - size);
        if (got <= 0)
            break;
        size += (size_t)got;
        size_t all = size_of_request(scratch->asked);
        wanted = all ? all : size + 1;
    }
    struct error ignored = ERROR_INIT;
    file_write_all(client, scratch->answer, strlen(scratch->answer), &ignored);
    close(client);
    return NULL;
}

static void serve(struct scratch *scratch, const char *answer)
{
    struct folder_socket at;
    struct error err = ERROR_INIT;
    assert_int_equal(folder_socket_open(scratch->data, CONTROL_SOCKET, &at, &err), ERR_OK);
    scratch->answer = answer;
    scratch->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        bind(scratch->listener, (const struct sockaddr *)&at.address, sizeof at.address), 0);
    assert_int_equal(listen(scratch->listener, 1), 0);
    assert_int_equal(pthread_create(&scratch->thread, NULL, serve_one, scratch), 0);
    folder_socket_close(&at);
}

static int make_scratch(void **state, unsigned deep)
{
    struct error err = ERROR_INIT;
    struct scratch *scratch = xcalloc(1, sizeof *scratch);
    scratch->listener = -1;
    unsetenv("SLIPWAY_GATEWAY");
    test_folder_make(scratch->top);
    snprintf(scratch->data, sizeof scratch->data, "%s/%0*d", scratch->top, (int)deep, 0);
    *state = scratch;
    return file_make_folders(scratch->data, 0700, &err) == ERR_OK ? 0 : -1;
}

static int make_short(void **state)
{
    return make_scratch(state, 1);
}

static int make_long(void **state)
{
    return make_scratch(state, 200);
}

static int drop_scratch(void **state)
{
    struct scratch *scratch = *state;
    if (scratch->listener >= 0) {
        shutdown(scratch->listener, SHUT_RDWR);
        pthread_join(scratch->thread, NULL);
        close(scratch->listener);
    }
    int rc = test_folder_remove(scratch->top);
    free(scratch);
    return rc;
}

/* One question, and what came of it. */
struct question {
    struct control_request request;
    struct control_answer answer;
    struct error err;
    int lines;
};

static void on_line(void *self, json_t *line)
{
    struct question *question = self;
    question->lines += (int)json_integer_value(json_object_get(line, "n"));
}

static int work(struct control *control, void *self)
{
    struct question *question = self;
    if (control_ask(control, &question->request, &question->answer, &question->err) == ERR_OK)
        return 0;
    return control_complain(&question->err);
}

static int ask(const struct scratch *scratch, struct question *question)
{
    const struct control_options options = {.data = scratch->data};
    return control_run(&options, work, question);
}

static void test_answer(void **state)
{
    struct scratch *scratch = *state;
    autojson json_t *body = json_pack("{s:s}", "a", "b");
    struct question question = {.request = {.method = "POST", .path = "/v1/x?y=1", .body = body}};
    serve(scratch, ANSWER_200);
    assert_int_equal(ask(scratch, &question), 0);
    assert_int_equal(question.answer.status, 200);
    assert_int_equal(json_integer_value(json_object_get(question.answer.body, "known")), 1);
    assert_int_equal(strncmp(scratch->asked, "POST /v1/x?y=1 HTTP/1.1\r\n", 25), 0);
    assert_non_null(strstr(scratch->asked, "Host: localhost\r\n"));
    control_answer_deinit(&question.answer);
}

static void test_refusal(void **state)
{
    struct scratch *scratch = *state;
    struct question question = {.request = {.method = "GET", .path = "/v1/x"}};
    serve(scratch, ANSWER_REFUSED);
    assert_int_equal(ask(scratch, &question), EXIT_TARGET_FAILED);
    assert_int_equal(question.err.code, error_by_name("DENIED"));
    assert_string_equal(question.err.text, "not by you");
    assert_int_equal(question.err.status, 403);
    assert_non_null(question.answer.body);
    control_answer_deinit(&question.answer);
}

static void test_lines(void **state)
{
    struct scratch *scratch = *state;
    struct question question = {.request = {.method = "GET", .path = "/v1/x", .line = on_line}};
    question.request.self = &question;
    serve(scratch, ANSWER_LINES);
    assert_int_equal(ask(scratch, &question), 0);
    assert_int_equal(question.lines, 3);
    assert_null(question.answer.body);
}

static void test_somebody_else(void **state)
{
    struct scratch *scratch = *state;
    struct question question = {.request = {.method = "GET", .path = "/v1/x"}};
    serve(scratch, ANSWER_WEB);
    assert_int_equal(ask(scratch, &question), EXIT_UNREACHABLE);
    assert_int_equal(question.err.code, ERR_REGISTRY_ANSWER);
    assert_false(question.answer.nobody);
}

/* No folder, no socket, and one that a gateway left behind. */
static void test_nobody(void **state)
{
    struct scratch *scratch = *state;
    struct scratch elsewhere = *scratch;
    strcat(elsewhere.data, "/none");
    const struct scratch *asked[] = {&elsewhere, scratch, scratch};
    for (size_t i = 0; i < 3; i++) {
        struct question question = {.request = {.method = "GET", .path = "/v1/x"}};
        if (i == 2) {
            serve(scratch, ANSWER_200);
            shutdown(scratch->listener, SHUT_RDWR);
            pthread_join(scratch->thread, NULL);
            close(scratch->listener);
            scratch->listener = -1;
        }
        assert_int_equal(ask(asked[i], &question), EXIT_UNREACHABLE);
        assert_true(question.answer.nobody);
        assert_int_equal(question.err.code, ERR_CONNECT);
        assert_non_null(strstr(question.err.text, asked[i]->data));
    }
}

static void test_options(void **state)
{
    (void)state;
    struct control_options both = {.gateway.url = "http://a", .data = "b"};
    struct control_options user = {.gateway.user = "a"};
    struct control_options data = {.data = "b"};
    struct control_options none = {.json = false};
    setenv("SLIPWAY_GATEWAY", "http://c", 1);
    assert_int_equal(control_options_check(&both, "pushes"), EXIT_USAGE);
    assert_int_equal(control_options_check(&data, "pushes"), 0);
    assert_null(data.gateway.url);
    assert_int_equal(control_options_check(&none, "pushes"), 0);
    assert_string_equal(none.gateway.url, "http://c");
    unsetenv("SLIPWAY_GATEWAY");
    assert_int_equal(control_options_check(&user, "pushes"), EXIT_USAGE);
}

int main(void)
{
    signals_block();
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answer, make_short, drop_scratch),
        {"test_answer_by_a_long_path", test_answer, make_long, drop_scratch, NULL},
        cmocka_unit_test_setup_teardown(test_refusal, make_short, drop_scratch),
        cmocka_unit_test_setup_teardown(test_lines, make_long, drop_scratch),
        cmocka_unit_test_setup_teardown(test_somebody_else, make_short, drop_scratch),
        cmocka_unit_test_setup_teardown(test_nobody, make_short, drop_scratch),
        {"test_nobody_by_a_long_path", test_nobody, make_long, drop_scratch, NULL},
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
