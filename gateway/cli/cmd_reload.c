/* slipway reload: the gateway reads its configuration again. */
#include "gateway/cli/cli.h"
#include "gateway/cli/control_ask.h"

#include <stdio.h>

static void print_names(const char *title, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s %s\n", title, json_string_value(json_array_get(names, i)));
}

static int work(struct control *control, void *self)
{
    bool json = *(const bool *)self;
    autoanswer struct control_answer answer = {.body = NULL};
    int status = control_ask_path(control, "POST", "/v1/reload", NULL, &answer);
    if (status != 0)
        return status;
    if (json) {
        control_print(answer.body);
        return 0;
    }
    print_names("changed      ", json_object_get(answer.body, "changed"));
    print_names("needs restart", json_object_get(answer.body, "restart"));
    return 0;
}

int cmd_reload(int argc, char **argv)
{
    static const struct option options[] = {CONTROL_LONG_OPTIONS, {NULL, 0, NULL, 0}};
    struct control_options control = {.json = false};
    if (control_next_option(&control, argc, argv, options) != -1)
        return EXIT_USAGE;
    if (optind < argc)
        return cli_usage(argv[0], "reload takes no argument \"%s\"", argv[optind]);
    int status = control_options_check(&control, argv[0]);
    return status ? status : control_run(&control, work, &control.json);
}
