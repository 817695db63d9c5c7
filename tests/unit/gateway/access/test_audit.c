/*
 * With a path, the program writes lines of every action to that file, which
 * tests/integration/test_audit.py holds to docs/audit.schema.json.
 */
#include "gateway/access/audit.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/audit_line.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#define TIME "2026-01-31T12:00:00.123Z"
#define FILE_MAX ((size_t)16 << 20)

/* What a client may send. */
#define HOSTILE "a\n\x1b[31m\xc2\x9b\x7f\xff\xe2\x80\xae\"\\ https://u:secret@r.example.com/"

static struct digest manifest = {.algorithm = DIGEST_NONE};
static struct push_target targets[AUDIT_TARGETS_MAX + 1];
static char user[] = "robot:ci-\xc3\xa4";
static char issuer[] = "github";
static char claims[] = "{\"repository_id\":\"1234\",\"ref\":\"\xc3\xa4\x7f\"}";
static const struct identity robot = {.kind = IDENTITY_ROBOT, .name = user};
static const struct identity ci = {
    .kind = IDENTITY_CI, .name = user, .issuer = issuer, .claims = claims};
static const struct push_by by = {.kind = "user", .name = "ann"};
static const struct audit_origin origin = {
    .address = "192.0.2.1", .agent = HOSTILE, .request = "r-1"};
static struct error refused = {.code = ERR_FORBIDDEN};

static void prepare(void)
{
    manifest.algorithm = DIGEST_SHA256;
    snprintf(refused.text, sizeof refused.text, "%s", "no");
    for (size_t i = 0; i < AUDIT_TARGETS_MAX + 1; i++) {
        struct error err = ERROR_INIT;
        char text[64];
        snprintf(text, sizeof text, "r.example.com/team/app:%zu", i);
        targets[i].state = PUSH_PUSHED;
        assert_int_equal(reference_parse(text, &targets[i].reference, &err), ERR_OK);
    }
    snprintf(targets[0].name, sizeof targets[0].name, "prod");
}

/* All that a line of the action may have. */
static struct audit_event event_of(enum audit_action action, enum audit_outcome outcome)
{
    return (struct audit_event){.action = action,
                                .outcome = outcome,
                                .error = outcome == AUDIT_SUCCESS ? NULL : &refused,
                                .actor = &ci,
                                .origin = &origin,
                                .push = "01a2231834c89b189eb27ea2",
                                .repository = "team/app",
                                .tag = "1.0",
                                .digest = &manifest,
                                .was = &manifest,
                                .object = HOSTILE,
                                .operation = "tag:move",
                                .rule = 3,
                                .count = 2,
                                .targets = targets,
                                .target_count = AUDIT_TARGETS_MAX};
}

static json_t *line_of(const struct audit_event *event)
{
    struct error err = ERROR_INIT;
    json_t *value = NULL;
    autofree char *line = audit_line(event, "0123456789abcdef-1", TIME);
    size_t size = strlen(line);
    for (size_t i = 0; i + 1 < size; i++)
        assert_true(line[i] >= ' ' && line[i] < '\x7f');
    assert_int_equal(line[size - 1], '\n');
    assert_int_equal(json_parse(line, size, FILE_MAX, "the line", &value, &err), ERR_OK);
    return value;
}

/* ---- a line ---- */

static void what_is_not_known_is_left_out(void **state)
{
    const struct audit_event event = {.action = AUDIT_RELOAD};
    (void)state;
    autofree char *line = audit_line(&event, "0123456789abcdef-1", TIME);
    assert_string_equal(line, "{\"schema\":1,\"id\":\"0123456789abcdef-1\",\"time\":\"" TIME
                              "\",\"action\":\"configuration.reload\",\"outcome\":\"success\"}\n");
}

static void strangers_texts_are_ascii_and_have_no_secret(void **state)
{
    const struct audit_event event = event_of(AUDIT_LOGIN, AUDIT_DENIED);
    (void)state;
    autojson json_t *line = line_of(&event);
    const char *agent = json_text(line, "user_agent");
    assert_non_null(strstr(agent, "a\n\x1b[31m\xc2\x9b??\xe2\x80\xae\"\\ https://"));
    assert_null(strstr(agent, "secret"));
    assert_null(strstr(json_text(line, "object"), "secret"));
    assert_string_equal(json_text(line, "code"), "DENIED");
    assert_string_equal(json_text(line, "reason"), "no");
}

static void texts_are_cut_at_a_character(void **state)
{
    static char longest[2 * AUDIT_TEXT_MAX];
    struct audit_event event = {.action = AUDIT_PAUSE, .object = longest};
    (void)state;
    for (size_t before = 0; before <= 1; before++) {
        memset(longest, 0, sizeof longest);
        memset(longest, 'x', before);
        for (size_t at = before; at + 3 < sizeof longest; at += 2)
            memcpy(longest + at, "\xc3\xa4", 2);
        autojson json_t *line = line_of(&event);
        assert_int_equal(strlen(json_text(line, "object")), AUDIT_TEXT_MAX - before);
    }
}

static void an_actor_is_who_asked_else_whose_push_it_is(void **state)
{
    struct audit_event event = {.action = AUDIT_DELETE, .actor = &ci, .by = &by};
    (void)state;
    autojson json_t *first = line_of(&event);
    const json_t *actor = json_object_get(first, "actor");
    assert_string_equal(json_text(actor, "kind"), "ci");
    assert_string_equal(json_text(actor, "id"), user);
    assert_string_equal(json_text(actor, "issuer"), "github");
    assert_string_equal(json_text(json_object_get(actor, "claims"), "repository_id"), "1234");
    assert_string_equal(json_text(json_object_get(actor, "claims"), "ref"), "\xc3\xa4?");
    event.actor = NULL;
    autojson json_t *second = line_of(&event);
    actor = json_object_get(second, "actor");
    assert_string_equal(json_text(actor, "kind"), "user");
    assert_string_equal(json_text(actor, "id"), "ann");
    assert_int_equal(json_object_size(actor), 2);
    event.by = &(const struct push_by){.kind = ""};
    autojson json_t *nobody = line_of(&event);
    assert_null(json_object_get(nobody, "actor"));
}

static void too_many_targets_are_counted(void **state)
{
    (void)state;
    for (size_t count = AUDIT_TARGETS_MAX - 1; count <= AUDIT_TARGETS_MAX + 1; count++) {
        struct audit_event event = event_of(AUDIT_PUSH, AUDIT_SUCCESS);
        event.target_count = count;
        autojson json_t *line = line_of(&event);
        assert_int_equal(json_array_size(json_object_get(line, "targets")),
                         count < AUDIT_TARGETS_MAX ? count : AUDIT_TARGETS_MAX);
        assert_int_equal(json_integer_value(json_object_get(line, "target_count")),
                         count > AUDIT_TARGETS_MAX ? count : 0);
    }
}

/* ---- the stream ---- */

static char folder[TEST_FOLDER_MAX];
static char path[128];

static int make_folder(void **state)
{
    (void)state;
    prepare();
    test_folder_make(folder);
    snprintf(path, sizeof path, "%s/audit.ndjson", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

static void ids_have_no_gaps(void **state)
{
    struct error err = ERROR_INIT;
    struct audit *audit = NULL;
    struct metrics *metrics = metrics_new();
    struct push push = {.by = by, .manifest.digest = manifest, .targets = targets};
    struct buf page = BUF_INIT(4096);
    autofree char *text = NULL;
    size_t size = 0;
    unsigned long long run = 0;
    (void)state;
    assert_int_equal(audit_open(path, metrics, &audit, &err), ERR_OK);
    push.target_count = 2;
    audit_push_accepted(audit, &push, &origin);
    audit_target_ended(audit, &push, &targets[0]);
    audit_reopen(audit);
    audit_target_ended(audit, &push, &targets[1]);
    metrics_text(metrics, &page);
    assert_non_null(strstr(buf_cstr(&page), "slipway_audit_dropped_total 0"));
    audit_close(audit);
    metrics_free(metrics);
    buf_deinit(&page);
    assert_int_equal(file_read_all(path, FILE_MAX, &text, &size, &err), ERR_OK);
    const char *at = text;
    for (int number = 1; number <= 3; number++) {
        unsigned long long this_run = 0;
        int this_number = 0;
        assert_int_equal(sscanf(at, "{\"schema\":1,\"id\":\"%llx-%d\",", &this_run, &this_number),
                         2);
        assert_int_equal(this_number, number);
        assert_true(number == 1 || this_run == run);
        run = this_run;
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "");
}

static void without_a_file_there_is_no_stream(void **state)
{
    struct error err = ERROR_INIT;
    struct audit *audit = NULL;
    const struct audit_event event = event_of(AUDIT_CHECK, AUDIT_SUCCESS);
    (void)state;
    assert_int_equal(audit_open("/proc/none/audit", NULL, &audit, &err), ERR_IO);
    assert_null(audit);
    audit_write(NULL, &event);
    audit_reopen(NULL);
    audit_close(NULL);
}

/* ---- lines for the schema ---- */

static void write_lines(FILE *out, const struct audit_event *event)
{
    autofree char *line = audit_line(event, "0123456789abcdef-17", TIME);
    fputs(line, out);
}

/* The least that a line of the action has is what its own fields are. */
static void write_least(FILE *out, enum audit_action action, enum audit_outcome outcome)
{
    struct audit_event event = event_of(action, outcome);
    event.actor = NULL;
    event.origin = NULL;
    event.error = NULL;
    event.target_count = action == AUDIT_TARGET ? 1 : 0;
    write_lines(out, &event);
}

static int write_all(const char *to)
{
    FILE *out = fopen(to, "we");
    if (out == NULL)
        return 1;
    prepare();
    for (enum audit_action action = 0; action <= AUDIT_LOST; action++) {
        bool refusal = action == AUDIT_LOGIN || action == AUDIT_DENY;
        enum audit_outcome outcome = refusal                ? AUDIT_DENIED
                                     : action == AUDIT_LOST ? AUDIT_FAILURE
                                                            : AUDIT_SUCCESS;
        struct audit_event event = event_of(action, outcome);
        write_lines(out, &event);
        event.actor = &robot;
        event.target_count = AUDIT_TARGETS_MAX + 1;
        write_lines(out, &event);
        write_least(out, action, outcome);
    }
    struct audit_event failed = event_of(AUDIT_TARGET, AUDIT_FAILURE);
    for (enum push_state s = PUSH_QUEUED; s <= PUSH_STATE_MAX; s++) {
        targets[0].state = s;
        failed.target_count = 1;
        write_lines(out, &failed);
    }
    return fclose(out) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(strangers_texts_are_ascii_and_have_no_secret),
        cmocka_unit_test(texts_are_cut_at_a_character),
        cmocka_unit_test(an_actor_is_who_asked_else_whose_push_it_is),
        cmocka_unit_test(too_many_targets_are_counted),
        cmocka_unit_test(ids_have_no_gaps),
        cmocka_unit_test(without_a_file_there_is_no_stream),
    };
    if (argc > 1)
        return write_all(argv[1]);
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
