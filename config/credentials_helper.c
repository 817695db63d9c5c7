#include "config/credentials_helper.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define ANSWER_LIMIT ((size_t)256 * 1024)
#define NAME_LIMIT 64
#define SERVER_LIMIT 1024 /* below what a pipe takes without a reader, see start() */

/* What every helper prints when it holds nothing; the protocol has no code for it. */
#define NOT_FOUND_TEXT "credentials not found in native keychain"

static atomic_int_least64_t limit_ms = 30 * 1000;

struct helper {
    const char *name;
    pid_t pid;
    int out;   /* its stdout, not blocking */
    int pidfd; /* readable when it has ended */
};

void credentials_helper_set_limit(int64_t ms)
{
    atomic_store(&limit_ms, ms);
}

static enum errc refuse(const char *name, int sys, const char *what, struct error *err)
{
    return fail(err, ERR_CREDENTIALS, sys, "credential helper docker-credential-%s %s", name, what);
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

/* The program with these as stdin and stdout, default signals, in no shell. An errno. */
static int spawn(const char *name, int in, int out, pid_t *pid)
{
    autofree char *program = xasprintf("docker-credential-%s", name);
    char get[] = "get";
    char *argv[] = {program, get, NULL};
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(pid, program, &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static void reap(const struct helper *helper, int *status)
{
    while (waitpid(helper->pid, status, 0) < 0 && errno == EINTR)
        continue;
}

static void stop(const struct helper *helper)
{
    int status = 0;
    kill(helper->pid, SIGKILL);
    reap(helper, &status);
}

/* Out of an autofd variable: the scope no longer closes it. */
static int take_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

/* The question is in the pipe before the helper starts: writing cannot block, nor raise SIGPIPE
 * when the helper ends without reading it. */
static enum errc start(struct helper *helper, const char *server, struct error *err)
{
    int to[2];
    int from[2];
    if (pipe2(to, O_CLOEXEC) != 0)
        return refuse(helper->name, errno, "cannot be given a pipe", err);
    autofd int in = to[0];
    autofd int question = to[1];
    if (pipe2(from, O_CLOEXEC) != 0)
        return refuse(helper->name, errno, "cannot be given a pipe", err);
    autofd int answer = from[0];
    autofd int out = from[1];
    if (file_write_all(question, server, strlen(server), err) != ERR_OK)
        return refuse(helper->name, err->sys, "cannot be asked", err);
    /* Only this end: with O_NONBLOCK on its stdout a helper could lose part of its answer. */
    if (fcntl(answer, F_SETFL, O_NONBLOCK) != 0)
        return refuse(helper->name, errno, "cannot be listened to", err);
    int rc = spawn(helper->name, in, out, &helper->pid);
    if (rc != 0)
        return refuse(helper->name, rc, "cannot be run", err);
    helper->pidfd = pidfd_open(helper->pid, 0);
    if (helper->pidfd < 0) {
        int sys = errno;
        stop(helper);
        return refuse(helper->name, sys, "cannot be waited for", err);
    }
    helper->out = take_fd(&answer);
    return ERR_OK;
}

/* Everything that is there now; *more is false at the end of the stream. */
static enum errc drain(const struct helper *helper, struct buf *answer, bool *more,
                       struct error *err)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(helper->out, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return refuse(helper->name, errno, "cannot be read", err);
        buf_append(answer, piece, (size_t)n);
        explicit_bzero(piece, (size_t)n);
        if (answer->overflowed)
            return refuse(helper->name, 0, "answered more than 256 KiB", err);
    }
    *more = n != 0;
    return ERR_OK;
}

/* Collect the answer until the helper has ended. Its stdout may be open longer, in a process that
 * it left behind, or be closed earlier: neither is waited for, nor believed. */
static enum errc listen_to(const struct helper *helper, struct buf *answer, struct error *err)
{
    int64_t deadline = clock_ms() + atomic_load(&limit_ms);
    struct pollfd wait[] = {{helper->pidfd, POLLIN, 0}, {helper->out, POLLIN, 0}};
    for (bool ended = false; !ended;) {
        int64_t left = deadline - clock_ms();
        int ready = left > 0 ? poll(wait, 2, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return refuse(helper->name, errno, "cannot be waited for", err);
        if (ready == 0)
            return refuse(helper->name, 0, "did not answer in time", err);
        ended = wait[0].revents != 0;
        bool more = true;
        if (wait[1].fd >= 0 && drain(helper, answer, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            wait[1].fd = -1;
    }
    return ERR_OK;
}

/* The first line as far as it can be printed: where a helper says why it failed. */
static void first_line(const char *text, char line[201])
{
    size_t size = 0;
    for (; *text && *text != '\n' && size < 200; text++)
        line[size++] = iscntrl((unsigned char)*text) ? '?' : *text;
    line[size] = '\0';
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
    if (json_parse(buf_cstr(answer), answer->size, ANSWER_LIMIT, "the answer", &root, err) !=
        ERR_OK)
        return refuse(name, 0, "did not answer JSON", err);
    const char *username = json_text(root, "Username");
    const char *secret = json_text(root, "Secret");
    if (username == NULL || secret == NULL)
        return refuse(name, 0, "did not answer a Username and a Secret", err);
    if (strcmp(username, "<token>") == 0)
        out->identity_token = present(secret);
    else {
        out->username = present(username);
        out->password = present(secret);
    }
    return ERR_OK;
}

static enum errc judge(const char *name, int status, const struct buf *answer,
                       struct stored_credentials *out, struct error *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return read_answer(name, answer, out, err);
    if (says_not_found(buf_cstr(answer)))
        return ERR_OK;
    if (!WIFEXITED(status))
        return refuse(name, 0, "was ended by a signal", err);
    char line[201];
    first_line(buf_cstr(answer), line);
    return fail(err, ERR_CREDENTIALS, 0, "credential helper docker-credential-%s failed: %s", name,
                line[0] ? line : "it does not say why");
}

enum errc credentials_helper_get(const char *name, const char *server,
                                 struct stored_credentials *out, struct error *err)
{
    struct helper helper = {.name = name};
    if (check_name(name, err) != ERR_OK)
        return err->code;
    if (strlen(server) > SERVER_LIMIT)
        return fail(err, ERR_CREDENTIALS, 0, "the name of a registry has more than %d bytes",
                    SERVER_LIMIT);
    if (start(&helper, server, err) != ERR_OK)
        return err->code;
    autobuf struct buf answer = BUF_INIT(ANSWER_LIMIT);
    int status = 0;
    enum errc rc = listen_to(&helper, &answer, err);
    if (rc == ERR_OK) {
        reap(&helper, &status);
        rc = judge(name, status, &answer, out, err);
    } else
        stop(&helper);
    close(helper.out);
    close(helper.pidfd);
    if (answer.data != NULL)
        explicit_bzero(answer.data, answer.size);
    return rc;
}
