#include "gateway/cli/control_ask.h"

#include "base/folder_socket.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/gateway_exchange.h"
#include "gateway/service/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ANSWER_LIMIT_BYTES ((size_t)64 << 20)

/* ---- options ---- */

bool control_option(struct control_options *options, int option, const char *value)
{
    switch (option) {
    case 'G':
        options->gateway.url = value;
        return true;
    case 'A':
        options->gateway.ca = value;
        return true;
    case 'U':
        options->gateway.user = value;
        return true;
    case 'W':
        options->gateway.password_file = value;
        return true;
    case 'C':
        options->config = value;
        return true;
    case 'D':
        options->data = value;
        return true;
    case 'J':
        options->json = true;
        return true;
    default:
        return false;
    }
}

int control_next_option(struct control_options *options, int argc, char **argv,
                        const struct option *table)
{
    int option = 0;
    opterr = 0;
    do
        option = getopt_long(argc, argv, "", table, NULL);
    while (option != -1 && control_option(options, option, optarg));
    if (option == '?')
        cli_usage(argv[0], "%s: unknown option or missing value: %s", argv[0], argv[optind - 1]);
    return option;
}

int control_options_check(struct control_options *options, const char *command)
{
    struct gateway_options *gateway = &options->gateway;
    if (gateway->url && options->data)
        return cli_usage(command, "--gateway and --data name two gateways: give one of them");
    if (gateway->url == NULL && options->data == NULL)
        gateway->url = getenv("SLIPWAY_GATEWAY");
    if (gateway->url && gateway->url[0] == '\0')
        gateway->url = NULL;
    if (gateway->url == NULL && (gateway->ca || gateway->user || gateway->password_file))
        return cli_usage(command, "--ca, --user and --password-file are for --gateway URL");
    return 0;
}

/* ---- the way ---- */

/* Not knowing the way is no failure yet: who asks may do without a gateway. */
static void find_socket(struct control *control, struct folder_socket *socket)
{
    const char *folder = control->settings->data;
    control->is_local = true;
    control->access.url = xstrdup("http://localhost");
    control->access.host = xstrdup("localhost");
    if (folder_socket_open(folder, CONTROL_SOCKET, socket, &control->unreachable) == ERR_OK)
        control->access.socket = xstrdup(socket->address.sun_path);
}

/* `control` is filled as far as it went. */
static enum errc prepare(const struct control_options *options, struct control *control,
                         struct folder_socket *socket, struct error *err)
{
    const bool remote = options->gateway.url != NULL;
    enum errc rc =
        remote ? settings_load(options->config, &control->settings, err)
               : cli_settings(options->config, NULL, options->data, &control->settings, err);
    if (rc != ERR_OK)
        return rc;
    log_setup(control->settings->log.level == LOG_DEBUG ? LOG_DEBUG : LOG_WARN,
              control->settings->log.format);
    if (remote)
        return gateway_access_find(&options->gateway, control->settings, &control->access, err);
    find_socket(control, socket);
    return ERR_OK;
}

int control_run(const struct control_options *options,
                int (*work)(struct control *control, void *self), void *self)
{
    struct control control = {.settings = NULL};
    struct folder_socket socket = {.folder = -1};
    struct error err = ERROR_INIT;
    int status = EXIT_USAGE;
    cancel_init(&control.cancel);
    signals_watch(&control.cancel);
    if (prepare(options, &control, &socket, &err) == ERR_OK)
        status = work(&control, self);
    else
        cli_complain("%s", err.text);
    int received = signals_unwatch();
    cancel_deinit(&control.cancel);
    folder_socket_close(&socket);
    gateway_access_deinit(&control.access);
    settings_free(control.settings);
    return received != 0 && status != 0 ? 128 + received : status;
}

/* ---- asking ---- */

void control_answer_deinit(struct control_answer *answer)
{
    json_decref(answer->body);
    answer->body = NULL;
}

/* Whose the folder is, for who may not look into it. */
static enum errc other_user(const char *folder, int sys, struct error *err)
{
    struct stat found;
    char owner[64] = "the user that the gateway runs as";
    if (stat(folder, &found) == 0)
        snprintf(owner, sizeof owner, "the user with the id %lu", (unsigned long)found.st_uid);
    return fail(err, ERR_IO, sys,
                "%s/" CONTROL_SOCKET " is open to %s only: run this as that user, or reach the "
                "gateway with --gateway URL",
                folder, owner);
}

/* Why there is no connection, in terms of the data folder. */
static enum errc explain(const struct control *control, struct control_answer *answer,
                         struct error *err)
{
    const char *folder = control->settings->data;
    const int sys = err->sys;
    if (sys == EACCES || sys == EPERM)
        return other_user(folder, sys, err);
    answer->nobody = sys == ENOENT || sys == ENOTDIR || sys == ECONNREFUSED;
    if (answer->nobody)
        return fail(err, ERR_CONNECT, 0,
                    "no gateway runs on the data folder %s: name the one of yours with --data, or "
                    "with the --config that it was started with, or its URL with --gateway",
                    folder);
    return error_wrap(err, "%s/" CONTROL_SOCKET, folder);
}

static enum errc exchange(struct control *control, const struct control_request *request,
                          struct http_response *response, struct error *err)
{
    const struct gateway_lines lines = {.take = request->line, .self = request->self};
    autofree char *text = request->body ? json_compact(request->body) : NULL;
    const struct http_body body = {.data = text, .size = text ? strlen(text) : 0};
    struct http_request http = {.method = request->method,
                                .content_type = text ? "application/json" : NULL,
                                .accept = "application/json",
                                .body = text ? &body : NULL,
                                .answer_limit_bytes = ANSWER_LIMIT_BYTES,
                                .cancel = &control->cancel};
    if (control->is_local && control->access.socket == NULL) {
        *err = control->unreachable;
        return err->code;
    }
    return gateway_exchange(&control->access, &http, request->path, request->line ? &lines : NULL,
                            response, err);
}

/* What is not JSON where it should be is somebody else's answer. */
static enum errc read_answer(const struct control *control, const struct http_response *response,
                             struct control_answer *answer, struct error *err)
{
    struct error ignored = ERROR_INIT;
    answer->status = response->status;
    if (response->body_cut)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the gateway's answer has more than %zu bytes",
                    ANSWER_LIMIT_BYTES);
    if (response->body.size > 0)
        json_parse(buf_cstr(&response->body), response->body.size, ANSWER_LIMIT_BYTES, "answer",
                   &answer->body, &ignored);
    bool expected = answer->body || gateway_answer_streams(response) || response->status == 204;
    if (response->status / 100 == 2 && expected)
        return ERR_OK;
    return gateway_refusal(&control->access, response, err);
}

enum errc control_ask(struct control *control, const struct control_request *request,
                      struct control_answer *answer, struct error *err)
{
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    *answer = (struct control_answer){.status = 0};
    if (exchange(control, request, &response, err) == ERR_OK)
        return read_answer(control, &response, answer, err);
    if (control->is_local && err->code != ERR_CANCELLED)
        return explain(control, answer, err);
    return err->code;
}

int control_complain(const struct error *err)
{
    cli_complain("%s", err->text);
    if (err->status != 0)
        return err->status == 400 ? EXIT_USAGE : EXIT_TARGET_FAILED;
    switch (err->code) {
    case ERR_BAD_REQUEST:
    case ERR_SETTINGS:
        return EXIT_USAGE;
    case ERR_CANCELLED:
    case ERR_JSON_TOO_LARGE:
        return EXIT_TARGET_FAILED;
    default:
        return EXIT_UNREACHABLE;
    }
}

int control_ask_path(struct control *control, const char *method, const char *path,
                     const json_t *body, struct control_answer *answer)
{
    struct error err = ERROR_INIT;
    const struct control_request request = {.method = method, .path = path, .body = body};
    if (control_ask(control, &request, answer, &err) == ERR_OK)
        return 0;
    return control_complain(&err);
}

void control_print(const json_t *value)
{
    autofree char *text = json_compact(value);
    puts(text);
}
