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
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 20000
#define BODY "some bytes of a body"

/* A server whose requests are admitted by a job, as the header "Who" says: "known" at once, "slow"
 * after the job, "bad" never, "unsure" is never found out. */
struct bench {
    struct request_handler handler;
    struct executor *executor;
    struct jobs *jobs;
    struct daemon *daemon;
    struct sockaddr_in address;
    atomic_int admitted; /* by a job */
    atomic_int dismissed;
    atomic_int gate; /* the job waits for it */
};

static const char *who(const struct request *request)
{
    const char *value = request_header(request, "Who");
    return value ? value : "known";
}

static void find_out(struct job *job, void *self)
{
    struct bench *bench = self;
    struct reply reply = REPLY_INIT(0);
    for (int64_t until_ms = clock_ms() + WAIT_MS; !bench->gate && clock_ms() < until_ms;)
        poll(NULL, 0, 5);
    bench->admitted++;
    job_answer(job, &reply);
}

static void keep(void *self)
{
    (void)self;
}

static struct job *admit(void *self, const struct request *request, void **caller,
                         struct reply *reply)
{
    struct bench *bench = self;
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    const char *name = who(request);
    bool first = *caller == NULL;
    free(*caller);
    *caller = xstrdup(name);
    if (strcmp(name, "known") == 0 || (strcmp(name, "slow") == 0 && !first))
        return NULL;
    if (strcmp(name, "bad") == 0) {
        fail(&err, ERR_FORBIDDEN, 0, "nobody knows you");
        reply_error(reply, &err);
        return NULL;
    }
    const struct job_work work = {.class = JOB_ADMIT, .run = find_out, .free = keep, .self = bench};
    if (job_start(bench->jobs, &work, request->peer, &job, &err) != ERR_OK)
        reply_error(reply, &err);
    return job;
}

static void dismiss(void *caller)
{
    free(caller);
}

struct counting {
    char *who;
    size_t bytes;
};

static void take_body(struct job *job, void *self)
{
    struct counting *counting = self;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(200);
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    while (source_pull(&body, &data, &size, &err) == ERR_OK && size > 0)
        counting->bytes += size;
    reply_json(&reply, xasprintf("{\"%s\":%zu}", counting->who, counting->bytes));
    job_answer(job, &reply);
}

static void free_counting(void *self)
{
    struct counting *counting = self;
    free(counting->who);
    free(counting);
}

static struct job *answer(void *self, const struct request *request, struct reply *reply)
{
    struct bench *bench = self;
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    struct counting *counting = xcalloc(1, sizeof *counting);
    counting->who = xstrdup(request->caller);
    const struct job_work work = {
        .class = JOB_BLOB, .run = take_body, .free = free_counting, .self = counting};
    if (job_start(bench->jobs, &work, request->peer, &job, &err) != ERR_OK)
        reply_error(reply, &err);
    return job;
}

static struct path_shown show(const char *path)
{
    (void)path;
    return (struct path_shown){.pattern = PATH_OTHER};
}

static int set_up(void **state)
{
    struct error err = ERROR_INIT;
    struct sockaddr_storage storage = {0};
    struct bench *bench = xcalloc(1, sizeof *bench);
    unsigned port = 0;
    const struct jobs_limits limits = {.uploads = 4, .blobs = 4, .pushes = 4};
    const struct executor_options options = {.threads_max = 8};
    assert_int_equal(executor_new(&options, &bench->executor, &err), ERR_OK);
    bench->jobs = jobs_new(&limits, bench->executor);
    bench->handler = (struct request_handler){.answer = answer,
                                              .admit = admit,
                                              .dismiss = dismiss,
                                              .show = show,
                                              .self = bench,
                                              .jobs = bench->jobs};
    const struct daemon_options daemon = {.handler = &bench->handler,
                                          .threads = 1,
                                          .connections = 16,
                                          .head_ms = WAIT_MS,
                                          .idle_ms = WAIT_MS,
                                          .drain_ms = WAIT_MS};
    bench->gate = 1;
    bench->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&storage, &bench->address, sizeof bench->address);
    assert_int_equal(daemon_start(&daemon, &bench->daemon, &err), ERR_OK);
    assert_int_equal(daemon_listen(bench->daemon, &storage, sizeof bench->address, &port, &err),
                     ERR_OK);
    bench->address.sin_port = htons((uint16_t)port);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    jobs_close(bench->jobs);
    daemon_close(bench->daemon);
    assert_true(jobs_wait(bench->jobs, WAIT_MS));
    assert_true(daemon_wait(bench->daemon, WAIT_MS));
    daemon_stop(bench->daemon);
    jobs_free(bench->jobs);
    executor_free(bench->executor);
    free(bench);
    return 0;
}

static int connect_to(const struct bench *bench)
{
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(client, (const struct sockaddr *)&bench->address, sizeof bench->address), 0);
    return client;
}

static void say(int client, const char *text)
{
    assert_int_equal(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes until this does, or the end. */
static void expect(int client, const char *wanted)
{
    char text[4000] = "";
    size_t size = 0;
    struct pollfd item = {.fd = client, .events = POLLIN};
    while (strstr(text, wanted) == NULL) {
        assert_int_equal(poll(&item, 1, WAIT_MS), 1);
        ssize_t got = recv(client, text + size, sizeof text - 1 - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
        text[size] = '\0';
    }
}

#define HEAD(METHOD, WHO) METHOD " /x HTTP/1.1\r\nHost: localhost\r\nWho: " WHO "\r\n"

static void a_request_is_admitted_by_a_job(void **state)
{
    struct bench *bench = *state;
    int client = connect_to(bench);
    for (int i = 0; i < 3; i++) { /* on one connection */
        say(client, HEAD("GET", "slow") "\r\n");
        expect(client, "{\"slow\":0}");
        say(client, HEAD("POST", "slow") "Content-Length: 20\r\n\r\n" BODY);
        expect(client, "{\"slow\":20}");
        say(client, HEAD("PUT", "known") "Content-Length: 20\r\n\r\n" BODY);
        expect(client, "{\"known\":20}");
        say(client,
            HEAD("POST", "slow") "Transfer-Encoding: chunked\r\n\r\n14\r\n" BODY "\r\n0\r\n\r\n");
        expect(client, "{\"slow\":20}");
    }
    assert_int_equal(bench->admitted, 9);
    close(client);
}

/* Nothing of the body is asked for before it is known who sends it. */
static void a_body_that_waits_for_a_yes_comes_after_that(void **state)
{
    struct bench *bench = *state;
    int client = connect_to(bench);
    struct pollfd item = {.fd = client, .events = POLLIN};
    bench->gate = 0;
    say(client, HEAD("PUT", "slow") "Expect: 100-continue\r\nContent-Length: 20\r\n\r\n");
    assert_int_equal(poll(&item, 1, 100), 0);
    bench->gate = 1;
    expect(client, "100 Continue");
    say(client, BODY);
    expect(client, "{\"slow\":20}");
    say(client, HEAD("PUT", "bad") "Expect: 100-continue\r\nContent-Length: 20\r\n\r\n");
    expect(client, "403 Forbidden");
    close(client);
}

static void who_is_not_found_out_is_refused(void **state)
{
    struct bench *bench = *state;
    static const char *const heads[] = {HEAD("GET", "unsure") "\r\n",
                                        HEAD("POST", "unsure") "Content-Length: 20\r\n\r\n" BODY};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        int client = connect_to(bench);
        say(client, heads[i]);
        expect(client, "503 Service Unavailable");
        close(client);
    }
    assert_int_equal(bench->admitted, 2 * ADMIT_TRIES);
    int client = connect_to(bench);
    say(client, HEAD("GET", "bad") "\r\n");
    expect(client, "403 Forbidden");
    say(client, HEAD("POST", "bad") "Content-Length: 20\r\n\r\n" BODY);
    expect(client, "403 Forbidden");
    close(client);
}

static void a_client_may_leave_meanwhile(void **state)
{
    struct bench *bench = *state;
    bench->gate = 0;
    int client = connect_to(bench);
    say(client, HEAD("GET", "slow") "\r\n");
    close(client);
    bench->gate = 1;
    client = connect_to(bench);
    say(client, HEAD("GET", "slow") "\r\n");
    expect(client, "{\"slow\":0}");
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_admitted_by_a_job, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_that_waits_for_a_yes_comes_after_that, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_found_out_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_may_leave_meanwhile, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
