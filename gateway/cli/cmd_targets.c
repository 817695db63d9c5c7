#include "base/buf.h"
#include "base/mem.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"
#include "gateway/cli/table.h"

#include <stdio.h>
#include <string.h>

#define PATH_LIMIT_BYTES ((size_t)64 << 10)

struct targets_command {
    const struct control_options *options;
    const char *name;
    const char *verb; /* the last part of the path */
};

static long long number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* ---- how a target is ---- */

static bool is_closed(const json_t *circuit)
{
    const char *state = json_text(circuit, "state");
    return state == NULL || strcmp(state, "closed") == 0;
}

/* What keeps pushes from it: somebody, its registry, or one of its logins. */
static const char *state_of(const json_t *target, const json_t **why)
{
    const json_t *circuit = json_object_get(target, "circuit");
    size_t i = 0;
    const json_t *login = NULL;
    *why = NULL;
    if (json_is_true(json_object_get(target, "paused")))
        return "paused";
    if (!is_closed(circuit)) {
        *why = circuit;
        return "away";
    }
    json_array_foreach(json_object_get(target, "logins"), i, login)
    {
        if (is_closed(login))
            continue;
        *why = login;
        return "login";
    }
    return "good";
}

static char *detail_of(const json_t *target, const json_t *why)
{
    const json_t *error = json_object_get(why, "error");
    const char *until = json_text(why, "until");
    const char *paused = json_text(target, "paused_at");
    if (error == NULL)
        error = json_object_get(target, "last_error");
    const char *code = json_text(error, "code");
    const char *message = json_text(error, "message");
    const char *at = why ? until : json_text(error, "at");
    if (paused)
        return xasprintf("since %s", paused);
    if (code == NULL || message == NULL)
        return xstrdup("");
    return xasprintf("%s%s%s%s: %s", why ? "until " : "last error ", at ? at : "", at ? ", " : "",
                     code, message);
}

static void add_age(struct table *table, const json_t *oldest)
{
    long long seconds = number(oldest, "seconds");
    char text[64] = "";
    if (oldest && seconds < 120)
        snprintf(text, sizeof text, "%llds", seconds);
    else if (oldest && seconds < 7200)
        snprintf(text, sizeof text, "%lldm", seconds / 60);
    else if (oldest)
        snprintf(text, sizeof text, "%lldh", seconds / 3600);
    table_add(table, text);
}

static void add_target(struct table *table, const json_t *target)
{
    static const char *const counts[] = {"queued", "running", "waiting"};
    const json_t *why = NULL;
    table_add(table, json_text(target, "name"));
    table_add(table, state_of(target, &why));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", number(json_object_get(target, "counts"), counts[i]));
        table_add(table, text);
    }
    autofree char *detail = detail_of(target, why);
    add_age(table, json_object_get(target, "oldest_waiting"));
    table_add(table, json_text(target, "last_success_at"));
    table_add(table, detail);
}

/* `targets` is a list, or one. */
static void print_targets(const json_t *targets)
{
    static const char *const head[] = {"TARGET",  "STATE",  "QUEUED",       "RUNNING",
                                       "WAITING", "OLDEST", "LAST SUCCESS", "DETAIL"};
    struct table table;
    size_t i = 0;
    const json_t *target = NULL;
    table_init(&table, head, sizeof head / sizeof head[0]);
    if (json_is_object(targets))
        add_target(&table, targets);
    json_array_foreach(targets, i, target)
    {
        add_target(&table, target);
    }
    table_print(&table, stdout);
    table_deinit(&table);
}

static int list(struct control *control, void *self)
{
    const struct targets_command *command = self;
    autoanswer struct control_answer answer = {.status = 0};
    int status = control_ask_path(control, "GET", "/v1/targets", NULL, &answer);
    if (status != 0)
        return status;
    if (command->options->json)
        control_print(answer.body);
    else
        print_targets(json_object_get(answer.body, "targets"));
    return 0;
}

int cmd_targets(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS, {NULL, 0, NULL, 0}};
    struct control_options options = {.json = false};
    struct targets_command command = {.options = &options};
    if (control_next_option(&options, argc, argv, table) != -1)
        return EXIT_USAGE;
    if (optind < argc)
        return cli_usage(argv[0], "targets takes no argument \"%s\"", argv[optind]);
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, list, &command);
}

/* ---- what is done with one ---- */

static void target_path(struct buf *path, const struct targets_command *command)
{
    buf_text(path, "/v1/targets/");
    buf_query_escape(path, command->name);
    buf_format(path, "/%s", command->verb);
}

static int set_pause(struct control *control, void *self)
{
    const struct targets_command *command = self;
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    target_path(&path, command);
    int status = control_ask_path(control, "POST", buf_cstr(&path), NULL, &answer);
    if (status != 0)
        return status;
    if (command->options->json)
        control_print(answer.body);
    else
        print_targets(answer.body);
    return 0;
}

int cmd_pause(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS, {NULL, 0, NULL, 0}};
    struct control_options options = {.json = false};
    struct targets_command command = {.options = &options, .verb = argv[0]};
    if (control_next_option(&options, argc, argv, table) != -1)
        return EXIT_USAGE;
    if (argc - optind != 1)
        return cli_usage(argv[0], "%s needs the name of one target", argv[0]);
    command.name = argv[optind];
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, set_pause, &command);
}

/* ---- slipway reconcile, slipway backfill ---- */

struct sweep_command {
    struct targets_command targets;
    const char *match;
    bool dry_run;
};

/* The counts in the order of the answer, those that are not zero. */
static void print_counts(const json_t *report)
{
    static const char *const counts[] = {"tags",    "same",   "absent",  "other",
                                         "drifted", "pushed", "missing", "unknown",
                                         "pending", "lost",   "queued"};
    printf("%s: %s", json_text(report, "target"), json_text(report, "state"));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (number(report, counts[i]) > 0)
            printf(", %lld %s", number(report, counts[i]), counts[i]);
    puts(json_is_true(json_object_get(report, "dry_run")) ? " (dry run: nothing is pushed)" : "");
}

static void print_items(const json_t *report)
{
    static const char *const head[] = {"REFERENCE", "OUTCOME", "QUEUED", "EXPECTED", "DETAIL"};
    struct table table;
    size_t i = 0;
    const json_t *item = NULL;
    table_init(&table, head, sizeof head / sizeof head[0]);
    json_array_foreach(json_object_get(report, "items"), i, item)
    {
        const char *message = json_text(json_object_get(item, "error"), "message");
        table_add(&table, json_text(item, "reference"));
        table_add(&table, json_text(item, "outcome"));
        table_add(&table, json_is_true(json_object_get(item, "queued")) ? "yes" : "no");
        table_add(&table, json_text(item, "expected"));
        table_add(&table, message ? message : json_text(item, "found"));
    }
    table_print(&table, stdout);
    table_deinit(&table);
    if (number(report, "unlisted") > 0)
        printf("and %lld more\n", number(report, "unlisted"));
}

/* Done is done for all of them: of those that are unknown nobody can say it, and those that are
 * lost nobody can push. */
static int status_of(const json_t *report)
{
    const char *state = json_text(report, "state");
    const char *message = json_text(json_object_get(report, "error"), "message");
    bool all = number(report, "unknown") == 0 && number(report, "lost") == 0;
    if (message)
        cli_complain("%s", message);
    return state && strcmp(state, "done") == 0 && !message && all ? 0 : EXIT_TARGET_FAILED;
}

static int sweep(struct control *control, void *self)
{
    const struct sweep_command *command = self;
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    autojson json_t *body = json_object();
    if (command->match)
        json_put_text(body, "match", command->match);
    if (command->dry_run)
        json_object_set_new(body, "dry_run", json_true());
    target_path(&path, &command->targets);
    int status = control_ask_path(control, "POST", buf_cstr(&path), body, &answer);
    if (status != 0)
        return status;
    if (command->targets.options->json) {
        control_print(answer.body);
    } else {
        print_counts(answer.body);
        print_items(answer.body);
    }
    return status_of(answer.body);
}

static int sweep_command(int argc, char **argv, const struct option *table)
{
    struct control_options options = {.json = false};
    struct sweep_command command = {.targets = {.options = &options, .verb = argv[0]}};
    for (int option; (option = control_next_option(&options, argc, argv, table)) != -1;) {
        if (option == 'n')
            command.dry_run = true;
        else if (option == 'm')
            command.match = optarg;
        else
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage(argv[0], "%s needs the name of one target", argv[0]);
    command.targets.name = argv[optind];
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, sweep, &command);
}

int cmd_reconcile(int argc, char **argv)
{
    static const struct option table[] = {
        CONTROL_LONG_OPTIONS, {"dry-run", no_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    return sweep_command(argc, argv, table);
}

int cmd_backfill(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS,
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"match", required_argument, NULL, 'm'},
                                          {NULL, 0, NULL, 0}};
    return sweep_command(argc, argv, table);
}
