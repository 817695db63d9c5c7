#include "config/credentials_helper.h"

#include "base/json.h"
#include "base/mem.h"
#include "config/program.h"

#include <ctype.h>
#include <string.h>
#include <sys/wait.h>

#define NAME_LIMIT 64

/* What every helper prints when it holds nothing; the protocol has no code for it. */
#define NOT_FOUND_TEXT "credentials not found in native keychain"

static enum errc refuse(const char *name, const char *what, struct error *err)
{
    return fail(err, ERR_CREDENTIALS, 0, "credential helper docker-credential-%s %s", name, what);
}

static enum errc check_name(const char *name, struct error *err)
{
    size_t size = strlen(name);
    bool valid = size > 0 && size <= NAME_LIMIT;
    for (size_t i = 0; valid && i < size; i++)
        valid = isalnum((unsigned char)name[i]) || strchr("._-", name[i]) != NULL;
    if (!valid)
        return fail(err, ERR_CREDENTIALS, 0,
                    "the name of a credential helper must have 1 to %d letters, digits, \".\", "
                    "\"_\" and \"-\"",
                    NAME_LIMIT);
    return ERR_OK;
}

static bool says_not_found(const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(NOT_FOUND_TEXT);
    return strncmp(text, NOT_FOUND_TEXT, size) == 0 &&
           text[size + strspn(text + size, " \t\r\n")] == '\0';
}

static char *present(const char *text)
{
    return text != NULL && text[0] != '\0' ? xstrdup(text) : NULL;
}

static enum errc read_answer(const char *name, const struct buf *answer,
                             struct stored_credentials *out, struct error *err)
{
    autojson json_t *root = NULL;
    /* The parser's own words may quote the secret. */
    if (json_parse(buf_cstr(answer), answer->size, PROGRAM_ANSWER_MAX, "the answer", &root, err) !=
        ERR_OK)
        return refuse(name, "did not answer JSON", err);
    const char *username = json_text(root, "Username");
    const char *secret = json_text(root, "Secret");
    if (username == NULL || secret == NULL)
        return refuse(name, "did not answer a Username and a Secret", err);
    if (strcmp(username, "<token>") == 0)
        out->identity_token = present(secret);
    else {
        out->username = present(username);
        out->password = present(secret);
    }
    return ERR_OK;
}

static enum errc judge(const char *name, const struct program_answer *answer,
                       struct stored_credentials *out, struct error *err)
{
    const char *text = buf_cstr(&answer->out);
    if (WIFEXITED(answer->status) && WEXITSTATUS(answer->status) == 0)
        return read_answer(name, &answer->out, out, err);
    if (says_not_found(text))
        return ERR_OK;
    if (!WIFEXITED(answer->status))
        return refuse(name, "was ended by a signal", err);
    char line[PROGRAM_LINE_MAX];
    program_first_line(text, line);
    return fail(err, ERR_CREDENTIALS, 0, "credential helper docker-credential-%s failed: %s", name,
                line[0] ? line : "it does not say why");
}

enum errc credentials_helper_get(const char *name, const char *server,
                                 struct stored_credentials *out, struct error *err)
{
    if (check_name(name, err) != ERR_OK)
        return err->code;
    if (strlen(server) > PROGRAM_INPUT_MAX)
        return fail(err, ERR_CREDENTIALS, 0, "the name of a registry has more than %d bytes",
                    PROGRAM_INPUT_MAX);
    autofree char *file = xasprintf("docker-credential-%s", name);
    autofree char *title = xasprintf("credential helper %s", file);
    char get[] = "get";
    char *argv[] = {file, get, NULL};
    const struct program program = {.title = title, .argv = argv, .input = server};
    struct program_answer answer;
    enum errc rc = program_ask(&program, &answer, err);
    if (rc == ERR_OK)
        rc = judge(name, &answer, out, err);
    program_answer_clear(&answer);
    return rc;
}
