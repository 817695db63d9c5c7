#include "gateway/cli/archive_input.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/push_print.h"
#include "gateway/cli/push_remote.h"
#include "upstream/push/push.h"

#include "base/mem.h"
#include "gateway/push/push_json.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct push_command {
    const char *archive;
    struct gateway_options gateway; /* url NULL: none */
    const char *config;
    const char *data;
    const char *digest_file;
    bool json;
    struct push_order order;
};

static int parse_options(int argc, char **argv, struct push_command *out)
{
    static const struct option options[] = {{"gateway", required_argument, NULL, 'g'},
                                            {"ca", required_argument, NULL, 'a'},
                                            {"user", required_argument, NULL, 'u'},
                                            {"password-file", required_argument, NULL, 'w'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"digest-file", required_argument, NULL, 'f'},
                                            {"platform", required_argument, NULL, 'p'},
                                            {"image", required_argument, NULL, 'i'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"compression", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    struct error err = ERROR_INIT;
    out->gateway.url = getenv("SLIPWAY_GATEWAY");
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'g':
            out->gateway.url = optarg;
            break;
        case 'a':
            out->gateway.ca = optarg;
            break;
        case 'u':
            out->gateway.user = optarg;
            break;
        case 'w':
            out->gateway.password_file = optarg;
            break;
        case 'j':
            out->json = true;
            break;
        case 'f':
            out->digest_file = optarg;
            break;
        case 'c':
            out->config = optarg;
            break;
        case 'd':
            out->data = optarg;
            break;
        case 'i':
            free(out->order.image);
            out->order.image = xstrdup(optarg);
            break;
        case 'p':
            out->order.has_platform = true;
            if (platform_parse(optarg, &out->order.platform, &err) != ERR_OK)
                return cli_usage(argv[0], "--platform: %s", err.text);
            break;
        case 'm':
            if (compression_parse(optarg, &out->order.compression, &err) != ERR_OK)
                return cli_usage(argv[0], "--%s", err.text);
            break;
        default:
            return cli_usage(argv[0], "push: unknown option or missing value: %s",
                             argv[optind - 1]);
        }
    }
    if (argc - optind < 2)
        return cli_usage(argv[0], "push needs an archive and at least one target");
    out->archive = argv[optind++];
    for (; optind < argc; optind++)
        if (push_order_add(&out->order, argv[optind], &err) != ERR_OK)
            return cli_usage(argv[0], "%s", err.text);
    if (out->gateway.url && *out->gateway.url == '\0')
        out->gateway.url = NULL;
    if (out->gateway.url == NULL &&
        (out->gateway.ca || out->gateway.user || out->gateway.password_file))
        return cli_usage(argv[0], "--ca, --user and --password-file are for a gateway: give "
                                  "--gateway URL; registries are in the configuration");
    return 0;
}

static int exit_status(const struct error *err)
{
    switch (err->code) {
    case ERR_BAD_REQUEST:
    case ERR_REFERENCE_INVALID:
    case ERR_DIGEST_REFERENCE:
    case ERR_NO_TARGET:
    case ERR_NO_TAG:
    case ERR_SETTINGS:
    case ERR_CREDENTIALS:
    case ERR_STORE_LOCKED:
    case ERR_STORE:
        return EXIT_USAGE;
    case ERR_BUSY:
    case ERR_STOPPING:
        return EXIT_UNREACHABLE;
    case ERR_CANCELLED:
        return EXIT_TARGET_FAILED;
    default:
        break;
    }
    return error_party(err->code) == PARTY_CLIENT ? EXIT_ARCHIVE : EXIT_TARGET_FAILED;
}

/* ---- the result ---- */

/* Emptied before the push: what an earlier one left there is nobody's digest any more. */
static enum errc open_digests(const char *path, FILE **file, struct error *err)
{
    if (path == NULL)
        return ERR_OK;
    *file = fopen(path, "we");
    return *file ? ERR_OK : fail(err, ERR_IO, errno, "write %s", path);
}

static enum errc write_digests(FILE *file, const char *path, const json_t *results,
                               struct error *err)
{
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const char *digest = json_text(result, "digest");
        if (digest)
            fprintf(file, "%s\n", digest);
    }
    if (fflush(file) != 0 || ferror(file))
        return fail(err, ERR_IO, errno, "write %s", path);
    return ERR_OK;
}

static void print_lines(const json_t *results)
{
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const char *target = json_text(result, "target");
        const char *digest = json_text(result, "digest");
        const char *state = json_text(result, "state");
        const json_t *error = json_object_get(result, "error");
        const char *message = json_text(error, "message");
        if (target && digest)
            printf("%s@%s %lld\n", target, digest,
                   (long long)json_integer_value(json_object_get(result, "size")));
        if (target && state && strcmp(state, "superseded") == 0)
            cli_complain("%s: a younger push has this tag; the image is there under its digest",
                         target);
        else if (target && digest == NULL)
            cli_complain("%s failed: %s", target, message ? message : "no reason given");
    }
}

/* What went ahead of the tables of an archive that came through a pipe. */
static void tell_unused(const json_t *unused)
{
    size_t i;
    const json_t *blob;
    json_array_foreach(unused, i, blob)
    {
        const char *digest = json_text(blob, "digest");
        if (digest)
            cli_complain("sent, but not needed: no table of the archive names the file that became "
                         "%s (%lld bytes)",
                         digest, (long long)json_integer_value(json_object_get(blob, "size")));
    }
}

/* `text` is the push object; `digests` may be NULL. */
static int print_result(const struct push_command *options, const char *text, const json_t *answer,
                        FILE *digests)
{
    struct error err = ERROR_INIT;
    const json_t *results = json_object_get(answer, "results");
    const char *state = json_text(answer, "state");
    if (options->json)
        puts(text);
    else
        print_lines(results);
    tell_unused(json_object_get(answer, "unused"));
    if (digests && write_digests(digests, options->digest_file, results, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    bool good = state && (strcmp(state, "pushed") == 0 || strcmp(state, "superseded") == 0);
    return good ? EXIT_PUSHED : EXIT_TARGET_FAILED;
}

/* ---- the push ---- */

static void show_archive(void *print, uint64_t done_bytes, uint64_t size_bytes)
{
    push_print_archive(print, done_bytes, size_bytes);
}

/* One push as it is shown: where its bytes come from, and who gets its events. */
struct shown_push {
    const struct push_command *options;
    struct push_order *order;
    struct source archive;
    uint64_t archive_bytes;
    struct progress progress;
    struct cancel *cancel;
};

static enum errc push_with(struct runtime *runtime, const struct shown_push *shown, char **text,
                           struct error *err)
{
    struct push_order *order = shown->order;
    order->early = true;
    const struct push_options options = {.upstream = runtime->upstream,
                                         .progress = &shown->progress,
                                         .cancel = shown->cancel,
                                         .remembers = true};
    if (archive_take(runtime, order, shown->archive, shown->cancel, err) != ERR_OK)
        return err->code;
    push_all(&options, &order->push);
    *text = push_json(&order->push);
    return ERR_OK;
}

static enum errc push_embedded(const struct settings *settings, const struct shown_push *shown,
                               char **text, struct error *err)
{
    struct runtime *runtime = NULL;
    enum errc rc = runtime_open(settings, true, &runtime, err);
    if (rc == ERR_OK) {
        struct error untrimmed = ERROR_INIT;
        rc = push_with(runtime, shown, text, err);
        if (store_trim(runtime->store, settings->limits.push_copies_bytes, &untrimmed) != ERR_OK)
            log_warn("old copies in the data folder %s stay: %s", settings->data, untrimmed.text);
    }
    runtime_close(runtime);
    return rc;
}

static enum errc push_by_gateway(const struct settings *settings, const struct shown_push *shown,
                                 json_t **answer, struct error *err)
{
    struct gateway_access access = {0};
    const struct remote_push push = {.access = &access,
                                     .order = &shown->options->order,
                                     .archive = &shown->archive,
                                     .archive_bytes = shown->archive_bytes,
                                     .progress = &shown->progress,
                                     .cancel = shown->cancel};
    if (gateway_access_find(&shown->options->gateway, settings, &access, err) == ERR_OK)
        push_remote(&push, answer, err);
    gateway_access_deinit(&access);
    return err->code;
}

/* A gateway has settings of its own: of those here it only takes how to reach it. */
static enum errc read_settings(const struct push_command *options, struct settings **out,
                               struct error *err)
{
    enum errc rc = options->gateway.url
                       ? settings_load(options->config, out, err)
                       : cli_settings(options->config, NULL, options->data, out, err);
    /* Progress and results say what there is to say; the log is for what went wrong beside them. */
    if (rc == ERR_OK)
        log_setup((*out)->log.level == LOG_DEBUG ? LOG_DEBUG : LOG_WARN, (*out)->log.format);
    return rc;
}

/* The push object, as text and parsed; what is shown meanwhile is complete when this returns. */
static enum errc push_shown(struct push_command *options, const struct settings *settings,
                            struct archive_input *input, struct cancel *cancel, char **text,
                            json_t **answer, struct error *err)
{
    struct push_print *print = push_print_new(isatty(STDERR_FILENO) == 1);
    input->tell = show_archive;
    input->told_to = print;
    const struct shown_push shown = {.options = options,
                                     .order = &options->order,
                                     .archive = archive_input_source(input),
                                     .archive_bytes = input->size_bytes,
                                     .progress = push_print_progress(print),
                                     .cancel = cancel};
    enum errc rc = options->gateway.url ? push_by_gateway(settings, &shown, answer, err)
                                        : push_embedded(settings, &shown, text, err);
    push_print_free(print);
    if (options->gateway.url)
        *text = *answer ? json_compact(*answer) : NULL;
    else
        *answer = *text ? json_loads(*text, 0, NULL) : NULL;
    return rc;
}

/* Of failures without an answer of the gateway: it was not asked. */
static bool is_local(enum errc code)
{
    return code == ERR_CANCELLED || code == ERR_IO || code == ERR_BAD_REQUEST ||
           code == ERR_SETTINGS;
}

static int run(struct push_command *options, struct cancel *cancel, FILE *digests)
{
    struct error err = ERROR_INIT;
    struct archive_input input;
    if (archive_input_open(&input, options->archive, cancel, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return err.code == ERR_IO ? EXIT_USAGE : EXIT_ARCHIVE;
    }
    struct settings *settings = NULL;
    autofree char *text = NULL;
    autojson json_t *answer = NULL;
    enum errc rc = read_settings(options, &settings, &err);
    if (rc == ERR_OK)
        rc = push_shown(options, settings, &input, cancel, &text, &answer, &err);
    settings_free(settings);
    archive_input_close(&input);
    if (rc == ERR_OK)
        return print_result(options, text, answer, digests);
    cli_complain("%s", err.text);
    /* With a gateway, only what it answered has a status: the rest never got there. */
    if (options->gateway.url && err.status == 0 && !is_local(err.code))
        return EXIT_UNREACHABLE;
    return exit_status(&err);
}

/* run(), with the signals watched and the digest file open. */
static int run_watched(struct push_command *options)
{
    struct error err = ERROR_INIT;
    FILE *digests = NULL;
    if (open_digests(options->digest_file, &digests, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    struct cancel cancel;
    cancel_init(&cancel);
    signals_watch(&cancel);
    int status = run(options, &cancel, digests);
    int received = signals_unwatch();
    cancel_deinit(&cancel);
    if (digests)
        fclose(digests);
    /* Ended by a signal, the shell should see it so. */
    return received != 0 && status != EXIT_PUSHED ? 128 + received : status;
}

int cmd_push(int argc, char **argv)
{
    struct push_command *options = xcalloc(1, sizeof *options);
    int status = parse_options(argc, argv, options);
    if (status == 0) {
        status = run_watched(options);
    } else {
        struct error ignored = ERROR_INIT;
        FILE *emptied = NULL;
        if (open_digests(options->digest_file, &emptied, &ignored) == ERR_OK && emptied)
            fclose(emptied);
    }
    push_order_deinit(&options->order);
    free(options);
    return status;
}
