#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"

#include "base/mem.h"
#include "gateway/service/check_report.h"
#include "store/store_local.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A gateway that checks is asked so often. */
#define ASK_AGAIN_MS 500

struct check_command {
    struct control_options control;
    bool repair;
};

/* ---- what is printed ---- */

static uint64_t number(const json_t *report, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(report, key));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_text(object, key);
    return value ? value : "";
}

static void print_problem(const json_t *problem)
{
    const char *table = text(problem, "table");
    printf("%s %s%s%s: %s (%s)\n", text(problem, "kind"), table, table[0] ? " " : "",
           text(problem, "name"), text(problem, "text"), text(problem, "action"));
}

static void print_report(const json_t *report)
{
    size_t i = 0;
    const json_t *problem = NULL;
    const json_t *problems = json_object_get(report, "problems");
    uint64_t found = number(report, "found");
    json_array_foreach(problems, i, problem)
    {
        print_problem(problem);
    }
    if (found > json_array_size(problems))
        printf("... and %" PRIu64 " more\n", found - json_array_size(problems));
    printf("%" PRIu64 " blobs (%" PRIu64 " bytes), %" PRIu64 " records: %" PRIu64
           " problems, %" PRIu64 " repaired\n",
           number(report, "blobs"), number(report, "bytes"), number(report, "records"), found,
           number(report, "repaired"));
}

/* The exit status. */
static int print(const struct check_command *command, const json_t *report)
{
    const char *state = text(report, "state");
    if (command->control.json) {
        json_dumpf(report, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        print_report(report);
    }
    if (strcmp(state, "done") != 0) {
        cli_complain("the check was not made to its end: %s",
                     json_object_get(report, "error") ? text(report, "error") : state);
        return EXIT_NOT_CHECKED;
    }
    return number(report, "found") > number(report, "repaired") ? EXIT_TARGET_FAILED : EXIT_PUSHED;
}

/* ---- without a gateway ---- */

static void check_alone(struct store *store, const struct cancel *cancel,
                        struct check_report *report)
{
    const struct check_options options = {
        .repair = report->repair, .found = check_report_found, .self = report};
    struct check *check = check_new(store, &options);
    int64_t wait_ms = 0; /* nobody else uses the store */
    bool more = true;
    while (more && report->error.code == ERR_OK && !cancel_requested(cancel))
        check_step(check, &more, &wait_ms, &report->error);
    report->state = report->error.code != ERR_OK ? "failed" : more ? "cancelled" : "done";
    report->counts = check_counts(check);
    check_free(check);
}

/* What slipway push left volatile stays so. */
static int check_here(struct control *control, const struct check_command *command)
{
    const struct store_options options = {.map_size_bytes = control->settings->store.map_bytes,
                                          .leave_volatile = true};
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct check_report report;
    if (store_open_local(control->settings->data, &options, &store, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_NOT_CHECKED;
    }
    check_report_init(&report, command->repair);
    check_alone(store, &control->cancel, &report);
    store_close(store);
    autojson json_t *value = check_report_json(&report);
    check_report_deinit(&report);
    return print(command, value);
}

/* ---- by a gateway ---- */

static int follow(struct control *control, const struct check_command *command,
                  struct control_answer *answer)
{
    struct error err = ERROR_INIT;
    const struct control_request look = {.method = "GET", .path = "/v1/check"};
    const struct control_request end = {.method = "DELETE", .path = "/v1/check"};
    bool other = json_is_true(json_object_get(answer->body, "repair")) != command->repair;
    while (strcmp(text(answer->body, "state"), "running") == 0) {
        bool cancelled = cancel_wait(&control->cancel, ASK_AGAIN_MS);
        control_answer_deinit(answer);
        if (cancelled) {
            control_ask(control, &end, answer, &err);
            return EXIT_NOT_CHECKED;
        }
        if (control_ask(control, &look, answer, &err) != ERR_OK)
            return control_complain(&err);
    }
    if (other)
        cli_complain("a check %s repair was under way, and this is what it found; try again",
                     command->repair ? "without" : "with");
    return other ? EXIT_NOT_CHECKED : print(command, answer->body);
}

static int work(struct control *control, void *arg)
{
    const struct check_command *command = arg;
    struct error err = ERROR_INIT;
    autoanswer struct control_answer answer = {.status = 0};
    autojson json_t *body = json_object();
    json_object_set_new(body, "repair", json_boolean(command->repair));
    const struct control_request begin = {.method = "POST", .path = "/v1/check", .body = body};
    if (control_ask(control, &begin, &answer, &err) == ERR_OK)
        return follow(control, command, &answer);
    if (answer.nobody)
        return check_here(control, command);
    return control_complain(&err);
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        CONTROL_LONG_OPTIONS, {"repair", no_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
    struct check_command command = {.repair = false};
    int option = 0;
    while ((option = control_next_option(&command.control, argc, argv, options)) == 'r')
        command.repair = true;
    if (option != -1)
        return EXIT_USAGE;
    if (optind < argc)
        return cli_usage(argv[0], "check takes no argument \"%s\"", argv[optind]);
    int status = control_options_check(&command.control, argv[0]);
    return status ? status : control_run(&command.control, work, &command);
}
