/* slipway robot: makes, lists and takes away robots, by the gateway that has the store, or on the
 * store itself. */
#include "base/buf.h"
#include "base/mem.h"
#include "gateway/access/robots.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"
#include "gateway/cli/table.h"

#include <stdio.h>
#include <string.h>

#define PATH_LIMIT_BYTES ((size_t)64 << 10)

struct robot_command {
    enum robot_action action;
    const char *name;
    const char *expires;
    const char *note;
    bool json;
};

static const struct {
    const char *word;
    enum robot_action action;
    const char *method;
    const char *rest; /* of the path, behind the name */
} actions[] = {
    {"list", ROBOT_LIST, "GET", ""},
    {"create", ROBOT_CREATE, "POST", ""},
    {"disable", ROBOT_DISABLE, "POST", "/disable"},
    {"remove", ROBOT_REMOVE, "DELETE", ""},
};
#define ACTION_COUNT (sizeof actions / sizeof actions[0])

/* ---- what is told ---- */

static void print_list(const json_t *robots)
{
    static const char *const head[] = {"ROBOT", "STATE", "EXPIRES", "LAST USE", "NOTE"};
    static const char *const keys[] = {"name", "state", "expires_at", "used_at", "note"};
    struct table table;
    size_t i = 0;
    const json_t *robot = NULL;
    table_init(&table, head, sizeof head / sizeof head[0]);
    json_array_foreach(robots, i, robot)
    {
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            table_add(&table, json_text(robot, keys[k]));
    }
    table_print(&table, stdout);
    table_deinit(&table);
}

static void print(const struct robot_command *command, const json_t *answer)
{
    const char *secret = json_text(answer, "secret");
    if (command->json && answer)
        control_print(answer);
    else if (command->action == ROBOT_LIST)
        print_list(json_object_get(answer, "robots"));
    else if (secret)
        printf("%s\n", secret);
    if (secret)
        fprintf(stderr, "slipway: this is the secret of %s until %s; it is not shown again\n",
                command->name, json_text(answer, "expires_at"));
}

/* ---- doing it ---- */

static json_t *body_of(const struct robot_command *command)
{
    json_t *body = json_object();
    json_put_text(body, "name", command->name);
    if (command->expires)
        json_put_text(body, "expires", command->expires);
    if (command->note)
        json_put_text(body, "note", command->note);
    return body;
}

static int do_here(const struct control *control, const struct robot_command *command,
                   const json_t *body)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    autojson json_t *answer = NULL;
    if (cli_open_store(control->settings, &store, &err) == ERR_OK &&
        robots_do(store, command->action, command->name, body, &answer, &err) == ERR_OK)
        print(command, answer);
    else
        cli_complain("%s", err.text);
    store_close(store);
    /* As where a gateway refuses it. */
    return err.code == ERR_OK ? 0 : err.code == ERR_BAD_REQUEST ? EXIT_USAGE : EXIT_TARGET_FAILED;
}

static int work(struct control *control, void *self)
{
    const struct robot_command *command = self;
    struct error err = ERROR_INIT;
    autobuf struct buf path = BUF_INIT(PATH_LIMIT_BYTES);
    autoanswer struct control_answer answer = {.body = NULL};
    autojson json_t *body = command->action == ROBOT_CREATE ? body_of(command) : NULL;
    buf_text(&path, "/v1/robots");
    if (command->name && command->action != ROBOT_CREATE) {
        buf_text(&path, "/");
        buf_query_escape(&path, command->name);
        buf_text(&path, actions[command->action].rest);
    }
    const struct control_request request = {
        .method = actions[command->action].method, .path = buf_cstr(&path), .body = body};
    if (control_ask(control, &request, &answer, &err) == ERR_OK) {
        print(command, answer.body);
        return 0;
    }
    return answer.nobody ? do_here(control, command, body) : control_complain(&err);
}

/* ---- the command ---- */

/* "list", or another word and a name. */
static int read_words(struct robot_command *command, int count, char **words, const char *name)
{
    size_t i = 0;
    while (count > 0 && i < ACTION_COUNT && strcmp(words[0], actions[i].word) != 0)
        i++;
    if (count == 0 || i == ACTION_COUNT)
        return cli_usage(name, "robot needs one of list, create, disable and remove");
    command->action = actions[i].action;
    if (count != (command->action == ROBOT_LIST ? 1 : 2))
        return cli_usage(name,
                         command->action == ROBOT_LIST ? "robot list takes no argument"
                                                       : "robot %s needs the name of one robot",
                         words[0]);
    command->name = words[1];
    if ((command->action == ROBOT_CREATE) != (command->expires != NULL))
        return cli_usage(name,
                         "--expires says how long a robot that is created lasts: robot create "
                         "NAME --expires 2160h (90 days)");
    if (command->note && command->action != ROBOT_CREATE)
        return cli_usage(name, "--note is for robot create");
    return 0;
}

int cmd_robot(int argc, char **argv)
{
    static const struct option options[] = {CONTROL_LONG_OPTIONS,
                                            {"expires", required_argument, NULL, 'e'},
                                            {"note", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct control_options control = {.json = false};
    struct robot_command command = {.name = NULL};
    for (int option; (option = control_next_option(&control, argc, argv, options)) != -1;) {
        if (option == 'e')
            command.expires = optarg;
        else if (option == 'n')
            command.note = optarg;
        else
            return EXIT_USAGE;
    }
    int status = read_words(&command, argc - optind, argv + optind, argv[0]);
    if (status == 0)
        status = control_options_check(&control, argv[0]);
    command.json = control.json;
    return status ? status : control_run(&control, work, &command);
}
