#include "gateway/api/push_job.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/api/event_stream.h"
#include "gateway/http/connections.h"
#include "tests/support/fake_connection.h"
#include "tests/support/queue_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX ((size_t)1 << 20)

struct bench {
    struct queue_test *test;
    struct jobs *jobs;
    struct gateway gateway;
    struct made_image image;
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    const struct jobs_limits limits = {.uploads = 4, .blobs = 4, .pushes = 4};
    *state = bench;
    bench->test = queue_test_new();
    bench->image = push_test_image(bench->test->push, "ab", 1000);
    bench->jobs = jobs_new(&limits, bench->test->push->executor);
    bench->gateway = (struct gateway){
        .runtime = &bench->test->runtime, .jobs = bench->jobs, .queue = bench->test->queue};
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    fake_registry_release(bench->test->registry);
    assert_true(jobs_wait(bench->jobs, QUEUE_TEST_MS));
    jobs_free(bench->jobs);
    queue_test_free(bench->test);
    free(bench);
    return 0;
}

/* ---- one request ---- */

struct client {
    struct bench *bench;
    struct fake_connection connection;
    struct connection *at; /* in a table of connections; NULL: in none */
    struct job *job;
    struct push push;
    struct push_call request; /* of it */
    bool events;
    size_t body_limit; /* of a document: what it says is the answer */
    struct error why;  /* refused for this */
    struct reply reply;
    struct buf text; /* of the answer, or its events */
};

static void run_push(struct job *job, void *arg)
{
    struct client *client = arg;
    client->request = (struct push_call){.gateway = &client->bench->gateway,
                                         .order.push = client->push,
                                         .wishes.events = client->events};
    push_job_send(job, &client->request);
}

static void run_refusal(struct job *job, void *arg)
{
    struct client *client = arg;
    push_job_refuse(job, &client->why);
}

static void run_document(struct job *job, void *arg)
{
    struct client *client = arg;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(200);
    struct buf body = BUF_INIT(client->body_limit);
    if (push_job_document(job, "the document", &body, &err) == ERR_OK)
        reply_json(&reply, xstrdup(buf_cstr(&body)));
    else
        reply_error(&reply, &err);
    buf_deinit(&body);
    job_answer(job, &reply);
}

/* The push is the job's. */
static void free_client(void *arg)
{
    struct client *client = arg;
    push_deinit(&client->push);
}

static void begin(struct client *client, void (*run)(struct job *job, void *self))
{
    struct error err = ERROR_INIT;
    const struct job_work work = {
        .class = JOB_PUSH, .run = run, .free = free_client, .self = client};
    client->reply = (struct reply)REPLY_INIT(0);
    client->text = (struct buf)BUF_INIT(TEXT_MAX);
    fake_connection_init(&client->connection);
    struct peer peer = fake_connection_peer(&client->connection);
    if (client->at) {
        peer.table = connection_table(client->at);
        peer.id = connection_id(client->at);
    }
    assert_int_equal(job_start(client->bench->jobs, &work, peer, &client->job, &err), ERR_OK);
}

static void wait_resumed(struct client *client)
{
    assert_true(fake_connection_wait(&client->connection, QUEUE_TEST_MS));
}

static void await_reply(struct client *client)
{
    while (client->reply.status == 0 && !job_reply(client->job, &client->reply))
        wait_resumed(client);
}

static void read_events(struct client *client)
{
    char piece[300];
    ssize_t got;
    const struct body_source *source = &client->reply.source;
    while ((got = source->read(source->self, piece, sizeof piece)) != BODY_END) {
        if (got == 0)
            wait_resumed(client);
        else
            buf_append(&client->text, piece, (size_t)got);
    }
}

/* The whole answer; returns its status. */
static int finish(struct client *client)
{
    await_reply(client);
    int status = client->reply.status;
    if (client->reply.source.read)
        read_events(client);
    else
        buf_append(&client->text, client->reply.text, client->reply.text_size);
    reply_deinit(&client->reply);
    job_drop(client->job, true);
    return status;
}

static struct client *client_new(struct bench *bench, const char *waited, const char *stored)
{
    struct client *client = xcalloc(1, sizeof *client);
    client->bench = bench;
    struct push later = queue_test_push(bench->test, &bench->image.manifest, stored, true);
    client->push = queue_test_push(bench->test, &bench->image.manifest, waited, false);
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < later.target_count; i++)
        assert_int_equal(
            push_add_target(&client->push, &later.targets[i].reference, false, true, &err), ERR_OK);
    push_deinit(&later);
    client->push.config = bench->image.config;
    queue_test_accept(bench->test, &client->push);
    return client;
}

static void client_free(struct client *client)
{
    assert_true(jobs_wait(client->bench->jobs, QUEUE_TEST_MS));
    assert_false(fake_connection_suspended(&client->connection));
    buf_deinit(&client->text);
    free(client);
}

static bool says(struct client *client, const char *words)
{
    return strstr(buf_cstr(&client->text), words) != NULL;
}

static void expect_words(struct client *client, const char *words)
{
    if (!says(client, words))
        fail_msg("%s is not in %s", words, buf_cstr(&client->text));
}

static void refuse(struct bench *bench, const char *tag)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "PUT", .part = tag, .times = 1000, .status = 403});
}

static void hold(struct bench *bench, const char *tag)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "PUT", .part = tag, .times = 1, .effect = true, .hold = true});
}

static size_t puts_of(struct bench *bench, const char *tag)
{
    autofree char *wanted = xasprintf("PUT /v2/team/app/manifests/%s", tag);
    return http_double_count(bench->test->http, wanted);
}

/* ---- one answer at the end ---- */

static void what_is_pushed_is_answered_with_its_results(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one team/app:two", "");
    char id[PUSH_ID_MAX];
    strcpy(id, client->push.id);
    begin(client, run_push);
    assert_int_equal(finish(client), 200);
    autofree char *begin_of = xasprintf("{\"id\":\"%s\",\"state\":\"pushed\",\"image\":{", id);
    expect_words(client, begin_of);
    expect_words(client, "team/app:one\",\"state\":\"pushed\"");
    expect_words(client, "team/app:two\",\"state\":\"pushed\"");
    client_free(client);
    assert_int_equal(puts_of(bench, "one"), 1);
    assert_int_equal(puts_of(bench, "two"), 1);
}

/* It waits in no thread: the connection is suspended, and the job has returned. */
static void the_answer_waits_for_the_registry(void **state)
{
    struct bench *bench = *state;
    struct reply none;
    struct client *client = client_new(bench, "team/app:one", "");
    hold(bench, "one");
    begin(client, run_push);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    assert_false(job_reply(client->job, &none));
    assert_true(fake_connection_suspended(&client->connection));
    fake_registry_release(bench->test->registry);
    wait_resumed(client);
    assert_int_equal(finish(client), 200);
    client_free(client);
}

static void what_is_stored_is_answered_at_once(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    struct client *client = client_new(bench, "", "team/app:one team/app:two");
    hold(bench, "/manifests/");
    begin(client, run_push);
    assert_int_equal(finish(client), 202);
    expect_words(client, "\"state\":\"stored\"");
    expect_words(client, "team/app:one\",\"state\":\"queued\"}");
    expect_words(client, "team/app:two\",\"state\":\"queued\"}");
    client_free(client);
    assert_int_equal(queue_test_records(bench->test, &waiting), 1);
    assert_int_equal(waiting, 2);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_records(bench->test, &waiting), 0);
    assert_int_equal(puts_of(bench, "one"), 1);
    assert_int_equal(puts_of(bench, "two"), 1);
}

/* For those that are waited for the answer waits, and only for those. */
static void both_kinds_are_answered_as_pushed(void **state)
{
    struct bench *bench = *state;
    size_t waiting = 0;
    struct client *client = client_new(bench, "other/app:one", "team/app:two");
    hold(bench, "two");
    begin(client, run_push);
    assert_int_equal(finish(client), 200);
    expect_words(client, "\"state\":\"pushed\",\"image\"");
    expect_words(client, "other/app:one\",\"state\":\"pushed\"");
    expect_words(client, "team/app:two\",\"state\":\"queued\"}");
    client_free(client);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_records(bench->test, &waiting), 0);
    assert_int_equal(puts_of(bench, "two"), 1);
}

static void a_failure_is_the_status(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one team/app:two", "");
    refuse(bench, "two");
    begin(client, run_push);
    assert_int_equal(finish(client), error_http_status(ERR_DENIED));
    expect_words(client, "\"state\":\"failed\",\"image\"");
    expect_words(client, "team/app:one\",\"state\":\"pushed\"");
    expect_words(client, "team/app:two\",\"state\":\"failed\"");
    expect_words(client, "\"code\":\"DENIED\"");
    client_free(client);
}

static void an_optional_target_may_fail(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one team/app:two", "");
    client->push.targets[1].optional = true;
    refuse(bench, "two");
    begin(client, run_push);
    assert_int_equal(finish(client), 200);
    expect_words(client, "\"state\":\"pushed\",\"image\"");
    expect_words(client, "team/app:two\",\"state\":\"failed\",\"optional\":true");
    client_free(client);
}

/* ---- events ---- */

static void events_come_while_it_is_pushed(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one team/app:two", "");
    client->events = true;
    hold(bench, "one");
    begin(client, run_push);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    await_reply(client);
    assert_int_equal(client->reply.status, 200);
    assert_non_null(client->reply.source.read);
    fake_registry_release(bench->test->registry);
    assert_int_equal(finish(client), 200);
    assert_int_equal(strncmp(buf_cstr(&client->text), "{\"status\":\"Pushing sha256:", 26), 0);
    expect_words(client, " to 2 targets\",\"push\":{\"id\":\"");
    expect_words(client, "{\"status\":\"The push refers to repository [");
    expect_words(client, "\"aux\":{\"Tag\":\"one\"");
    expect_words(client, "\"aux\":{\"Tag\":\"two\"");
    client_free(client);
}

/* The connection ends for it, slow or silent, but not as long as the push runs. */
static void who_takes_no_events_has_a_minute_after_the_push(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one", "");
    const struct connections_options options = {.max = 1};
    struct connections *table = connections_new(&options);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client->at = connection_open(table, ends[0], (struct net_address){{0}});
    assert_true(connection_begins(client->at));
    connection_waits(client->at);
    client->events = true;
    hold(bench, "one");
    begin(client, run_push);
    await_reply(client);
    connections_sweep(table, clock_ms() + 100 * EVENT_STREAM_LINGER_MS, false);
    int64_t since_ms = clock_ms();
    fake_registry_release(bench->test->registry);
    assert_int_equal(finish(client), 200);
    assert_int_equal(EVENT_STREAM_LINGER_MS, 60000);
    connections_sweep(table, since_ms + EVENT_STREAM_LINGER_MS - 1, false);
    assert_false(connection_ended(client->at));
    connections_sweep(table, clock_ms() + EVENT_STREAM_LINGER_MS, false);
    assert_true(connection_ended(client->at));
    connection_close(client->at);
    client_free(client);
    connections_free(table);
    close(ends[0]);
    close(ends[1]);
}

/* Known when the status has been sent: the last lines say it. */
static void a_failure_is_an_event(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one", "");
    client->events = true;
    refuse(bench, "one");
    begin(client, run_push);
    assert_int_equal(finish(client), 200);
    expect_words(client, "{\"errorDetail\":{\"code\":502,");
    expect_words(client, "\"code\":\"DENIED\"");
    client_free(client);
}

static void events_of_what_is_stored_end_at_once(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "", "team/app:one");
    client->events = true;
    hold(bench, "one");
    begin(client, run_push);
    assert_int_equal(finish(client), 202);
    expect_words(client, " to 1 target\",\"push\":{\"id\":\"");
    expect_words(client, "{\"status\":\"Stored, is pushed from here\",");
    assert_false(says(client, "The push refers to"));
    client_free(client);
}

static void events_of_both_kinds_have_an_outcome_each(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "other/app:one", "team/app:two");
    client->events = true;
    hold(bench, "two");
    begin(client, run_push);
    assert_int_equal(finish(client), 200);
    expect_words(client, "\"aux\":{\"Tag\":\"one\"");
    expect_words(client, "{\"status\":\"Stored, is pushed from here\",");
    client_free(client);
}

/* ---- clients that go, and the end ---- */

static void the_push_goes_on_without_its_client(void **state)
{
    struct bench *bench = *state;
    for (int events = 0; events < 2; events++) {
        struct client *client = client_new(bench, events ? "team/app:one" : "team/app:two", "");
        client->events = events;
        hold(bench, events ? "one" : "two");
        begin(client, run_push);
        QUEUE_TEST_UNTIL(puts_of(bench, events ? "one" : "two") == 1);
        if (events) {
            await_reply(client);
            reply_deinit(&client->reply);
        }
        job_drop(client->job, true);
        assert_false(jobs_wait(bench->jobs, 0));
        fake_registry_release(bench->test->registry);
        client_free(client);
    }
    queue_test_idle(bench->test);
    assert_true(fake_registry_has(bench->test->registry, "manifests/one"));
    assert_true(fake_registry_has(bench->test->registry, "manifests/two"));
}

static void a_cancelled_push_is_answered(void **state)
{
    struct bench *bench = *state;
    for (int events = 0; events < 2; events++) {
        struct client *client = client_new(bench, events ? "team/app:one" : "team/app:two", "");
        client->events = events;
        hold(bench, events ? "one" : "two");
        begin(client, run_push);
        QUEUE_TEST_UNTIL(puts_of(bench, events ? "one" : "two") == 1);
        jobs_cancel(bench->jobs);
        assert_int_equal(finish(client), events ? 200 : error_http_status(ERR_CANCELLED));
        expect_words(client, "\"code\":\"CANCELLED\"");
        client_free(client);
    }
}

/* ---- what is not pushed ---- */

static void a_refusal_is_an_error_answer(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one", "");
    client->why = (struct error){.code = ERR_NO_TAG, .text = "no tag is there"};
    begin(client, run_refusal);
    assert_int_equal(finish(client), error_http_status(ERR_NO_TAG));
    expect_words(client, "\"code\":\"NO_TAG\",\"message\":\"no tag is there\"");
    client_free(client);
    assert_int_equal(http_double_count(bench->test->http, "PUT "), 0);
}

static void a_document_has_its_limit(void **state)
{
    struct bench *bench = *state;
    static const char text[] = "0123456789";
    enum { LIMIT = 9 };
    for (size_t size = 0; size <= LIMIT + 1; size += size == 0 ? LIMIT - 1 : 1) {
        struct client *client = client_new(bench, "team/app:one", "");
        client->body_limit = LIMIT;
        begin(client, run_document);
        assert_int_equal(job_put(client->job, text, size / 2), size / 2);
        assert_int_equal(job_put(client->job, text + size / 2, size - size / 2), size - size / 2);
        job_end(client->job);
        if (size <= LIMIT) {
            assert_int_equal(finish(client), 200);
            assert_int_equal(client->text.size, size);
            assert_memory_equal(client->text.data, text, size);
        } else {
            assert_int_equal(finish(client), 413);
            expect_words(client, "the document has more than 9 bytes");
        }
        client_free(client);
    }
}

static void a_document_that_breaks_off_is_an_error(void **state)
{
    struct bench *bench = *state;
    struct client *client = client_new(bench, "team/app:one", "");
    struct error why = {.code = ERR_CLIENT_STALLED, .text = "it stalled"};
    client->body_limit = 100;
    begin(client, run_document);
    job_put(client->job, "0123", 4);
    assert_true(job_interrupt(client->job, &why));
    assert_int_equal(finish(client), error_http_status(ERR_CLIENT_STALLED));
    expect_words(client, "it stalled");
    client_free(client);
}

#define JOB_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOB_TEST(what_is_pushed_is_answered_with_its_results),
        JOB_TEST(the_answer_waits_for_the_registry),
        JOB_TEST(what_is_stored_is_answered_at_once),
        JOB_TEST(both_kinds_are_answered_as_pushed),
        JOB_TEST(a_failure_is_the_status),
        JOB_TEST(an_optional_target_may_fail),
        JOB_TEST(events_come_while_it_is_pushed),
        JOB_TEST(who_takes_no_events_has_a_minute_after_the_push),
        JOB_TEST(a_failure_is_an_event),
        JOB_TEST(events_of_what_is_stored_end_at_once),
        JOB_TEST(events_of_both_kinds_have_an_outcome_each),
        JOB_TEST(the_push_goes_on_without_its_client),
        JOB_TEST(a_cancelled_push_is_answered),
        JOB_TEST(a_refusal_is_an_error_answer),
        JOB_TEST(a_document_has_its_limit),
        JOB_TEST(a_document_that_breaks_off_is_an_error),
    };
    json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
