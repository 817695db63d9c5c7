#include "gateway/access/audit.h"
#include "gateway/cli/cli.h"
#include "gateway/server/server.h"
#include "gateway/service/reload.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What whoever reads the log has for its last lines. */
#define LOG_STOP_MS 2000
/* Connections that wait and those that speak, and what their requests open. */
#define DESCRIPTORS_WANTED 8192

/* The usual limit of 1024 is one for programs that call select(): with it, clients that connect and
 * say nothing would take the descriptors of those that work. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS_WANTED)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("cannot raise the limit on open files: %s", strerror(errno));
    else if (limit.rlim_cur < DESCRIPTORS_WANTED)
        log_warn("at most %llu files can be open, %d are wanted (LimitNOFILE, ulimit -n)",
                 (unsigned long long)limit.rlim_cur, DESCRIPTORS_WANTED);
}

/* The store cannot be used any more; whoever set it says why in the log. */
static atomic_bool store_broken;

static void on_broken(void)
{
    atomic_store(&store_broken, true);
    signals_wake();
}

/* Somebody wants the end at once. */
static bool hurried(void)
{
    int signal = signals_next(0);
    return (signal != 0 && signal != SIGHUP) || atomic_load(&store_broken);
}

static void hung_up(struct server *server, struct runtime *runtime)
{
    static const struct reload_by signal = {.cause = "signal"};
    struct error err = ERROR_INIT; /* told by who made it */
    audit_reopen(runtime->audit);
    reload_run(server_reload(server), &signal, NULL, &err);
}

static void run_until_signal(struct server *server, struct runtime *runtime)
{
    int signal = 0;
    while ((signal == 0 || signal == SIGHUP) && !atomic_load(&store_broken)) {
        signal = signals_next(RELOAD_LOOK_MS);
        if (signal == SIGHUP)
            hung_up(server, runtime);
        else if (signal == 0)
            reload_look(server_reload(server));
    }
    if (!server_end(server, hurried, SERVER_END_MS, SERVER_CANCELLED_MS)) {
        log_stop(LOG_STOP_MS);
        _exit(EXIT_TARGET_FAILED);
    }
}

static enum errc serve(const struct settings *settings, const char *config, struct error *err)
{
    struct runtime *runtime = NULL;
    struct server *server = NULL;
    if (runtime_open(settings, false, &runtime, err) != ERR_OK)
        return err->code;
    if (server_start(runtime, config, on_broken, &server, err) != ERR_OK) {
        runtime_close(runtime);
        return err->code;
    }
    run_until_signal(server, runtime);
    server_stop(server);
    runtime_close(runtime);
    log_event(LOG_INFO, "gateway.stopped", NULL, "stopped");
    return ERR_OK;
}

int cmd_serve(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"data", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    const char *config = NULL;
    const char *listen = NULL;
    const char *data = NULL;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'c')
            config = optarg;
        else if (option == 'l')
            listen = optarg;
        else if (option == 'd')
            data = optarg;
        else
            return cli_usage(argv[0], "serve: unknown option or missing value: %s",
                             argv[optind - 1]);
    }
    if (optind < argc)
        return cli_usage(argv[0], "serve takes no argument \"%s\"", argv[optind]);
    struct error err = ERROR_INIT;
    struct settings *settings = NULL;
    if (cli_settings(config, listen, data, &settings, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    log_setup(settings->log.level, settings->log.format);
    raise_descriptors();
    signals_take_hangup();
    log_start();
    serve(settings, config, &err);
    if (log_stop(LOG_STOP_MS) && err.code != ERR_OK)
        cli_complain("%s", err.text);
    settings_free(settings);
    if (err.code == ERR_OK && atomic_load(&store_broken))
        return EXIT_TARGET_FAILED;
    return err.code == ERR_OK ? 0 : EXIT_USAGE;
}
