#include "config/program.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
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

static atomic_int_least64_t limit_ms = 30 * 1000;

static pthread_mutex_t hidden_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hidden {
    struct hidden *next;
    char name[];
} * hidden; /* grows by names of one configuration only */

struct running {
    const char *title;
    pid_t pid;
    int out;    /* its stdout, not blocking */
    int errors; /* its stderr, the same; -1: nobody listens */
    int pidfd;  /* readable when it has ended */
};

void program_set_limit(int64_t ms)
{
    atomic_store(&limit_ms, ms);
}

static enum errc refuse(const char *title, int sys, const char *what, struct error *err)
{
    return fail(err, ERR_CREDENTIALS, sys, "%s %s", title, what);
}

/* --- its environment --- */

static bool is_hidden(const char *name, size_t size)
{
    for (const struct hidden *at = hidden; at; at = at->next)
        if (strlen(at->name) == size && strncmp(at->name, name, size) == 0)
            return true;
    return false;
}

void program_hide_variable(const char *name)
{
    autolock pthread_mutex_t *held = lock_take(&hidden_lock);
    size_t size = strlen(name);
    if (is_hidden(name, size))
        return;
    struct hidden *more = xmalloc(sizeof *more + size + 1);
    memcpy(more->name, name, size + 1);
    more->next = hidden;
    hidden = more;
}

/* The strings are the process's own; the list is owned. */
static char **visible_environment(void)
{
    autolock pthread_mutex_t *held = lock_take(&hidden_lock);
    size_t count = 0;
    while (environ[count])
        count++;
    char **list = xcalloc(count + 1, sizeof *list);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_hidden(environ[i], strcspn(environ[i], "=")))
            list[kept++] = environ[i];
    return list;
}

/* --- its start and end --- */

/* With these as stdin, stdout and stderr (-1: discarded), default signals, in no shell. An errno.
 */
static int spawn(const struct program *program, int in, int out, int errors, pid_t *pid)
{
    autofree char **environment = visible_environment();
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
    if (errors >= 0)
        posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
    else
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(pid, program->argv[0], &files, &attributes, program->argv, environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static void reap(const struct running *running, int *status)
{
    while (waitpid(running->pid, status, 0) < 0 && errno == EINTR)
        continue;
}

static void stop(const struct running *running)
{
    int status = 0;
    kill(running->pid, SIGKILL);
    reap(running, &status);
}

/* Out of an autofd variable: the scope no longer closes it. */
static int take_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

/* A pipe of which this process reads. With O_NONBLOCK on its stdout a program could lose part of
 * its answer: only this end has it. */
static bool open_pipe(int *reader, int *writer)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    *reader = ends[0];
    *writer = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

/* The question is in the pipe before the program starts: writing cannot block, nor raise SIGPIPE
 * when the program ends without reading it. */
static enum errc open_input(const struct program *program, int *in, struct error *err)
{
    const char *text = program->input ? program->input : "";
    int ends[2];
    if (strlen(text) > PROGRAM_INPUT_MAX)
        return refuse(program->title, 0, "cannot be asked more than 1024 bytes", err);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return refuse(program->title, errno, "cannot be given a pipe", err);
    *in = ends[0];
    autofd int question = ends[1];
    if (file_write_all(question, text, strlen(text), err) != ERR_OK)
        return refuse(program->title, err->sys, "cannot be asked", err);
    return ERR_OK;
}

static enum errc start(const struct program *program, struct running *running, struct error *err)
{
    autofd int in = -1;
    autofd int answer = -1;
    autofd int out = -1;
    autofd int heard = -1;
    autofd int errors = -1;
    if (open_input(program, &in, err) != ERR_OK)
        return err->code;
    if (!open_pipe(&answer, &out) || (program->hear_errors && !open_pipe(&heard, &errors)))
        return refuse(program->title, errno, "cannot be given a pipe", err);
    int rc = spawn(program, in, out, errors, &running->pid);
    if (rc != 0)
        return refuse(program->title, rc, "cannot be run", err);
    running->pidfd = pidfd_open(running->pid, 0);
    if (running->pidfd < 0) {
        int sys = errno;
        stop(running);
        return refuse(program->title, sys, "cannot be waited for", err);
    }
    running->out = take_fd(&answer);
    running->errors = take_fd(&heard);
    return ERR_OK;
}

/* --- what it says --- */

/* Everything that is there now; *more is false at the end of the stream. An errno. */
static int drain(int fd, struct buf *into, bool *more)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) != 0 && !into->overflowed) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return errno;
        buf_append(into, piece, (size_t)n);
        explicit_bzero(piece, (size_t)n);
    }
    *more = n != 0;
    return 0;
}

static void keep_errors(struct pollfd *wait, struct buf *errors)
{
    size_t room = PROGRAM_ERRORS_MAX - errors->size;
    char piece[4096];
    ssize_t n = read(wait->fd, piece, sizeof piece);
    if (n > 0)
        buf_append(errors, piece, (size_t)n < room ? (size_t)n : room);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        wait->fd = -1;
    explicit_bzero(piece, sizeof piece);
}

/* Collect the answer until the program has ended. Its stdout may be open longer, in a process that
 * it left behind, or be closed earlier: neither is waited for, nor believed. */
static enum errc listen_to(const struct running *running, struct program_answer *answer,
                           struct error *err)
{
    const char *title = running->title;
    int64_t deadline = clock_ms() + atomic_load(&limit_ms);
    struct pollfd wait[] = {
        {running->pidfd, POLLIN, 0}, {running->out, POLLIN, 0}, {running->errors, POLLIN, 0}};
    for (bool ended = false; !ended;) {
        int64_t left = deadline - clock_ms();
        int ready = left > 0 ? poll(wait, 3, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return refuse(title, errno, "cannot be waited for", err);
        if (ready == 0)
            return refuse(title, 0, "did not answer in time", err);
        ended = wait[0].revents != 0;
        bool more = true;
        int sys = wait[1].fd >= 0 ? drain(wait[1].fd, &answer->out, &more) : 0;
        if (sys != 0)
            return refuse(title, sys, "cannot be read", err);
        if (answer->out.overflowed)
            return refuse(title, 0, "answered more than 256 KiB", err);
        if (!more)
            wait[1].fd = -1;
        if (wait[2].fd >= 0)
            keep_errors(&wait[2], &answer->errors);
    }
    return ERR_OK;
}

enum errc program_ask(const struct program *program, struct program_answer *out, struct error *err)
{
    struct running running = {.title = program->title};
    *out = (struct program_answer){.out = BUF_INIT(PROGRAM_ANSWER_MAX),
                                   .errors = BUF_INIT(PROGRAM_ERRORS_MAX)};
    if (start(program, &running, err) != ERR_OK)
        return err->code;
    enum errc rc = listen_to(&running, out, err);
    if (rc == ERR_OK)
        reap(&running, &out->status);
    else
        stop(&running);
    close(running.out);
    if (running.errors >= 0)
        close(running.errors);
    close(running.pidfd);
    return rc;
}

static void wipe(struct buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->size);
    buf_deinit(buf);
}

void program_answer_clear(struct program_answer *answer)
{
    wipe(&answer->out);
    wipe(&answer->errors);
}

void program_first_line(const char *text, char line[PROGRAM_LINE_MAX])
{
    size_t size = 0;
    text += strspn(text, " \t\r\n");
    for (; *text && *text != '\n' && size < PROGRAM_LINE_MAX - 1; text++)
        line[size++] = iscntrl((unsigned char)*text) ? '?' : *text;
    line[size] = '\0';
}
