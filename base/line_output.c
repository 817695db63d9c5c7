#include "base/line_output.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define LOOK_MS 1000

struct line {
    STAILQ_ENTRY(line) link;
    uint64_t lost; /* lines before it */
    size_t size;
    char text[];
};

struct line_output {
    struct line_output_options options;
    pthread_mutex_t lock; /* guards all below, but what is the thread's */
    pthread_cond_t changed;
    pthread_t thread;
    STAILQ_HEAD(, line) lines;
    size_t bytes;   /* of those that wait */
    uint64_t lost;  /* since the last line that was taken */
    uint64_t total; /* lost in all */
    bool running;
    bool terminal; /* takes some of a line and then waits, whatever poll(2) says */
    bool writing;
    bool renew;
    bool ending;
    bool deaf;       /* nobody read until the end */
    bool abandoned;  /* to the thread, which waits for a reader */
    uint64_t untold; /* the thread's: of those that failed */
    int64_t look_ms; /* the thread's: when the file's name is looked at */
};

/* ---- the thread ---- */

/* A pipe that can be written to takes PIPE_BUF bytes without waiting (pipe(7)). */
static bool wait_for_room(int fd, int ms)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    return poll(&out, 1, ms) > 0;
}

static bool write_to(int fd, const char *text, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        size_t part = size - sent < PIPE_BUF ? size - sent : PIPE_BUF;
        wait_for_room(fd, -1);
        ssize_t written = write(fd, text + sent, part);
        if (written < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        sent += written > 0 ? (size_t)written : 0;
    }
    return true;
}

static void tell(const struct line_output *output, const struct error *err)
{
    if (output->options.failed)
        output->options.failed(output->options.self, err);
}

static bool write_text(struct line_output *output, const char *text, size_t size)
{
    struct error err = ERROR_INIT;
    if (output->options.file == NULL)
        return write_to(output->options.fd, text, size);
    if (line_file_append(output->options.file, text, size, &err) != ERR_OK)
        tell(output, &err);
    return err.code == ERR_OK;
}

/* How many are lost, of which a line says so when it gets through. */
static void write_lost(struct line_output *output, uint64_t count)
{
    autobuf struct buf line = BUF_INIT(LINE_MAX);
    output->untold += count;
    if (output->untold == 0)
        return;
    output->options.tell_lost(output->options.self, output->untold, &line);
    if (write_text(output, buf_cstr(&line), line.size))
        output->untold = 0;
}

/* False: it is lost. */
static bool write_line(struct line_output *output, const struct line *line)
{
    if (output->untold == 0 && write_text(output, line->text, line->size))
        return true;
    output->untold++;
    return false;
}

/* With the lock, which is given up meanwhile. */
static void write_next(struct line_output *output)
{
    struct line *line = STAILQ_FIRST(&output->lines);
    uint64_t lost = line ? line->lost : output->lost;
    if (line)
        STAILQ_REMOVE_HEAD(&output->lines, link);
    else
        output->lost = 0;
    output->writing = true;
    pthread_mutex_unlock(&output->lock);
    write_lost(output, lost);
    bool failed = line && !write_line(output, line);
    pthread_mutex_lock(&output->lock);
    output->writing = false;
    output->total += failed;
    output->bytes -= line ? line->size : 0;
    free(line);
    pthread_cond_broadcast(&output->changed);
}

static bool is_idle(const struct line_output *output)
{
    return STAILQ_EMPTY(&output->lines) && output->lost == 0 && !output->writing;
}

/* With the lock, which is given up meanwhile: is the file where its name is? */
static void look(struct line_output *output)
{
    struct error err = ERROR_INIT;
    bool always = output->renew;
    output->renew = false;
    output->writing = true;
    pthread_mutex_unlock(&output->lock);
    if (line_file_renew(output->options.file, always, &err) != ERR_OK)
        tell(output, &err);
    output->look_ms = clock_ms() + LOOK_MS;
    pthread_mutex_lock(&output->lock);
    output->writing = false;
    pthread_cond_broadcast(&output->changed);
}

static void wait_for_line(struct line_output *output)
{
    struct timespec until = clock_deadline(LOOK_MS);
    if (output->options.file)
        pthread_cond_timedwait(&output->changed, &output->lock, &until);
    else
        pthread_cond_wait(&output->changed, &output->lock);
}

static void destroy(struct line_output *output)
{
    for (struct line *line; (line = STAILQ_FIRST(&output->lines)) != NULL;) {
        STAILQ_REMOVE_HEAD(&output->lines, link);
        free(line);
    }
    line_file_close(output->options.file);
    pthread_cond_destroy(&output->changed);
    pthread_mutex_destroy(&output->lock);
    free(output);
}

static void *run(void *arg)
{
    struct line_output *output = arg;
    pthread_mutex_lock(&output->lock);
    while (!output->ending) {
        if (output->options.file && (output->renew || clock_ms() >= output->look_ms))
            look(output);
        else if (is_idle(output))
            wait_for_line(output);
        else
            write_next(output);
    }
    bool abandoned = output->abandoned;
    pthread_mutex_unlock(&output->lock);
    if (abandoned)
        destroy(output);
    return NULL;
}

/* ---- start and end ---- */

struct line_output *line_output_new(const struct line_output_options *options)
{
    struct line_output *output = xcalloc(1, sizeof *output);
    output->options = *options;
    STAILQ_INIT(&output->lines);
    pthread_mutex_init(&output->lock, NULL);
    clock_cond_init(&output->changed);
    return output;
}

bool line_output_start(struct line_output *output)
{
    autolock pthread_mutex_t *held = lock_take(&output->lock);
    if (output->writing)
        return false; /* an earlier one waits for a reader */
    output->ending = output->deaf = false;
    output->terminal = output->options.file == NULL && isatty(output->options.fd);
    output->running = pthread_create(&output->thread, NULL, run, output) == 0;
    return output->running;
}

/* With the lock. */
static void count_waiting(struct line_output *output)
{
    for (const struct line *line = STAILQ_FIRST(&output->lines); line;
         line = STAILQ_NEXT(line, link))
        output->total++;
}

bool line_output_stop(struct line_output *output, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&output->lock);
    if (!output->running) {
        pthread_mutex_unlock(&output->lock);
        return true;
    }
    while (!is_idle(output) && rc == 0)
        rc = pthread_cond_timedwait(&output->changed, &output->lock, &until);
    output->running = false;
    output->ending = true;
    output->deaf = !is_idle(output);
    count_waiting(output);
    bool stays = output->writing;
    pthread_cond_broadcast(&output->changed);
    pthread_mutex_unlock(&output->lock);
    if (stays)
        pthread_detach(output->thread); /* it waits for a reader, until the process has ended */
    else
        pthread_join(output->thread, NULL);
    return !output->deaf;
}

void line_output_free(struct line_output *output)
{
    if (output == NULL)
        return;
    pthread_mutex_lock(&output->lock);
    bool waits = output->abandoned = output->writing;
    pthread_mutex_unlock(&output->lock);
    if (!waits)
        destroy(output);
}

/* ---- lines ---- */

/* With the lock. */
static void take(struct line_output *output, const char *text, size_t size)
{
    if (output->bytes + size > output->options.limit_bytes) {
        output->lost++;
        output->total++;
        return;
    }
    struct line *line = xmalloc(sizeof *line + size);
    *line = (struct line){.lost = output->lost, .size = size};
    memcpy(line->text, text, size);
    output->lost = 0;
    output->bytes += size;
    STAILQ_INSERT_TAIL(&output->lines, line, link);
    pthread_cond_broadcast(&output->changed);
}

/* With the lock. How much of a line the descriptor took at once. */
static size_t write_at_once(const struct line_output *output, const char *text, size_t size)
{
    int fd = output->options.fd;
    if (size > PIPE_BUF || output->terminal || !is_idle(output) || !wait_for_room(fd, 0))
        return 0;
    ssize_t written = write(fd, text, size);
    if (written >= 0)
        return (size_t)written;
    return errno == EAGAIN || errno == EINTR ? 0 : size;
}

bool line_output_put(struct line_output *output, const char *line, size_t size)
{
    autolock pthread_mutex_t *held = lock_take(&output->lock);
    if (!output->running) {
        output->total += output->deaf;
        return output->deaf;
    }
    size_t done = output->options.at_once ? write_at_once(output, line, size) : 0;
    if (done < size)
        take(output, line + done, size - done);
    return true;
}

void line_output_renew(struct line_output *output)
{
    autolock pthread_mutex_t *held = lock_take(&output->lock);
    output->renew = true;
    pthread_cond_broadcast(&output->changed);
}

uint64_t line_output_lost(struct line_output *output)
{
    autolock pthread_mutex_t *held = lock_take(&output->lock);
    return output->total;
}
