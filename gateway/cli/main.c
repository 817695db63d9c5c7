#include "gateway/cli/cli.h"

#include <malloc.h>
#include <string.h>

/* glibc keeps what a thread freed in the thread's arena, of which it makes up to eight a core: the
 * documents that workers parsed one after another would all stay (docs/decisions.md, 38).
 */
#define ARENAS_MAX 4

int main(int argc, char **argv)
{
    mallopt(M_ARENA_MAX, ARENAS_MAX);
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
