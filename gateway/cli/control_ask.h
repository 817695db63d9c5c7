/*
 * How a command reaches a running gateway and asks it something.
 *
 * That is the gateway of a data folder, by its socket CONTROL_SOCKET there (whoever may open it is
 * its administrator), or the one at a URL, with the credentials of gateway/cli/gateway_access.h.
 * Of `--gateway`, `--data` and SLIPWAY_GATEWAY the first that is given counts.
 *
 *     static const struct option options[] = {CONTROL_LONG_OPTIONS, ..., {NULL, 0, NULL, 0}};
 *     if (control_option(&control, option, optarg)) ...
 *     status = control_options_check(&control, argv[0]);
 *     return status ? status : control_run(&control, work, self);
 *
 * and within work(), as often as it likes, control_ask(). One thread.
 */
#ifndef SLIPWAY_GATEWAY_CLI_CONTROL_ASK_H
#define SLIPWAY_GATEWAY_CLI_CONTROL_ASK_H

#include "base/cancel.h"
#include "base/json.h"
#include "gateway/cli/gateway_access.h"

#include <getopt.h>

/* ---- options ---- */

struct control_options {
    struct gateway_options gateway;
    const char *config;
    const char *data;
    bool json; /* print what the gateway answers */
};

/* Letters that these commands share; none of them is a command's own. CONTROL_USAGE of cli.h
 * describes them. */
#define CONTROL_LONG_OPTIONS                                                                       \
    {"gateway", required_argument, NULL, 'G'}, {"ca", required_argument, NULL, 'A'},               \
        {"user", required_argument, NULL, 'U'}, {"password-file", required_argument, NULL, 'W'},   \
        {"config", required_argument, NULL, 'C'}, {"data", required_argument, NULL, 'D'},          \
    {                                                                                              \
        "json", no_argument, NULL, 'J'                                                             \
    }

/* False when it is none of these. `value` is borrowed. */
bool control_option(struct control_options *options, int option, const char *value);

/* The next option of the command line that is none of these, which are taken; -1: the end;
 * '?': wrong usage, which was complained about. */
int control_next_option(struct control_options *options, int argc, char **argv,
                        const struct option *table);

/* EXIT_USAGE, after a complaint, for options that do not go together; 0. */
int control_options_check(struct control_options *options, const char *command);

/* ---- asking ---- */

struct control {
    struct settings *settings;    /* borrowed by work(): of --config, with --data laid over */
    bool is_local;                /* the gateway of a data folder is asked, not one at a URL */
    struct cancel cancel;         /* requested by SIGINT and SIGTERM */
    struct gateway_access access; /* private, as what follows */
    struct error unreachable;     /* why there is no way to the socket */
};

struct control_request {
    const char *method;
    const char *path;   /* with its query: "/v1/pushes?limit=10" */
    const json_t *body; /* NULL: none; borrowed */
    /* Takes each line of an answer that streams (application/x-ndjson); NULL: none does. */
    void (*line)(void *self, json_t *line);
    void *self;
};

struct control_answer {
    int status;   /* of HTTP; 0: there was no answer */
    json_t *body; /* owned; NULL: it has none, or has streamed */
    bool nobody;  /* no gateway runs on the data folder; never with a URL */
};
#define autoanswer __attribute__((cleanup(control_answer_deinit)))
void control_answer_deinit(struct control_answer *answer);

/* Finds the way to the gateway, then returns what work() does: an exit status. EXIT_USAGE after a
 * complaint when settings or credentials are wrong; 128 and the signal that came where work() did
 * not return 0. */
int control_run(const struct control_options *options,
                int (*work)(struct control *control, void *self), void *self);

/* ERR_OK: a status 2xx. Any other answer is an error: the one that the gateway named, with its text
 * and err->status. Without an answer err->status is 0: ERR_CONNECT and answer->nobody where no
 * gateway runs on the data folder; ERR_IO where it is another user's; what push_remote() says;
 * ERR_CANCELLED. `answer` is filled in any case. */
enum errc control_ask(struct control *control, const struct control_request *request,
                      struct control_answer *answer, struct error *err);

/* After a failed control_ask(): the complaint, and the exit status. */
int control_complain(const struct error *err);

/* Both: 0 and the answer, or the exit status after a complaint. `body` may be NULL. */
int control_ask_path(struct control *control, const char *method, const char *path,
                     const json_t *body, struct control_answer *answer);

/* A line of JSON, as --json prints what was answered. */
void control_print(const json_t *value);

#endif
