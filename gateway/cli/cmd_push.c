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
    const char *gateway;
    const char *config;
    const char *data;
    const char *digest_file;
    bool json;
    struct push_order order;
};

static int parse_options(int argc, char **argv, struct push_command *out)
{
    static const struct option options[] = {{"gateway", required_argument, NULL, 'g'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"digest-file", required_argument, NULL, 'f'},
                                            {"platform", required_argument, NULL, 'p'},
                                            {"image", required_argument, NULL, 'i'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"compression", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    struct error err = ERROR_INIT;
    out->gateway = getenv("SLIPWAY_GATEWAY");
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'g':
            out->gateway = optarg;
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
    if (out->gateway && *out->gateway == '\0')
        out->gateway = NULL;
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

static enum errc write_digests(const char *path, const json_t *results, struct error *err)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return fail(err, ERR_IO, errno, "write %s", path);
    size_t i;
    const json_t *result;
    json_array_foreach(results, i, result)
    {
        const char *digest = json_text(result, "digest");
        if (digest)
            fprintf(file, "%s\n", digest);
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
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
        const json_t *error = json_object_get(result, "error");
        const char *message = json_text(error, "message");
        if (target && digest)
            printf("%s@%s %lld\n", target, digest,
                   (long long)json_integer_value(json_object_get(result, "size")));
        else if (target)
            cli_complain("%s failed: %s", target, message ? message : "no reason given");
    }
}

/* `text` is the push object. */
static int print_result(const struct push_command *options, const char *text, const json_t *answer)
{
    struct error err = ERROR_INIT;
    const json_t *results = json_object_get(answer, "results");
    const char *state = json_text(answer, "state");
    if (options->json)
        puts(text);
    else
        print_lines(results);
    if (options->digest_file && write_digests(options->digest_file, results, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return EXIT_USAGE;
    }
    return state && strcmp(state, "pushed") == 0 ? EXIT_PUSHED : EXIT_TARGET_FAILED;
}

/* ---- the push ---- */

/* The archive's source with its progress shown. */
struct shown_source {
    struct archive_input *input;
    struct source inner;
    struct push_print *print;
};

static enum errc pull_shown(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct shown_source *shown = self;
    if (source_pull(&shown->inner, data, size, err) != ERR_OK)
        return err->code;
    push_print_archive(shown->print, atomic_load(&shown->input->read_bytes),
                       shown->input->size_bytes);
    return ERR_OK;
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

static enum errc push_with(struct engine *engine, const struct shown_push *shown, char **text,
                           struct error *err)
{
    struct push_order *order = shown->order;
    const struct push_options options = {
        .upstream = engine->upstream, .progress = &shown->progress, .cancel = shown->cancel};
    if (archive_take(engine, order, shown->archive, shown->cancel, err) != ERR_OK)
        return err->code;
    push_all(&options, &order->push);
    *text = push_json(&order->push);
    return ERR_OK;
}

static enum errc push_embedded(const struct shown_push *shown, char **text, struct error *err)
{
    struct settings *settings = NULL;
    struct engine *engine = NULL;
    const struct push_command *options = shown->options;
    if (cli_settings(options->config, NULL, options->data, &settings, err) != ERR_OK)
        return err->code;
    /* Progress and results say what there is to say; the log is for what went wrong beside them. */
    bool wordy = settings->log.level == LOG_DEBUG;
    log_setup(wordy ? LOG_DEBUG : LOG_WARN, settings->log.format);
    enum errc rc = engine_open(settings, true, &engine, err);
    if (rc == ERR_OK)
        rc = push_with(engine, shown, text, err);
    engine_close(engine);
    settings_free(settings);
    return rc;
}

static enum errc push_by_gateway(const struct shown_push *shown, json_t **answer, struct error *err)
{
    const struct remote_push push = {.url = shown->options->gateway,
                                     .order = &shown->options->order,
                                     .archive = &shown->archive,
                                     .archive_bytes = shown->archive_bytes,
                                     .progress = &shown->progress,
                                     .cancel = shown->cancel};
    return push_remote(&push, answer, err);
}

/* The push object, as text and parsed; what is shown meanwhile is complete when this returns. */
static enum errc push_shown(struct push_command *options, struct archive_input *input,
                            struct cancel *cancel, char **text, json_t **answer, struct error *err)
{
    struct push_print *print = push_print_new(isatty(STDERR_FILENO) == 1);
    struct shown_source source = {
        .input = input, .inner = archive_input_source(input), .print = print};
    const struct shown_push shown = {.options = options,
                                     .order = &options->order,
                                     .archive = {.pull = pull_shown, .self = &source},
                                     .archive_bytes = input->size_bytes,
                                     .progress = push_print_progress(print),
                                     .cancel = cancel};
    enum errc rc =
        options->gateway ? push_by_gateway(&shown, answer, err) : push_embedded(&shown, text, err);
    push_print_free(print);
    if (options->gateway)
        *text = *answer ? json_compact(*answer) : NULL;
    else
        *answer = *text ? json_loads(*text, 0, NULL) : NULL;
    return rc;
}

static int run(struct push_command *options, struct cancel *cancel)
{
    struct error err = ERROR_INIT;
    struct archive_input input;
    if (archive_input_open(&input, options->archive, cancel, &err) != ERR_OK) {
        cli_complain("%s", err.text);
        return err.code == ERR_IO ? EXIT_USAGE : EXIT_ARCHIVE;
    }
    autofree char *text = NULL;
    autojson json_t *answer = NULL;
    enum errc rc = push_shown(options, &input, cancel, &text, &answer, &err);
    archive_input_close(&input);
    if (rc == ERR_OK)
        return print_result(options, text, answer);
    cli_complain("%s", err.text);
    /* With a gateway, only what it answered has a status: the rest never got there. */
    if (options->gateway && err.status == 0 && err.code != ERR_CANCELLED && err.code != ERR_IO)
        return EXIT_UNREACHABLE;
    return exit_status(&err);
}

int cmd_push(int argc, char **argv)
{
    struct push_command *options = xcalloc(1, sizeof *options);
    int status = parse_options(argc, argv, options);
    int received = 0;
    if (status == 0) {
        struct cancel cancel;
        cancel_init(&cancel);
        signals_watch(&cancel);
        status = run(options, &cancel);
        received = signals_unwatch();
        cancel_deinit(&cancel);
    }
    push_order_deinit(&options->order);
    free(options);
    /* Ended by a signal, the shell should see it so. */
    return received != 0 && status != EXIT_PUSHED ? 128 + received : status;
}
