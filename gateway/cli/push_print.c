#include "gateway/cli/push_print.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_EVERY_MS 1000
#define DRAW_EVERY_MS 100
#define LAYERS_MAX 4096
#define BAR_WIDTH 25
#define NAME_SHOWN 40

struct layer_line {
    char *target;
    char id[20];
    char status[64];
    uint64_t current;
    uint64_t total;
};

struct push_print {
    bool terminal;
    pthread_mutex_t lock;
    struct layer_line *layers;
    size_t count;
    size_t capacity;
    uint64_t archive_current;
    uint64_t archive_total;
    int64_t next_ms;    /* when the next line or drawing is due */
    unsigned drawn;     /* lines of the last drawing */
    struct buf pending; /* messages to be shown above the drawing */
    struct registry_waits waits;
};

struct push_print *push_print_new(bool terminal)
{
    struct push_print *print = xcalloc(1, sizeof *print);
    print->terminal = terminal;
    print->pending.limit_bytes = (size_t)1 << 20;
    pthread_mutex_init(&print->lock, NULL);
    return print;
}

const char *size_text(uint64_t bytes, char out[SIZE_TEXT_MAX])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1000;
    snprintf(out, SIZE_TEXT_MAX, "%.4g%s", value, units[unit]);
    return out;
}

static void append_bar(struct buf *out, uint64_t current, uint64_t total)
{
    char have[SIZE_TEXT_MAX];
    char all[SIZE_TEXT_MAX];
    if (total == 0) {
        buf_format(out, " %s", size_text(current, have));
        return;
    }
    size_t filled = (size_t)(current >= total ? BAR_WIDTH : current * BAR_WIDTH / total);
    buf_text(out, " [");
    for (size_t i = 0; i < BAR_WIDTH; i++)
        buf_text(out, i < filled ? "=" : i == filled ? ">" : " ");
    buf_format(out, "] %s/%s", size_text(current, have), size_text(total, all));
}

static void append_layer(struct buf *out, const struct layer_line *layer)
{
    size_t size = strlen(layer->target);
    const char *shown = size > NAME_SHOWN ? layer->target + (size - NAME_SHOWN) : layer->target;
    buf_format(out, "%-*s %s: %s", NAME_SHOWN, shown, layer->id, layer->status);
    if (strcmp(layer->status, "Pushing") == 0)
        append_bar(out, layer->current, layer->total);
}

static unsigned terminal_lines(void)
{
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 4)
        return 20;
    return size.ws_row - 2u;
}

/* The drawing: the cursor goes up over the last one, every line is cleared and written again. */
static void draw(struct push_print *print, struct buf *out)
{
    unsigned most = terminal_lines();
    if (print->drawn > 0)
        buf_format(out, "\033[%uA", print->drawn);
    buf_text(out, "\r\033[J");
    buf_append(out, print->pending.data, print->pending.size);
    buf_clear(&print->pending);
    print->drawn = 0;
    if (print->count == 0 && print->archive_current > 0) {
        buf_text(out, "Reading the archive");
        append_bar(out, print->archive_current, print->archive_total);
        buf_text(out, "\n");
        print->drawn = 1;
    }
    size_t first = print->count > most ? print->count - most : 0;
    for (size_t i = first; i < print->count; i++) {
        append_layer(out, &print->layers[i]);
        buf_text(out, "\n");
        print->drawn++;
    }
}

static bool finished(const struct layer_line *layer)
{
    return strcmp(layer->status, "Preparing") != 0 && strcmp(layer->status, "Waiting") != 0 &&
           strcmp(layer->status, "Pushing") != 0 && strncmp(layer->status, "Retrying", 8) != 0;
}

static void summarize(struct push_print *print, struct buf *out)
{
    char have[SIZE_TEXT_MAX];
    char all[SIZE_TEXT_MAX];
    size_t done = 0;
    uint64_t current = 0;
    uint64_t total = 0;
    for (size_t i = 0; i < print->count; i++) {
        done += finished(&print->layers[i]);
        current += print->layers[i].current;
        total += print->layers[i].total;
    }
    if (print->count > 0)
        buf_format(out, "%zu of %zu layers done, %s of %s sent\n", done, print->count,
                   size_text(current, have), size_text(total, all));
    else if (print->archive_total > 0)
        buf_format(out, "read %s of %s of the archive\n", size_text(print->archive_current, have),
                   size_text(print->archive_total, all));
    else if (print->archive_current > 0)
        buf_format(out, "read %s of the archive\n", size_text(print->archive_current, have));
}

/* What is due now, into `out`; the lock is held, the writing is done without it. */
static void collect(struct push_print *print, bool last, struct buf *out)
{
    int64_t now = clock_ms();
    bool due = last || now >= print->next_ms;
    if (print->terminal) {
        if (due || print->pending.size > 0)
            draw(print, out);
    } else {
        buf_append(out, print->pending.data, print->pending.size);
        buf_clear(&print->pending);
        if (due && !last)
            summarize(print, out);
    }
    if (due)
        print->next_ms = now + (print->terminal ? DRAW_EVERY_MS : LINE_EVERY_MS);
}

static void put(const struct buf *out)
{
    if (out->size > 0)
        fwrite(out->data, 1, out->size, stderr);
}

static struct layer_line *line_of(struct push_print *print, const struct progress_event *event)
{
    for (size_t i = 0; i < print->count; i++)
        if (strcmp(print->layers[i].id, event->id) == 0 &&
            strcmp(print->layers[i].target, event->target) == 0)
            return &print->layers[i];
    if (print->count == LAYERS_MAX)
        return NULL;
    if (print->count == print->capacity) {
        print->capacity = print->capacity ? print->capacity * 2 : 32;
        print->layers = xrealloc(print->layers, print->capacity, sizeof *print->layers);
    }
    struct layer_line *line = &print->layers[print->count++];
    *line = (struct layer_line){.target = xstrdup(event->target)};
    snprintf(line->id, sizeof line->id, "%s", event->id);
    return line;
}

static void take_event(struct push_print *print, const struct progress_event *event)
{
    char wait[REGISTRY_WAIT_TEXT_MAX];
    if (registry_waits_tell(&print->waits, event->wait, wait))
        buf_format(&print->pending, "%s\n", wait);
    if (event->id == NULL) {
        if (event->kind != PROGRESS_COUNTDOWN)
            buf_format(&print->pending, "%s\n", event->status);
        return;
    }
    struct layer_line *line = line_of(print, event);
    if (line == NULL)
        return;
    snprintf(line->status, sizeof line->status, "%s", event->status);
    if (event->kind == PROGRESS_BYTES) {
        line->current = event->current;
        line->total = event->total;
    }
}

static void on_event(void *self, const struct progress_event *event)
{
    struct push_print *print = self;
    autobuf struct buf out = BUF_INIT((size_t)4 << 20);
    pthread_mutex_lock(&print->lock);
    take_event(print, event);
    collect(print, false, &out);
    pthread_mutex_unlock(&print->lock);
    put(&out);
}

struct progress push_print_progress(struct push_print *print)
{
    return (struct progress){.emit = on_event, .self = print};
}

void push_print_archive(struct push_print *print, uint64_t current, uint64_t total)
{
    autobuf struct buf out = BUF_INIT((size_t)1 << 20);
    pthread_mutex_lock(&print->lock);
    print->archive_current = current;
    print->archive_total = total;
    if (print->next_ms == 0)
        print->next_ms = clock_ms() + LINE_EVERY_MS;
    collect(print, false, &out);
    pthread_mutex_unlock(&print->lock);
    put(&out);
}

void push_print_free(struct push_print *print)
{
    autobuf struct buf out = BUF_INIT((size_t)4 << 20);
    collect(print, true, &out);
    put(&out);
    for (size_t i = 0; i < print->count; i++)
        free(print->layers[i].target);
    free(print->layers);
    buf_deinit(&print->pending);
    pthread_mutex_destroy(&print->lock);
    free(print);
}
