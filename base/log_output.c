#include "base/log_output.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

struct log_line {
    STAILQ_ENTRY(log_line) link;
    uint64_t lost; /* lines before it */
    size_t size;
    char text[];
};

static struct {
    pthread_mutex_t lock; /* guards all of it */
    pthread_cond_t changed;
    pthread_t thread;
    void (*tell_lost)(uint64_t count, struct buf *line);
    STAILQ_HEAD(, log_line) lines;
    size_t bytes;  /* of those that wait */
    uint64_t lost; /* since the last line that was taken */
    bool running;
    bool terminal; /* takes some of a line and then waits, whatever poll(2) says */
    bool writing;
    bool ending;
    bool deaf; /* nobody read until the end */
} output = {.lock = PTHREAD_MUTEX_INITIALIZER, .lines = STAILQ_HEAD_INITIALIZER(output.lines)};

/* ---- the thread ---- */

/* A pipe that can be written to takes PIPE_BUF bytes without waiting (pipe(7)). */
static bool wait_for_room(int ms)
{
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&err, 1, ms) > 0;
}

static void write_line(const char *text, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        size_t part = size - sent < PIPE_BUF ? size - sent : PIPE_BUF;
        wait_for_room(-1);
        ssize_t written = write(STDERR_FILENO, text + sent, part);
        if (written < 0 && errno != EAGAIN && errno != EINTR)
            return;
        sent += written > 0 ? (size_t)written : 0;
    }
}

static void write_lost(uint64_t count)
{
    autobuf struct buf line = BUF_INIT(LINE_MAX);
    if (count == 0)
        return;
    output.tell_lost(count, &line);
    write_line(buf_cstr(&line), line.size);
}

/* With the lock, which is given up meanwhile. */
static void write_next(void)
{
    struct log_line *line = STAILQ_FIRST(&output.lines);
    uint64_t lost = line ? line->lost : output.lost;
    if (line)
        STAILQ_REMOVE_HEAD(&output.lines, link);
    else
        output.lost = 0;
    output.writing = true;
    pthread_mutex_unlock(&output.lock);
    write_lost(lost);
    if (line)
        write_line(line->text, line->size);
    pthread_mutex_lock(&output.lock);
    output.writing = false;
    output.bytes -= line ? line->size : 0;
    free(line);
    pthread_cond_broadcast(&output.changed);
}

static bool is_idle(void)
{
    return STAILQ_EMPTY(&output.lines) && output.lost == 0 && !output.writing;
}

static void *run(void *arg)
{
    (void)arg;
    autolock pthread_mutex_t *held = lock_take(&output.lock);
    while (!output.ending) {
        if (is_idle())
            pthread_cond_wait(&output.changed, &output.lock);
        else
            write_next();
    }
    return NULL;
}

/* ---- start and end ---- */

bool log_output_start(void (*tell_lost)(uint64_t count, struct buf *line))
{
    output.tell_lost = tell_lost;
    output.ending = output.deaf = false;
    output.terminal = isatty(STDERR_FILENO);
    clock_cond_init(&output.changed);
    output.running = pthread_create(&output.thread, NULL, run, NULL) == 0;
    return output.running;
}

bool log_output_stop(int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&output.lock);
    if (!output.running) {
        pthread_mutex_unlock(&output.lock);
        return true;
    }
    while (!is_idle() && rc == 0)
        rc = pthread_cond_timedwait(&output.changed, &output.lock, &until);
    output.running = false;
    output.ending = true;
    output.deaf = !is_idle();
    bool stays = output.writing;
    pthread_cond_broadcast(&output.changed);
    pthread_mutex_unlock(&output.lock);
    if (stays)
        pthread_detach(output.thread); /* it waits for a reader, until the process has ended */
    else
        pthread_join(output.thread, NULL);
    return !output.deaf;
}

/* ---- lines ---- */

/* With the lock. */
static void take(const char *text, size_t size)
{
    if (output.bytes + size > LOG_QUEUE_BYTES) {
        output.lost++;
        return;
    }
    struct log_line *line = xmalloc(sizeof *line + size);
    *line = (struct log_line){.lost = output.lost, .size = size};
    memcpy(line->text, text, size);
    output.lost = 0;
    output.bytes += size;
    STAILQ_INSERT_TAIL(&output.lines, line, link);
    pthread_cond_broadcast(&output.changed);
}

/* With the lock. How much of a line stderr took at once. */
static size_t write_at_once(const char *text, size_t size)
{
    if (size > PIPE_BUF || output.terminal || !is_idle() || !wait_for_room(0))
        return 0;
    ssize_t written = write(STDERR_FILENO, text, size);
    if (written >= 0)
        return (size_t)written;
    return errno == EAGAIN || errno == EINTR ? 0 : size;
}

void log_output(const char *text, size_t size)
{
    pthread_mutex_lock(&output.lock);
    bool waits = !output.running && !output.deaf;
    size_t done = output.running ? write_at_once(text, size) : size;
    if (done < size)
        take(text + done, size - done);
    pthread_mutex_unlock(&output.lock);
    /* One write(2) a line: lines of several threads do not mix. A lost log line is not an error. */
    ssize_t written = waits ? write(STDERR_FILENO, text, size) : 0;
    (void)written;
}
