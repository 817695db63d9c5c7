/*
 * The command line: what its commands share.
 */
#ifndef SLIPWAY_GATEWAY_CLI_CLI_H
#define SLIPWAY_GATEWAY_CLI_CLI_H

#include "base/cancel.h"
#include "config/settings.h"
#include "store/store.h"

/* Exit statuses, documented in README.md. */
enum {
    EXIT_PUSHED = 0,
    EXIT_TARGET_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_ARCHIVE = 3,
    EXIT_NOT_CHECKED = 3, /* of slipway check */
    EXIT_UNREACHABLE = 4
};

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
    const char *summary;
    const char *usage;
};

extern const struct command commands[];
extern const size_t command_count;

int cmd_serve(int argc, char **argv);
int cmd_push(int argc, char **argv);
int cmd_pushes(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_retry(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_targets(int argc, char **argv);
int cmd_pause(int argc, char **argv); /* and resume */
int cmd_reconcile(int argc, char **argv);
int cmd_backfill(int argc, char **argv);
int cmd_robot(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_help(int argc, char **argv);

/* The options of commands that ask a running gateway (control_ask.h), and how they end. */
#define CONTROL_USAGE                                                                              \
    "  --json                 print what the gateway answers, as JSON\n"                           \
    "  --config FILE          the gateway's configuration, which names its data folder\n"          \
    "  --data DIR             the data folder of the gateway, which is asked by the socket in "    \
    "it\n"                                                                                         \
    "  --gateway URL          ask the gateway there instead (or SLIPWAY_GATEWAY); --ca, --user "   \
    "and\n"                                                                                        \
    "                         --password-file are those of slipway push\n"

#define CONTROL_EXIT_USAGE                                                                         \
    "Exit status: 0 done, 1 the gateway refused or failed, 2 wrong usage or configuration, 4 no\n" \
    "gateway could be reached.\n"

/* "slipway: MESSAGE" on stderr. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wrong usage of the command `name`: the complaint, where help is, EXIT_USAGE. */
int cli_usage(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The settings of `config_path` (NULL: defaults) with the options that were given laid over; each
 * of `listen` and `data` may be NULL. */
enum errc cli_settings(const char *config_path, const char *listen, const char *data,
                       struct settings **out, struct error *err);

/* The store in the data folder, which no gateway uses; a folder that holds none is not made. */
enum errc cli_open_store(const struct settings *settings, struct store **out, struct error *err);

/*
 * SIGINT and SIGTERM, taken by a thread of their own so that nothing is interrupted half-way.
 * signals_block() is called before any thread starts. signals_watch() then cancels `cancel` at the
 * first signal and ends the process at the second; signals_unwatch() stops that and returns the
 * signal that came, or 0. signals_next() waits for one itself, at most `ms` (0 when none came);
 * signals_wake(), from any thread, ends that wait with 0. After signals_take_hangup(), before any
 * thread starts, it is told of SIGHUP, too, which else ends the process.
 */
void signals_block(void);
void signals_take_hangup(void);
void signals_watch(struct cancel *cancel);
int signals_unwatch(void);
int signals_next(int64_t ms);
void signals_wake(void);

#endif
