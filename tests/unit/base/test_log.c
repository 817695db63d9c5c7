#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/json.h"
#include "base/log.h"
#include "base/log_output.h"
#include "base/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- what is written to stderr meanwhile ---- */

static char written[1 << 20];
static int terminal = -1, file = -1;

static void begin(enum log_level level, enum log_format format)
{
    log_setup(level, format);
    terminal = dup(STDERR_FILENO);
    file = memfd_create("log", MFD_CLOEXEC);
    dup2(file, STDERR_FILENO);
}

static const char *end(void)
{
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    ssize_t size = pread(file, written, sizeof written - 1, 0);
    close(file);
    assert_true(size >= 0);
    written[size] = '\0';
    return written;
}

/* The one text line without its time. */
static const char *end_line(void)
{
    const char *text = end();
    size_t size = strlen(text);
    assert_true(size > 0);
    assert_ptr_equal(strchr(text, '\n'), text + size - 1);
    written[size - 1] = '\0';
    return strchr(text, ' ') + 1;
}

static json_t *end_json(void)
{
    struct error err = ERROR_INIT;
    json_t *value = NULL;
    const char *line = end_line();
    (void)line;
    /* Rejects what is not UTF-8 and keys that are there twice. */
    if (json_parse(written, strlen(written), sizeof written, "the line", &value, &err) != ERR_OK)
        print_error("%s: %s\n", err.text, written);
    assert_non_null(value);
    return value;
}

/* ---- tests ---- */

static void text_is_message_then_fields(void **state)
{
    (void)state;
    begin(LOG_INFO, LOG_TEXT);
    log_event(LOG_INFO, "target.pushed",
              LOG_FIELDS(log_text("target", "r.example.com:5000/a/b:1"), log_text("tag", ""),
                         log_text("digest", NULL), log_number("bytes", 0),
                         log_number("most", UINT64_MAX)),
              "pushed %d", 1);
    assert_string_equal(end_line(), "info  pushed 1 target=r.example.com:5000/a/b:1 bytes=0 "
                                    "most=18446744073709551615");
    begin(LOG_INFO, LOG_TEXT);
    log_warn("only %s", "words");
    assert_string_equal(end_line(), "warn  only words");
}

static void text_values_are_quoted_where_they_need_it(void **state)
{
    (void)state;
    begin(LOG_INFO, LOG_TEXT);
    log_event(LOG_ERROR, "e",
              LOG_FIELDS(log_text("a", "two words"), log_text("b", "say \"x\""),
                         log_text("c", "k=v"), log_text("d", "back\\slash"),
                         log_text("e", "sha256:12")),
              "m");
    assert_string_equal(end_line(), "error m a=\"two words\" b=\"say \\\"x\\\"\" c=\"k=v\" "
                                    "d=\"back\\\\slash\" e=sha256:12");
}

static void json_has_the_event_and_numbers(void **state)
{
    (void)state;
    begin(LOG_DEBUG, LOG_JSON);
    log_event(LOG_DEBUG, "upload.finished",
              LOG_FIELDS(log_text("digest", "sha256:12"), log_number("bytes", 7)), "has \"%s\"",
              "x");
    autojson json_t *line = end_json();
    assert_string_equal(json_text(line, "level"), "debug");
    assert_string_equal(json_text(line, "event"), "upload.finished");
    assert_string_equal(json_text(line, "message"), "has \"x\"");
    assert_string_equal(json_text(line, "digest"), "sha256:12");
    assert_int_equal(json_integer_value(json_object_get(line, "bytes")), 7);
    assert_int_equal(strlen(json_text(line, "time")), strlen("2026-01-01T00:00:00.000Z"));
    assert_int_equal(json_object_size(line), 6);

    begin(LOG_DEBUG, LOG_JSON);
    log_error("words");
    autojson json_t *plain = end_json();
    assert_int_equal(json_object_size(plain), 3);
}

/* What a client or a registry may send. */
#define HOSTILE "a\n\x1b[31m\xc2\x9b\x7f\xff\xc3\xa4\xe2\x80\xae\"\\z"

static void a_line_is_one_line_of_what_can_be_shown(void **state)
{
    (void)state;
    begin(LOG_INFO, LOG_TEXT);
    log_event(LOG_INFO, "e", LOG_FIELDS(log_text("f", HOSTILE)), "%s", HOSTILE);
    assert_string_equal(
        end_line(), "info  a\\u000a\\u001b[31m\\u009b\\u007f\xef\xbf\xbd\xc3\xa4\\u202e\"\\z "
                    "f=\"a\\u000a\\u001b[31m\\u009b\\u007f\xef\xbf\xbd\xc3\xa4\\u202e\\\"\\\\z\"");

    begin(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "e", LOG_FIELDS(log_text("f", HOSTILE)), "%s", HOSTILE);
    autojson json_t *line = end_json();
    const char *shown = "a\n\x1b[31m\xc2\x9b\x7f\xef\xbf\xbd\xc3\xa4\xe2\x80\xae\"\\z";
    assert_string_equal(json_text(line, "message"), shown);
    assert_string_equal(json_text(line, "f"), shown);
    /* As bytes, nothing of it is there. */
    assert_null(strpbrk(written, "\x1b\x7f"));
    assert_null(strstr(written, "\xc2\x9b"));
    assert_null(strstr(written, "\xe2\x80\xae"));
}

static void the_longest_line_is_whole(void **state)
{
    (void)state;
    static char longest[LOG_VALUE_MAX + 3];
    memset(longest, 1, sizeof longest - 1);
    struct log_field fields[LOG_FIELDS_MAX + 1] = {{.name = NULL}};
    char names[LOG_FIELDS_MAX][8];
    for (size_t i = 0; i < LOG_FIELDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "f%zu", i);
        fields[i] = log_text(names[i], longest);
    }
    autoscope struct log_scope outer = log_scope_begin("request", longest);
    begin(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "e", fields, "%s", longest);
    autojson json_t *line = end_json();
    assert_int_equal(strlen(json_text(line, "message")), LOG_VALUE_MAX - 1);
    assert_int_equal(strlen(json_text(line, "f15")), LOG_VALUE_MAX);
    assert_int_equal(strlen(json_text(line, "request")), LOG_SCOPE_VALUE_MAX - 1);
}

static void below_the_level_is_nothing(void **state)
{
    (void)state;
    begin(LOG_WARN, LOG_TEXT);
    log_info("no");
    log_event(LOG_DEBUG, "e", NULL, "no");
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    assert_string_equal(end(), "");
}

static const char *line_now(void)
{
    begin(LOG_INFO, LOG_TEXT);
    log_event(LOG_INFO, "e", LOG_FIELDS(log_number("n", 1)), "m");
    return end_line();
}

static void a_scope_is_on_its_lines(void **state)
{
    (void)state;
    assert_string_equal(line_now(), "info  m n=1");
    {
        autoscope struct log_scope outer = log_scope_begin("request", "r1");
        assert_string_equal(line_now(), "info  m n=1 request=r1");
        {
            autoscope struct log_scope inner = log_scope_begin("push", "p1");
            assert_string_equal(line_now(), "info  m n=1 request=r1 push=p1");
            struct log_scope again = log_scope_begin("request", "r2");
            assert_string_equal(line_now(), "info  m n=1 request=r2 push=p1");
            log_scope_end(&again);
        }
        assert_string_equal(line_now(), "info  m n=1 request=r1");
    }
    assert_string_equal(line_now(), "info  m n=1");
}

static void a_field_goes_before_its_scope(void **state)
{
    (void)state;
    autoscope struct log_scope outer = log_scope_begin("push", "p1");
    begin(LOG_INFO, LOG_JSON);
    log_event(LOG_INFO, "e", LOG_FIELDS(log_text("push", "p2")), "m");
    autojson json_t *line = end_json(); /* no key is there twice */
    assert_string_equal(json_text(line, "push"), "p2");
}

static void *run_in_scope(void *scope)
{
    assert_int_equal(log_scope_now().count, 0);
    autoscope struct log_scope outer = log_scope_enter(scope);
    log_info("there");
    return NULL;
}

static void a_scope_goes_along_to_another_thread(void **state)
{
    (void)state;
    struct log_scope scope;
    pthread_t thread;
    {
        autoscope struct log_scope outer = log_scope_begin("request", "r1");
        scope = log_scope_now();
    }
    begin(LOG_INFO, LOG_TEXT);
    assert_int_equal(pthread_create(&thread, NULL, run_in_scope, &scope), 0);
    pthread_join(thread, NULL);
    assert_string_equal(end_line(), "info  there request=r1");
    assert_string_equal(line_now(), "info  m n=1");
}

/* ---- a pipe that nobody reads ---- */

#define LOGGERS 4
#define LINES 2000

static int reading = -1;

/* Of 4 KiB. */
static void begin_pipe(void)
{
    int ends[2];
    log_setup(LOG_INFO, LOG_TEXT);
    terminal = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reading = ends[0];
    log_start();
}

static void *log_many(void *arg)
{
    const size_t *logger = arg;
    char filler[300];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    for (int i = 0; i < LINES; i++)
        log_info("of %zu number %d %s.", *logger, i, filler);
    return NULL;
}

static void *read_pipe(void *arg)
{
    struct buf *text = arg;
    char piece[4096];
    for (ssize_t got; (got = read(reading, piece, sizeof piece)) > 0;)
        buf_append(text, piece, (size_t)got);
    return NULL;
}

/* Each line is whole; those of one thread are in their order; what is missing is said in its place.
 */
static void check_lines(const char *text)
{
    int last[LOGGERS] = {-1, -1, -1, -1};
    unsigned long long lost = 0;
    size_t lines = 0;
    for (const char *at = text, *end; *at; at = end + 1) {
        size_t logger = 0;
        int number = 0;
        unsigned long long count = 0;
        end = strchr(at, '\n');
        assert_non_null(end);
        if (sscanf(at, "%*s warn %llu log lines were lost", &count) == 1) {
            lost += count;
            continue;
        }
        assert_int_equal(sscanf(at, "%*s info of %zu number %d xxx", &logger, &number), 2);
        assert_true(logger < LOGGERS && number > last[logger] && end[-1] == '.');
        last[logger] = number;
        lines++;
    }
    assert_true(lost > 0);
    assert_int_equal(lines + lost, LOGGERS * LINES);
    assert_in_range(lines, LOG_QUEUE_BYTES / 400, LOG_QUEUE_BYTES / 300);
}

static void nobody_waits_for_a_reader(void **state)
{
    (void)state;
    pthread_t threads[LOGGERS];
    pthread_t reader;
    size_t numbers[LOGGERS];
    autobuf struct buf text = BUF_INIT((size_t)16 << 20);
    begin_pipe();
    for (size_t i = 0; i < LOGGERS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, log_many, &numbers[i]);
    }
    for (size_t i = 0; i < LOGGERS; i++)
        pthread_join(threads[i], NULL);
    pthread_create(&reader, NULL, read_pipe, &text);
    assert_true(log_stop(60000));
    dup2(terminal, STDERR_FILENO);
    pthread_join(reader, NULL);
    close(reading);
    close(terminal);
    check_lines(buf_cstr(&text));
}

/* An end waits, and not for ever. The last test: its thread waits as long as the pipe is there. */
static void an_end_has_a_deadline(void **state)
{
    (void)state;
    size_t number = 0;
    begin_pipe();
    log_many(&number);
    assert_false(log_stop(100));
    log_info("does not wait either");
    dup2(terminal, STDERR_FILENO);
    close(terminal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_message_then_fields),
        cmocka_unit_test(text_values_are_quoted_where_they_need_it),
        cmocka_unit_test(json_has_the_event_and_numbers),
        cmocka_unit_test(a_line_is_one_line_of_what_can_be_shown),
        cmocka_unit_test(the_longest_line_is_whole),
        cmocka_unit_test(below_the_level_is_nothing),
        cmocka_unit_test(a_scope_is_on_its_lines),
        cmocka_unit_test(a_field_goes_before_its_scope),
        cmocka_unit_test(a_scope_goes_along_to_another_thread),
        cmocka_unit_test(nobody_waits_for_a_reader),
        cmocka_unit_test(an_end_has_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
