/*
 * A program that is asked for a secret: run without a shell, with a bounded answer and a bounded
 * time. Credential helpers (config/credentials_helper.h) and password commands
 * (config/password_command.h) are such programs.
 *
 * Any thread. The calling thread waits, at most for the limit. The program is killed and reaped by
 * its own pid; what it may have started itself is its own affair. It gets default signals and the
 * environment of this process without the variables that hold secrets of slipway's own.
 */
#ifndef SLIPWAY_CONFIG_PROGRAM_H
#define SLIPWAY_CONFIG_PROGRAM_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

#define PROGRAM_ANSWER_MAX ((size_t)256 * 1024)
#define PROGRAM_ERRORS_MAX ((size_t)4 * 1024) /* of stderr; what is beyond is dropped */
#define PROGRAM_INPUT_MAX 1024                /* below what a pipe takes without a reader */

/* Borrowed during the call. */
struct program {
    const char *title; /* what messages call it: "credential helper docker-credential-x" */
    char *const *argv; /* the first, without a slash, is looked up in PATH */
    const char *input; /* its stdin, at most PROGRAM_INPUT_MAX; NULL: none */
    bool hear_errors;  /* whether stderr is kept; else it is discarded */
};

struct program_answer {
    struct buf out;    /* stdout */
    struct buf errors; /* stderr */
    int status;        /* as of waitpid() */
};

/* ERR_CREDENTIALS, naming the program and nothing that it said: it cannot be run, is too slow, or
 * answers more than 256 KiB. Only what it wrote until it ended counts. `out` is to be wiped with
 * program_answer_clear() in any case. */
enum errc program_ask(const struct program *program, struct program_answer *out, struct error *err);
void program_answer_clear(struct program_answer *answer);

/* The first line of a text that is not blank, as far as it can be printed; "" when there is none.
 */
#define PROGRAM_LINE_MAX 201
void program_first_line(const char *text, char line[PROGRAM_LINE_MAX]);

/* The variable holds a secret that is no program's affair: from now on none gets it. */
void program_hide_variable(const char *name);

/* For tests only: another limit than 30 seconds, from now on and in all threads. */
void program_set_limit(int64_t ms);

#endif
