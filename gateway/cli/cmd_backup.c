/* slipway backup: by the gateway that has the store, or on the store itself. */
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"
#include "gateway/service/backup_report.h"

#include <inttypes.h>
#include <stdio.h>

static int print(bool json, const json_t *report)
{
    const char *path = json_text(report, "path");
    json_int_t missing = json_integer_value(json_object_get(report, "missing"));
    if (json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        printf("%s: %" JSON_INTEGER_FORMAT " blobs, %" JSON_INTEGER_FORMAT " bytes\n",
               path ? path : "", json_integer_value(json_object_get(report, "blobs")),
               json_integer_value(json_object_get(report, "bytes")));
    }
    if (missing > 0)
        cli_complain("%" JSON_INTEGER_FORMAT
                     " blobs have a record but no file, so they are not in the backup: see "
                     "slipway check",
                     missing);
    return missing > 0 ? EXIT_TARGET_FAILED : 0;
}

static int back_up_here(const struct control *control, bool json)
{
    struct error err = ERROR_INIT;
    autojson json_t *report = NULL;
    struct store *store = NULL;
    if (cli_open_store(control->settings, &store, &err) == ERR_OK)
        backup_run(control->settings, store, &control->cancel, &report, &err);
    store_close(store);
    if (err.code == ERR_OK)
        return print(json, report);
    cli_complain("%s", err.text);
    return EXIT_TARGET_FAILED;
}

static int work(struct control *control, void *self)
{
    bool json = *(const bool *)self;
    struct error err = ERROR_INIT;
    autoanswer struct control_answer answer = {.body = NULL};
    const struct control_request request = {.method = "POST", .path = "/v1/backup"};
    if (control_ask(control, &request, &answer, &err) == ERR_OK)
        return print(json, answer.body);
    return answer.nobody ? back_up_here(control, json) : control_complain(&err);
}

int cmd_backup(int argc, char **argv)
{
    static const struct option options[] = {CONTROL_LONG_OPTIONS, {NULL, 0, NULL, 0}};
    struct control_options control = {.json = false};
    if (control_next_option(&control, argc, argv, options) != -1)
        return EXIT_USAGE;
    if (optind < argc)
        return cli_usage(argv[0], "backup takes no argument \"%s\"", argv[optind]);
    int status = control_options_check(&control, argv[0]);
    return status ? status : control_run(&control, work, &control.json);
}
