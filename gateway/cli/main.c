#include "gateway/cli/cli.h"

#include <string.h>

int main(int argc, char **argv)
{
    signals_block();
    json_start();
    if (argc < 2) {
        return cli_usage(NULL, "which command?");
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_usage(NULL, "there is no command \"%s\"", name);
}
