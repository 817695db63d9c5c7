#include "base/buf.h"
#include "base/mem.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"
#include "gateway/cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_LIMIT_BYTES ((size_t)64 << 10)
#define PUSHES_LISTED 100
#define PAGE_MAX 1000

struct pushes_command {
    const struct control_options *options;
    const char *id;
    bool follow;
    const char *state;
    const char *target;
    const char *repository;
    const char *since;
    size_t limit;
};

static void add_parameter(struct buf *path, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_format(path, "%c%s=", strchr(buf_cstr(path), '?') ? '&' : '?', name);
    buf_query_escape(path, value);
}

static void append_push_path(struct buf *path, const char *id, const char *behind)
{
    buf_text(path, "/v1/pushes/");
    buf_query_escape(path, id);
    buf_text(path, behind);
}

static const char *shown(const json_t *object, const char *key)
{
    const char *text = json_text(object, key);
    return text ? text : "-";
}

/* ---- what is said of a target ---- */

/* Why it waits or failed, what is there, or when it ended. */
static char *detail_of(const json_t *result)
{
    const json_t *error = json_object_get(result, "error");
    const char *code = json_text(error, "code");
    const char *message = json_text(error, "message");
    const char *next = json_text(result, "next_at");
    const char *digest = json_text(result, "digest");
    if (code && message)
        return xasprintf("%s%s%s%s: %s", next ? "until " : "", next ? next : "", next ? ", " : "",
                         code, message);
    if (next)
        return xasprintf("until %s", next);
    if (digest)
        return xstrdup(digest);
    const char *ended = json_text(result, "ended_at");
    return xstrdup(ended ? ended : "");
}

static void add_results(struct table *table, const json_t *push)
{
    size_t i = 0;
    const json_t *result = NULL;
    json_array_foreach(json_object_get(push, "results"), i, result)
    {
        autofree char *detail = detail_of(result);
        table_add(table, json_text(push, "id"));
        table_add(table, json_text(push, "created_at"));
        table_add(table, json_text(result, "state"));
        table_add(table, json_text(result, "target"));
        table_add(table, detail);
    }
}

static void print_pushes(const json_t *pushes)
{
    static const char *const head[] = {"PUSH", "ACCEPTED", "STATE", "TARGET", "DETAIL"};
    struct table table;
    size_t i = 0;
    const json_t *push = NULL;
    table_init(&table, head, sizeof head / sizeof head[0]);
    json_array_foreach(pushes, i, push)
    {
        add_results(&table, push);
    }
    table_print(&table, stdout);
    table_deinit(&table);
}

/* ---- slipway pushes ---- */

/* One page behind `after`, into `all`. *after becomes the next page's, owned; NULL: there is none.
 */
static int list_page(struct control *control, const struct pushes_command *command, json_t *all,
                     char **after)
{
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    char limit[24];
    size_t left = command->limit - json_array_size(all);
    snprintf(limit, sizeof limit, "%zu", left < PAGE_MAX ? left : PAGE_MAX);
    buf_text(&path, "/v1/pushes");
    add_parameter(&path, "state", command->state);
    add_parameter(&path, "target", command->target);
    add_parameter(&path, "repository", command->repository);
    add_parameter(&path, "since", command->since);
    add_parameter(&path, "limit", limit);
    add_parameter(&path, "after", *after);
    int status = control_ask_path(control, "GET", buf_cstr(&path), NULL, &answer);
    free(*after);
    *after = NULL;
    if (status != 0)
        return status;
    json_array_extend(all, json_object_get(answer.body, "pushes"));
    const char *next = json_text(answer.body, "next");
    *after = next ? xstrdup(next) : NULL;
    return 0;
}

static int list(struct control *control, const struct pushes_command *command)
{
    autojson json_t *root = json_pack("{s:[]}", "pushes");
    json_t *all = json_object_get(root, "pushes");
    autofree char *after = NULL;
    int status = 0;
    do
        status = list_page(control, command, all, &after);
    while (status == 0 && after && json_array_size(all) < command->limit);
    if (status != 0)
        return status;
    if (command->options->json) {
        if (after)
            json_put_text(root, "next", after);
        control_print(root);
    } else {
        print_pushes(all);
        if (after)
            fprintf(stderr, "slipway: there are more: --limit, or narrow them down\n");
    }
    return 0;
}

static void print_push(const json_t *push)
{
    const json_t *image = json_object_get(push, "image");
    const char *repository = json_text(push, "repository");
    const json_t *by = json_object_get(push, "by");
    printf("push      %s\nstate     %s\naccepted  %s\n", shown(push, "id"), shown(push, "state"),
           shown(push, "created_at"));
    if (repository)
        printf("from      %s\n", repository);
    if (by)
        printf("by        %s\n", shown(by, json_text(by, "id") ? "id" : "kind"));
    printf("image     %s\n          %s\n\n", shown(image, "manifest"), shown(image, "media_type"));
    static const char *const head[] = {"STATE", "TARGET", "TRIES", "ENDED", "DETAIL"};
    struct table table;
    size_t i = 0;
    const json_t *result = NULL;
    table_init(&table, head, sizeof head / sizeof head[0]);
    json_array_foreach(json_object_get(push, "results"), i, result)
    {
        autofree char *detail = detail_of(result);
        char tries[24];
        snprintf(tries, sizeof tries, "%lld",
                 (long long)json_integer_value(json_object_get(result, "tries")));
        table_add(&table, json_text(result, "state"));
        table_add(&table, json_text(result, "target"));
        table_add(&table, tries);
        table_add(&table, json_text(result, "ended_at"));
        table_add(&table, detail);
    }
    table_print(&table, stdout);
    table_deinit(&table);
}

static int show(struct control *control, const struct pushes_command *command, json_t **push)
{
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    append_push_path(&path, command->id, "");
    int status = control_ask_path(control, "GET", buf_cstr(&path), NULL, &answer);
    *push = json_incref(answer.body);
    return status;
}

/* ---- slipway pushes ID --follow ---- */

static void print_event(void *self, json_t *line)
{
    const struct pushes_command *command = self;
    const json_t *result = json_object_get(line, "result");
    const char *target = json_text(line, "target");
    const char *status = json_text(line, "status");
    if (command->options->json) {
        control_print(line);
    } else if (result && status == NULL) {
        autofree char *detail = detail_of(result);
        printf("%s: %s %s\n", shown(line, "target"), shown(result, "state"), detail);
    } else if (status) {
        printf("%s%s%s\n", target && target[0] ? target : "", target && target[0] ? ": " : "",
               status);
    }
    fflush(stdout);
}

static bool is_good(const json_t *push)
{
    const char *state = json_text(push, "state");
    return state && (strcmp(state, "pushed") == 0 || strcmp(state, "superseded") == 0);
}

static int follow(struct control *control, const struct pushes_command *command)
{
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    autojson json_t *push = NULL;
    struct error err = ERROR_INIT;
    append_push_path(&path, command->id, "/events");
    const struct control_request request = {.method = "GET",
                                            .path = buf_cstr(&path),
                                            .line = print_event,
                                            .self = (void *)(uintptr_t)command};
    if (control_ask(control, &request, &answer, &err) != ERR_OK)
        return control_complain(&err);
    int status = show(control, command, &push);
    if (status != 0)
        return status;
    return is_good(push) ? 0 : EXIT_TARGET_FAILED;
}

static int pushes(struct control *control, void *self)
{
    const struct pushes_command *command = self;
    autojson json_t *push = NULL;
    if (command->id == NULL)
        return list(control, command);
    if (command->follow)
        return follow(control, command);
    int status = show(control, command, &push);
    if (status == 0 && command->options->json)
        control_print(push);
    else if (status == 0)
        print_push(push);
    return status;
}

static bool parse_limit(const char *text, size_t *out)
{
    size_t digits = strspn(text, "0123456789");
    *out = digits > 0 && digits < 8 ? strtoul(text, NULL, 10) : 0;
    return text[digits] == '\0' && *out > 0;
}

int cmd_pushes(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS,
                                          {"state", required_argument, NULL, 's'},
                                          {"target", required_argument, NULL, 't'},
                                          {"repository", required_argument, NULL, 'r'},
                                          {"since", required_argument, NULL, 'e'},
                                          {"limit", required_argument, NULL, 'l'},
                                          {"follow", no_argument, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    struct control_options options = {.json = false};
    struct pushes_command command = {.options = &options, .limit = PUSHES_LISTED};
    bool narrowed = false;
    for (int option; (option = control_next_option(&options, argc, argv, table)) != -1;) {
        narrowed = narrowed || option != 'f';
        switch (option) {
        case 's':
            command.state = optarg;
            break;
        case 't':
            command.target = optarg;
            break;
        case 'r':
            command.repository = optarg;
            break;
        case 'e':
            command.since = optarg;
            break;
        case 'l':
            if (!parse_limit(optarg, &command.limit))
                return cli_usage(argv[0], "--limit is a number from 1 on, not \"%s\"", optarg);
            break;
        case 'f':
            command.follow = true;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    command.id = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return cli_usage(argv[0], "pushes takes one id, not also \"%s\"", argv[optind]);
    if (command.id && narrowed)
        return cli_usage(argv[0], "an id says which push: nothing else narrows it down");
    if (command.follow && command.id == NULL)
        return cli_usage(argv[0], "--follow needs the id of a push");
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, pushes, &command);
}

/* ---- slipway cancel ---- */

/* Nothing of it had been left. */
static bool had_ended(const json_t *push)
{
    size_t i = 0;
    const json_t *result = NULL;
    json_array_foreach(json_object_get(push, "results"), i, result)
    {
        const char *state = json_text(result, "state");
        if (state && (strcmp(state, "cancelled") == 0 || strcmp(state, "queued") == 0 ||
                      strcmp(state, "running") == 0 || strcmp(state, "waiting") == 0 ||
                      strcmp(state, "orphaned") == 0))
            return false;
    }
    return true;
}

static int cancel(struct control *control, void *self)
{
    const struct pushes_command *command = self;
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    append_push_path(&path, command->id, "");
    int status = control_ask_path(control, "DELETE", buf_cstr(&path), NULL, &answer);
    if (status != 0)
        return status;
    if (command->options->json)
        control_print(answer.body);
    else
        print_push(answer.body);
    if (!had_ended(answer.body))
        return 0;
    cli_complain("the push %s had come to its end: nothing is cancelled", command->id);
    return EXIT_TARGET_FAILED;
}

int cmd_cancel(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS, {NULL, 0, NULL, 0}};
    struct control_options options = {.json = false};
    struct pushes_command command = {.options = &options};
    if (control_next_option(&options, argc, argv, table) != -1)
        return EXIT_USAGE;
    if (argc - optind != 1)
        return cli_usage(argv[0], "cancel needs the id of one push");
    command.id = argv[optind];
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, cancel, &command);
}

/* ---- slipway retry ---- */

static int retry(struct control *control, void *self)
{
    const struct pushes_command *command = self;
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.status = 0};
    if (command->id) {
        append_push_path(&path, command->id, "/retry");
    } else {
        buf_text(&path, "/v1/pushes/retry");
        add_parameter(&path, "target", command->target);
        add_parameter(&path, "state", command->state);
    }
    int status = control_ask_path(control, "POST", buf_cstr(&path), NULL, &answer);
    if (status != 0)
        return status;
    if (command->options->json) {
        control_print(answer.body);
        return 0;
    }
    long long retried = json_integer_value(json_object_get(answer.body, "retried"));
    long long superseded = json_integer_value(json_object_get(answer.body, "superseded"));
    printf("%lld target%s tried again\n", retried, retried == 1 ? " is" : "s are");
    if (superseded > 0)
        printf("%lld left alone: a younger push has their tag\n", superseded);
    return 0;
}

int cmd_retry(int argc, char **argv)
{
    static const struct option table[] = {CONTROL_LONG_OPTIONS,
                                          {"state", required_argument, NULL, 's'},
                                          {"target", required_argument, NULL, 't'},
                                          {NULL, 0, NULL, 0}};
    struct control_options options = {.json = false};
    struct pushes_command command = {.options = &options};
    for (int option; (option = control_next_option(&options, argc, argv, table)) != -1;) {
        if (option == '?')
            return EXIT_USAGE;
        *(option == 's' ? &command.state : &command.target) = optarg;
    }
    command.id = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return cli_usage(argv[0], "retry takes one id, not also \"%s\"", argv[optind]);
    if ((command.id != NULL) == (command.state || command.target))
        return cli_usage(argv[0], "retry needs the id of a push, or --target and --state");
    int status = control_options_check(&options, argv[0]);
    return status ? status : control_run(&options, retry, &command);
}
