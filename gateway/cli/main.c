#include "gateway/cli/cli.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* glibc keeps what a thread freed in the thread's arena, of which it makes up to eight a core: the
 * documents that workers parsed one after another would all stay (docs/decisions.md, 38).
 */
#define ARENAS_MAX 2

/* What the process holds are the passwords of registries: no core file has them, and no other
 * process of the user reads them. The leak check of a sanitizer is such a reader. */
static void keep_secrets(void)
{
    const struct rlimit none = {0, 0};
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    if (getenv("SLIPWAY_CORE_DUMPS") == NULL)
        prctl(PR_SET_DUMPABLE, 0);
#endif
    if (getenv("SLIPWAY_CORE_DUMPS") == NULL)
        setrlimit(RLIMIT_CORE, &none);
}

/* "slipway push --help" is "slipway help push", wherever it stands among the options. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    keep_secrets();
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
    if (wants_help(argc, argv))
        return cmd_help(strcmp(name, "help") == 0 ? 1 : 2, (char *[]){argv[0], argv[1], NULL});
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_usage(NULL, "there is no command \"%s\"", name);
}
