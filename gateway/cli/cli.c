#include "gateway/cli/cli.h"

#include "base/mem.h"
#include "base/net.h"
#include "gateway/cli/policy_text.h"
#include "gateway/service/version.h"
#include "store/store_local.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the commands that compare all of a target. */
#define SWEEP_USAGE                                                                                \
    "\n"                                                                                           \
    "stdout: the counts, and a line for each tag that is not as it should be. The command "        \
    "returns\n"                                                                                    \
    "when all is compared, before what it queued is pushed (slipway pushes); ending it ends the\n" \
    "comparison. 1 is also for tags that the registry was not asked about, or whose image the\n"   \
    "gateway has no more.\n" CONTROL_EXIT_USAGE

const struct command commands[] = {
    {"serve", cmd_serve, "run the gateway",
     "slipway serve [--config FILE] [--listen ADDR:PORT] [--data DIR]\n"
     "\n"
     "Takes image archives and layers over HTTP, and whatever registry clients push:\n"
     "docker push ADDR:PORT/NAME. The mirrors of the configuration say where that goes.\n"
     "Runs until SIGTERM or SIGINT: then no new request is taken, what runs is finished and\n"
     "answered; a second signal ends what runs at once.\n"
     "\n"
     "  --config FILE       the configuration; slipway help config has its keys, and without it\n"
     "                      their defaults hold\n"
     "  --listen ADDR:PORT  where to listen, in place of the configuration's \"listen\"\n"
     "  --data DIR          the data folder, in place of the configuration's \"data\"\n"
     "\n"
     "Exit status: 0 ended by a signal, 1 the disk failed, 2 wrong usage or configuration.\n"},
    {"push", cmd_push, "push an archive to registries",
     "slipway push ARCHIVE TARGET... [OPTIONS]\n"
     "\n"
     "ARCHIVE is a docker save or OCI layout archive, plain or compressed, an OCI layout folder,\n"
     "or - for standard input. A TARGET is HOST[:PORT]/REPOSITORY[:TAG]; without a tag it gets\n"
     "every tag of the archive.\n"
     "\n"
     "  --image NAME           which image, when the archive holds several\n"
     "  --platform OS/ARCH[/VARIANT]\n"
     "                         one member of an index instead of the index\n"
     "  --compression CODEC    for layers that are not compressed: gzip, zstd, none, keep\n"
     "  --json                 print the push object instead of lines\n"
     "  --digest-file FILE     write the digest of each target that was pushed, one a line; the\n"
     "                         file is empty when none was\n"
     "  --config FILE          the configuration: registries, credentials\n"
     "  --data DIR             the data folder, which keeps a copy of what was pushed; without a\n"
     "                         gateway only\n"
     "\n"
     "With a gateway, the archive is sent to it and it does the pushing:\n"
     "\n"
     "  --gateway URL          the gateway (or SLIPWAY_GATEWAY)\n"
     "  --ca FILE              the CA certificates for its https (or SLIPWAY_CA, or\n"
     "                         registries.HOST.ca of the configuration, or SSL_CERT_FILE)\n"
     "  --user USER            for a proxy in front of it that asks (or SLIPWAY_USER, as USER or\n"
     "                         USER:PASSWORD; or registries.HOST; or a docker login)\n"
     "  --password-file FILE   the password of that user\n"
     "\n"
     "stdout: one line TARGET@DIGEST SIZE for each target that was pushed; with --json the push\n"
     "object. Exit status: 0 all pushed, 1 some target failed, 2 wrong usage or configuration,\n"
     "3 the archive was refused, 4 the gateway could not be reached.\n"},
    {"pushes", cmd_pushes, "list what a running gateway pushes, or follow one push",
     "slipway pushes [--state STATE] [--target NAME] [--repository NAME] [--since TIME]\n"
     "               [--limit N] [OPTIONS]\n"
     "slipway pushes ID [--follow] [OPTIONS]\n"
     "\n"
     "The pushes of a gateway, youngest first, a line for each target; with an ID one of them.\n"
     "\n"
     "  --state STATE          of the push or one of its targets: queued, running, waiting, "
     "pushed,\n"
     "                         superseded, failed, refused, expired, cancelled, drifted, "
     "orphaned;\n"
     "                         partial is one of pushes only\n"
     "  --target NAME          mirrors[].to[].name of the configuration, or other:HOST\n"
     "  --repository NAME      of the gateway, or HOST/NAME of a target\n"
     "  --since TIME           accepted then or later: 2026-01-31T12:00:00Z, or seconds since "
     "1970\n"
     "  --limit N              at most N pushes (100)\n"
     "  --follow               print what becomes of the push until all its targets have ended;\n"
     "                         with --json a line of JSON for each event\n" CONTROL_USAGE "\n"
     "With --follow, 1 is also for a push that has not got everywhere.\n" CONTROL_EXIT_USAGE},
    {"cancel", cmd_cancel, "cancel a push of a running gateway",
     "slipway cancel ID [OPTIONS]\n"
     "\n"
     "Ends what is left of a push: what waits at once, what runs within a second.\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"retry", cmd_retry, "have a running gateway try pushes again",
     "slipway retry ID [OPTIONS]\n"
     "slipway retry [--target NAME] [--state STATE] [OPTIONS]\n"
     "\n"
     "Targets that have failed begin anew, with all the time of queue.keep_trying; those that "
     "wait\n"
     "for their registry go at once. Either of one push, or of all with this target, this state "
     "or\n"
     "both.\n"
     "\n"
     "  --target NAME          mirrors[].to[].name of the configuration, or other:HOST\n"
     "  --state STATE          of the target: failed, waiting, refused, expired, cancelled, "
     "drifted\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"gc", cmd_gc, "collect what nobody needs any more",
     "slipway gc [--dry-run] [OPTIONS]\n"
     "\n"
     "Deletes the blobs that no manifest, tag, push or upload needs and that nobody has asked for\n"
     "within keep.grace, and the tags that no rule of keep.rules keeps. A gateway that runs on "
     "the\n"
     "data folder does it itself, and goes on serving meanwhile.\n"
     "\n"
     "  --dry-run              delete nothing; say what would go, what stays, and "
     "why\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"backup", cmd_backup, "copy the data folder while it is in use",
     "slipway backup [OPTIONS]\n"
     "\n"
     "Makes the folder \"backup\" of the data folder anew: a data folder as this one is now, "
     "whose\n"
     "blobs are hard links, so that it costs no bytes but those of the metadata. Copy it to "
     "another\n"
     "disk, then remove it. A gateway that runs on the data folder makes it itself, and goes on\n"
     "serving meanwhile.\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"reload", cmd_reload, "have the gateway read its configuration again",
     "slipway reload [OPTIONS]\n"
     "\n"
     "As SIGHUP does, but tells what has changed, and which keys need a restart. A configuration\n"
     "that is wrong is refused with the reason, and everything stays as it was.\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"robot", cmd_robot, "make, list and take away robots",
     "slipway robot create NAME --expires DURATION [--note TEXT] [OPTIONS]\n"
     "slipway robot list [OPTIONS]\n"
     "slipway robot disable NAME [OPTIONS]\n"
     "slipway robot remove NAME [OPTIONS]\n"
     "\n"
     "A robot is a name with a secret, for programs that push and pull: in policies it is\n"
     "robot:NAME. create prints the secret on stdout, once; it is the password of\n"
     "docker login -u NAME. A robot that is disabled stays in the list; its name is free again\n"
     "when it is removed.\n"
     "\n"
     "  --expires DURATION     how long the secret counts: 2160h are 90 days; at most 87600h\n"
     "  --note TEXT            what it is for, shown by list\n" CONTROL_USAGE
     "\n" CONTROL_EXIT_USAGE},
    {"targets", cmd_targets, "list the targets of a running gateway",
     "slipway targets [OPTIONS]\n"
     "\n"
     "How each target is: good, paused by somebody, away (its registry does not answer), or login\n"
     "(it refuses the gateway's login); what is to be pushed there and since when, and the last\n"
     "success.\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"pause", cmd_pause, "have a running gateway send nothing to a target",
     "slipway pause NAME [OPTIONS]\n"
     "\n"
     "Until slipway resume NAME, also over a restart: what is pushed after the answer waits, what "
     "a\n"
     "client waits for fails.\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"resume", cmd_pause, "have a running gateway go on with a paused target",
     "slipway resume NAME [OPTIONS]\n"
     "\n" CONTROL_USAGE "\n" CONTROL_EXIT_USAGE},
    {"reconcile", cmd_reconcile, "have a running gateway put right what a target has",
     "slipway reconcile NAME [--dry-run] [OPTIONS]\n"
     "\n"
     "Asks the target's registry what each tag is that should be there, and pushes again what is\n"
     "absent, and what is something else unless on_drift, move or immutable of the target leave\n"
     "it.\n"
     "\n"
     "  --dry-run              push nothing; say what is not as it should be\n" CONTROL_USAGE
         SWEEP_USAGE},
    {"backfill", cmd_backfill, "have a running gateway push what it holds to a target",
     "slipway backfill NAME [--match PATTERN] [--dry-run] [OPTIONS]\n"
     "\n"
     "Pushes the tags of the gateway's repositories that lead to the target and were not pushed\n"
     "there, without asking its registry: for a target that is new in the configuration.\n"
     "\n"
     "  --match PATTERN        of the gateway's repositories only those: team/**\n"
     "  --dry-run              push nothing; say what would be\n" CONTROL_USAGE SWEEP_USAGE},
    {"check", cmd_check, "check the data folder, and repair it",
     "slipway check [--repair] [OPTIONS]\n"
     "\n"
     "Reads every blob and every record of the data folder and says what is wrong: itself, or by "
     "the\n"
     "gateway that uses the folder, which goes on working meanwhile.\n"
     "\n"
     "  --repair               mend what can be mended; what is wrong goes to "
     "DATA/quarantine\n" CONTROL_USAGE "\n"
     "stdout: a line for each problem, KIND NAME: WHAT IS WRONG (WHAT WAS DONE), and a summary; "
     "with\n"
     "--json the report. Exit status: 0 nothing is wrong, or all of it was repaired, 1 there are\n"
     "problems that were not repaired, 2 wrong usage or configuration, 3 the check could not be "
     "made,\n"
     "4 the gateway could not be reached.\n"},
    {"policy", cmd_policy, "say who may do what",
     "slipway policy test --as NAME[,GROUP...] OPERATION [REPOSITORY] [to TARGET]\n"
     "                    [--config FILE]\n"
     "\n"
     "What the policy of the configuration says about a client, and by which of its rules: in the\n"
     "repository, at each target to which mirrors lead from it, and at TARGET.\n"
     "\n"
     "  --as NAME[,GROUP...]   a user, robot:NAME, cert:SUBJECT, an identity of clients.oidc with\n"
     "                         the groups of its mapping, or anonymous\n"
     "  OPERATION              pull, push, delete, tag:move, queue:read, queue:control, admin\n"
     "  REPOSITORY             of the gateway; not for an archive with to=, or of the last three\n"
     "                         over all repositories\n"
     "  --config FILE          the configuration\n"
     "\n"
     "stdout: a line for each answer. Exit status: 0 all is allowed, 1 something is denied, 2 "
     "wrong\n"
     "usage or configuration.\n"},
    {"config", cmd_config, "check and print the configuration",
     "slipway config [--config FILE] [--defaults] [--policy]\n"
     "\n"
     "Checks the configuration and prints what is in effect as JSON: secrets redacted, paths\n"
     "absolute. --defaults prints it as it is without a file, --policy says in words who may do\n"
     "what.\n"
     "Exit status: 0 it is good, 2 it is not.\n"},
    {"version", cmd_version, "print the version", "slipway version\n"},
    {"help", cmd_help, "describe a command", "slipway help [COMMAND]\n"},
};
const size_t command_count = sizeof commands / sizeof commands[0];

/* Words of the command line are in it: a URL among them may have a password. */
__attribute__((format(printf, 1, 0))) static void complain(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        return;
    net_hide_userinfo(text);
    fprintf(stderr, "slipway: %s\n", text);
    free(text);
}

void cli_complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
}

int cli_usage(const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    fprintf(stderr, "Try: slipway help%s%s\n", name ? " " : "", name ? name : "");
    return EXIT_USAGE;
}

enum errc cli_open_store(const struct settings *settings, struct store **out, struct error *err)
{
    const struct store_options options = {.map_size_bytes = settings->store.map_bytes,
                                          .leave_volatile = true};
    autofree char *metadata = xasprintf("%s/meta/data.mdb", settings->data);
    if (access(metadata, F_OK) != 0)
        return fail(err, ERR_STORE, 0, "there is no store in the data folder %s (--data, --config)",
                    settings->data);
    return store_open_local(settings->data, &options, out, err);
}

enum errc cli_settings(const char *config_path, const char *listen, const char *data,
                       struct settings **out, struct error *err)
{
    struct settings *settings = NULL;
    if (settings_load(config_path, &settings, err) != ERR_OK)
        return err->code;
    if ((listen && settings_override(settings, "listen", listen, "--listen", err) != ERR_OK) ||
        (data && settings_override(settings, "data", data, "--data", err) != ERR_OK) ||
        settings_check(settings, err) != ERR_OK) {
        settings_free(settings);
        return err->code;
    }
    *out = settings;
    return ERR_OK;
}

static void print_keys(void)
{
    autofree char *text = settings_describe();
    printf("\nThe keys of the file:\n\n%s", text);
}

int cmd_help(int argc, char **argv)
{
    if (argc > 1) {
        for (size_t i = 0; i < command_count; i++)
            if (strcmp(commands[i].name, argv[1]) == 0) {
                fputs(commands[i].usage, stdout);
                if (commands[i].run == cmd_config)
                    print_keys();
                return 0;
            }
        return cli_usage(NULL, "there is no command \"%s\"", argv[1]);
    }
    puts("slipway hands container images to every registry you name.\n\nCommands:");
    for (size_t i = 0; i < command_count; i++)
        printf("  %-9s %s\n", commands[i].name, commands[i].summary);
    puts("\nslipway help COMMAND describes one.");
    return 0;
}

int cmd_version(int argc, char **argv)
{
    if (argc > 1)
        return cli_usage(argv[0], "version takes no arguments");
    autofree char *text = version_json();
    puts(text);
    return 0;
}

static void print_json(const struct settings *settings)
{
    autojson json_t *value = settings_print(settings);
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}

int cmd_config(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"defaults", no_argument, NULL, 'd'},
                                            {"policy", no_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL;
    bool defaults = false;
    bool policy = false;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'c')
            path = optarg;
        else if (option == 'd')
            defaults = true;
        else if (option == 'p')
            policy = true;
        else
            return cli_usage(argv[0], "config: unknown option or missing value: %s",
                             argv[optind - 1]);
    }
    if (optind < argc)
        return cli_usage(argv[0], "config takes no argument \"%s\"", argv[optind]);
    struct error err = ERROR_INIT;
    struct settings *settings = NULL;
    if (cli_settings(defaults ? NULL : path, NULL, NULL, &settings, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    if (policy)
        policy_print(settings);
    else
        print_json(settings);
    settings_free(settings);
    return 0;
}
