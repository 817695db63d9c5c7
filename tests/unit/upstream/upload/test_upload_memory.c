/* What outlives the process of an upload, and who goes on with it. */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/upload_test.h"
#include "upstream/client/registry_host.h"
#include "upstream/upload/upload_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HALF (SIZE / 2)

/* One process's memory of uploads, on the fixture's store. */
struct process {
    struct upload_fixture *fixture;
    struct executor *executor;
    struct work_queue *queue;
    struct upload_memory *memory;
    struct registry_credentials credentials;
    struct repository repository;
    struct unfinished_upload upload;
};

static void process_begin(struct process *process, struct upload_fixture *fixture, const char *user)
{
    const struct executor_options options = {.threads_max = 2};
    struct error err = ERROR_INIT;
    *process = (struct process){.fixture = fixture};
    assert_int_equal(executor_new(&options, &process->executor, &err), ERR_OK);
    process->queue = work_queue_new(process->executor, NULL, UINT32_MAX);
    process->memory = upload_memory_new(fixture->store, process->queue);
    process->credentials.username = user ? xstrdup(user) : NULL;
    repository_init(&process->repository, &upload_test_host(fixture)->endpoints[0], "team/app",
                    &process->credentials);
    struct location_key key;
    const struct descriptor blob = {.digest = fixture->digest, .size = UPLOAD_NOTE_LEAST};
    location_key_make(&process->credentials, &key);
    upload_memo_init(&process->upload.memo, process->memory, &process->repository, &key, &blob);
}

/* What was noted is written by then. */
static void process_end(struct process *process)
{
    upload_memory_close(process->memory);
    work_queue_free(process->queue);
    upload_memory_free(process->memory);
    executor_free(process->executor);
    upload_session_drop(&process->upload.session);
    repository_deinit(&process->repository);
    registry_credentials_clear(&process->credentials);
}

static void recall(struct process *process)
{
    upload_recall(&process->repository, &process->upload, SIZE);
    assert_int_equal(process->upload.begun, upload_session_is_open(&process->upload.session));
}

static size_t records(struct upload_fixture *fixture, struct open_upload *first)
{
    struct open_upload all[4];
    struct error err = ERROR_INIT;
    size_t count = 0;
    assert_int_equal(open_uploads_older(fixture->store, UINT64_MAX, all, 4, &count, &err), ERR_OK);
    for (size_t i = 0; i < count; i++)
        if (i == 0 && first)
            *first = all[0];
        else
            open_upload_deinit(&all[i]);
    return count;
}

/* A body breaks off at its half, and its process ends. */
static void leave_half(struct upload_fixture *fixture, const char *user)
{
    struct process process;
    struct error err = ERROR_INIT;
    fixture->selector = UPLOAD_METHOD_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH",
                                                     .times = 1,
                                                     .with_body = true,
                                                     .effect = true,
                                                     .half = true,
                                                     .drop = true};
    fixture->fake->faults[1] = (struct upload_fault){.method = "HEAD", .times = 1, .status = 503};
    process_begin(&process, fixture, user);
    recall(&process);
    assert_false(process.upload.begun);
    assert_int_equal(upload_test_run(fixture, &process.upload, NULL, &err), ERR_CONNECTION_LOST);
    upload_leave(&process.repository, &process.upload);
    assert_false(upload_session_is_open(&process.upload.session));
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 1);
}

static void finish(struct process *process)
{
    struct error err = ERROR_INIT;
    if (upload_test_run(process->fixture, &process->upload, NULL, &err) != ERR_OK)
        fail_msg("%s: %s", error_name(err.code), err.text);
    upload_test_arrived(process->fixture);
}

static void the_next_process_sends_the_other_half(void **state)
{
    struct upload_fixture *fixture = *state;
    struct process process;
    leave_half(fixture, NULL);
    process_begin(&process, fixture, NULL);
    recall(&process);
    assert_true(process.upload.begun);
    finish(&process);
    process_end(&process);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->received, SIZE + SIZE - HALF);
    assert_int_equal(records(fixture, NULL), 0);
}

/* Of two transfers of one process that want it, one has it. */
static void it_has_one_owner(void **state)
{
    struct upload_fixture *fixture = *state;
    struct process process;
    leave_half(fixture, NULL);
    process_begin(&process, fixture, NULL);
    struct unfinished_upload other = {.memo = process.upload.memo};
    recall(&process);
    upload_recall(&process.repository, &other, SIZE);
    assert_false(other.begun);
    upload_memo_forget(&other.memo);
    upload_leave(&process.repository, &process.upload);
    upload_recall(&process.repository, &other, SIZE);
    assert_true(other.begun);
    upload_give_up(&process.repository, &other);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 0);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
}

static void others_begin_anew(void **state)
{
    struct upload_fixture *fixture = *state;
    struct process process;
    leave_half(fixture, "anna");
    process_begin(&process, fixture, "bert");
    recall(&process);
    assert_false(process.upload.begun);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 1);
    process_begin(&process, fixture, "anna");
    recall(&process);
    assert_true(process.upload.begun);
    process_end(&process);
}

/* A record is changed, as a restart with another configuration, or a day later, finds it. */
static void expect_unused(struct upload_fixture *fixture, const char *endpoint,
                          const char *location, uint64_t age_s)
{
    struct process process;
    struct open_upload record;
    struct error err = ERROR_INIT;
    leave_half(fixture, NULL);
    assert_int_equal(records(fixture, &record), 1);
    char **url = endpoint ? &record.endpoint : &record.location;
    if (endpoint || location) {
        free(*url);
        *url = xstrdup(endpoint ? endpoint : location);
    }
    record.at_s -= age_s;
    assert_int_equal(open_uploads_write(fixture->store, &record, 1, &err), ERR_OK);
    open_upload_deinit(&record);
    process_begin(&process, fixture, NULL);
    recall(&process);
    assert_false(process.upload.begun);
    finish(&process);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 0);
}

static void a_location_is_not_followed_anywhere(void **state)
{
    struct upload_fixture *fixture = *state;
    expect_unused(fixture, "http://127.0.0.1:1", NULL, 0);
    expect_unused(fixture, NULL, "http://user:secret@127.0.0.1:1/v2/x", 0);
    expect_unused(fixture, NULL, "ftp://127.0.0.1/x", 0);
    expect_unused(fixture, NULL, NULL, UPLOAD_NOTE_AGE_S);
}

/* A day later nobody has asked for it. */
static void what_is_old_is_taken_back(void **state)
{
    struct upload_fixture *fixture = *state;
    struct process process;
    struct open_upload record;
    struct error err = ERROR_INIT;
    leave_half(fixture, NULL);
    process_begin(&process, fixture, NULL);
    upload_memory_expire(process.memory, fixture->registries);
    process_end(&process); /* waits for what runs */
    assert_int_equal(records(fixture, &record), 1);
    record.at_s -= UPLOAD_NOTE_AGE_S + 1;
    assert_int_equal(open_uploads_write(fixture->store, &record, 1, &err), ERR_OK);
    open_upload_deinit(&record);
    process_begin(&process, fixture, NULL);
    upload_memory_expire(process.memory, fixture->registries);
    int64_t until_ms = clock_ms() + 20000;
    while (records(fixture, NULL) > 0 && clock_ms() < until_ms)
        usleep(2000);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 0);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
}

static void what_is_over_soon_is_never_written(void **state)
{
    struct upload_fixture *fixture = *state;
    struct process process;
    process_begin(&process, fixture, NULL);
    finish(&process);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 0);
    const struct descriptor small = {.digest = fixture->digest, .size = UPLOAD_NOTE_LEAST - 1};
    const struct location_key nobody = {.text = ""};
    process_begin(&process, fixture, NULL);
    upload_memo_init(&process.upload.memo, process.memory, &process.repository, &nobody, &small);
    upload_test_open(fixture, &process.upload);
    upload_memo_note(&process.upload.memo, &process.repository, &process.upload.session);
    process_end(&process);
    assert_int_equal(records(fixture, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, upload_test_setup, upload_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_process_sends_the_other_half),
        TEST(it_has_one_owner),
        TEST(others_begin_anew),
        TEST(a_location_is_not_followed_anywhere),
        TEST(what_is_old_is_taken_back),
        TEST(what_is_over_soon_is_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
