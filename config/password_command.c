#include "config/password_command.h"

#include "base/log.h"
#include "base/mem.h"
#include "config/program.h"

#include <string.h>
#include <sys/wait.h>

#define PASSWORD_LIMIT ((size_t)64 * 1024)

/* The answer's first line, made a text of its own. */
static enum errc take_password(const char *title, struct program_answer *answer, char **password,
                               struct error *err)
{
    const char *text = buf_cstr(&answer->out);
    size_t size = strcspn(text, "\r\n");
    if (size == 0)
        return fail(err, ERR_CREDENTIALS, 0, "%s printed no password", title);
    if (size > PASSWORD_LIMIT)
        return fail(err, ERR_CREDENTIALS, 0, "%s printed a password of more than 64 KiB", title);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return fail(err, ERR_CREDENTIALS, 0, "%s printed a control character in the password",
                        title);
    *password = xstrndup(text, size);
    return ERR_OK;
}

/* A program that fails may have printed the password before, and a shell with -x prints it twice.
 */
static bool quotes_answer(const char *line, const struct program_answer *answer)
{
    char said[PROGRAM_LINE_MAX];
    program_first_line(buf_cstr(&answer->out), said);
    bool quotes = said[0] && strstr(line, said) != NULL;
    explicit_bzero(said, sizeof said);
    return quotes;
}

static enum errc report(const char *title, const struct program_answer *answer, struct error *err)
{
    char line[PROGRAM_LINE_MAX];
    program_first_line(buf_cstr(&answer->errors), line);
    if (quotes_answer(line, answer))
        log_warn("%s failed; what it wrote to stderr repeats its answer and is not shown", title);
    else
        log_warn("%s failed: %s", title, line[0] ? line : "it wrote nothing to stderr");
    explicit_bzero(line, sizeof line);
    if (!WIFEXITED(answer->status))
        return fail(err, ERR_CREDENTIALS, 0, "%s was ended by signal %d", title,
                    WTERMSIG(answer->status));
    return fail(err, ERR_CREDENTIALS, 0,
                "%s failed with exit status %d; the log of slipway has what it wrote to stderr",
                title, WEXITSTATUS(answer->status));
}

enum errc password_command_run(const struct registry_setting *registry, char **password,
                               struct error *err)
{
    const struct setting_list *command = &registry->password_command;
    autofree char **argv = xcalloc(command->count + 1, sizeof *argv);
    memcpy(argv, command->items, command->count * sizeof *argv);
    autofree char *title = xasprintf("registries.\"%s\".password_command: the program %.200s",
                                     registry->host, argv[0]);
    const struct program program = {.title = title, .argv = argv, .hear_errors = true};
    struct program_answer answer;
    enum errc rc = program_ask(&program, &answer, err);
    if (rc == ERR_OK)
        rc = answer.status == 0 ? take_password(title, &answer, password, err)
                                : report(title, &answer, err);
    program_answer_clear(&answer);
    return rc;
}
