#include "gateway/api/event_stream.h"

#include "base/mem.h"
#include "gateway/api/answer.h"

#include <pthread.h>
#include <search.h>
#include <string.h>

/* What a line takes beside its text: itself, its slot, and their places in list and tree. */
#define LINE_COST_BYTES ((size_t)256)

enum line_kind {
    LINE_KEPT,  /* begin, outcome: never dropped */
    LINE_STATE, /* a message, or a layer's change of state */
    LINE_BYTES, /* of these two, the newest of a layer is enough */
    LINE_COUNTDOWN,
};

struct line {
    struct line *next;
    struct slot *slot; /* NULL when no later line may take its place */
    enum line_kind kind;
    size_t size;
    char *text;
};

/* One layer on its way to one target, as long as a line about it waits in the queue. */
struct slot {
    char *key;
    struct line *last; /* the newest */
};

struct event_stream {
    pthread_mutex_t lock;
    unsigned references;
    struct suspendable connection;
    struct line *first;
    struct line **end;
    size_t waiting_bytes; /* with LINE_COST_BYTES each */
    size_t sent;          /* of the first line */
    void *slots;          /* tsearch tree */
    bool ended;
    bool abandoned;
    bool parked; /* the connection is suspended, and the next line resumes it */
    struct registry_waits waits;
};

struct event_stream *event_stream_new(void)
{
    struct event_stream *stream = xcalloc(1, sizeof *stream);
    pthread_mutex_init(&stream->lock, NULL);
    stream->references = 2;
    stream->end = &stream->first;
    return stream;
}

static void free_slot(void *at)
{
    struct slot *slot = at;
    free(slot->key);
    free(slot);
}

static void free_lines(struct line *line)
{
    while (line) {
        struct line *next = line->next;
        free(line->text);
        free(line);
        line = next;
    }
}

void event_stream_unref(struct event_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool last = --stream->references == 0;
    pthread_mutex_unlock(&stream->lock);
    if (!last)
        return;
    free_lines(stream->first);
    tdestroy(stream->slots, free_slot);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* ---- the producer ---- */

static int compare_slots(const void *a, const void *b)
{
    return strcmp(((const struct slot *)a)->key, ((const struct slot *)b)->key);
}

/* The slot of the key; NULL: none of its lines waits. The lock is held. */
static struct slot *find_slot(struct event_stream *stream, const char *key)
{
    const struct slot wanted = {.key = (char *)(uintptr_t)key};
    struct slot **found = key ? tfind(&wanted, &stream->slots, compare_slots) : NULL;
    return found ? *found : NULL;
}

/* The lock is held. */
static struct slot *slot_new(struct event_stream *stream, const char *key)
{
    struct slot *slot = xcalloc(1, sizeof *slot);
    slot->key = xstrdup(key);
    if (tsearch(slot, &stream->slots, compare_slots) == NULL)
        abort(); /* out of memory, as in base/mem.h */
    return slot;
}

/* The newest line of the slot is not to be replaced any more. The lock is held. */
static void drop_slot(struct event_stream *stream, struct slot *slot)
{
    tdelete(slot, &stream->slots, compare_slots);
    free_slot(slot);
}

/* What waits and is no longer worth telling gives its place to `line`: what only passes; where
 * there is no room, any state. The lock is held. */
static bool take_place(struct event_stream *stream, struct slot *slot, struct line *line, bool full)
{
    struct line *old = slot ? slot->last : NULL;
    if (old == NULL || (!full && (old->kind != line->kind || line->kind == LINE_STATE)))
        return false;
    char *text = old->text;
    stream->waiting_bytes += line->size;
    stream->waiting_bytes -= old->size;
    old->kind = line->kind;
    old->text = line->text;
    old->size = line->size;
    line->text = text;
    return true;
}

/* True when `line` was taken, false when it is the caller's to free. The lock is held. */
static bool enqueue(struct event_stream *stream, struct line *line, const char *key)
{
    size_t cost = line->size + LINE_COST_BYTES;
    bool full = line->kind != LINE_KEPT && stream->waiting_bytes + cost > EVENT_STREAM_BYTES;
    struct slot *slot = find_slot(stream, key);
    if (stream->abandoned || stream->ended || take_place(stream, slot, line, full) || full)
        return false;
    line->slot = slot == NULL && key ? slot_new(stream, key) : slot;
    if (line->slot)
        line->slot->last = line;
    *stream->end = line;
    stream->end = &line->next;
    stream->waiting_bytes += cost;
    return true;
}

/* `text` is taken; `key` NULL: not a layer's. */
static void add(struct event_stream *stream, enum line_kind kind, char *text, const char *key)
{
    struct line *line = xcalloc(1, sizeof *line);
    line->kind = kind;
    line->text = text;
    line->size = strlen(text);
    pthread_mutex_lock(&stream->lock);
    bool taken = enqueue(stream, line, key);
    bool resume = stream->parked && stream->first;
    if (resume)
        stream->parked = false;
    pthread_mutex_unlock(&stream->lock);
    if (!taken)
        free_lines(line);
    if (resume)
        suspendable_resume(&stream->connection);
}

static enum line_kind kind_of(const struct progress_event *event)
{
    if (event->id && event->kind == PROGRESS_BYTES)
        return LINE_BYTES;
    return event->id && event->kind == PROGRESS_COUNTDOWN ? LINE_COUNTDOWN : LINE_STATE;
}

/* Once, whatever the number of targets and layers that wait. */
static void tell_wait(struct event_stream *stream, const struct progress_event *event)
{
    char text[REGISTRY_WAIT_TEXT_MAX];
    const struct progress_event told = {
        .kind = PROGRESS_MESSAGE, .target = event->target, .status = text};
    pthread_mutex_lock(&stream->lock);
    bool news = registry_waits_tell(&stream->waits, event->wait, text);
    pthread_mutex_unlock(&stream->lock);
    if (news)
        add(stream, LINE_STATE, answer_event(&told), NULL);
}

static void on_event(void *self, const struct progress_event *event)
{
    tell_wait(self, event);
    if (event->kind == PROGRESS_COUNTDOWN && event->id == NULL)
        return;
    autofree char *key = event->id ? xasprintf("%s %s", event->target, event->id) : NULL;
    add(self, kind_of(event), answer_event(event), key);
}

struct progress event_stream_progress(struct event_stream *stream)
{
    return (struct progress){.emit = on_event, .self = stream};
}

void event_stream_begin(struct event_stream *stream, const struct push *push)
{
    add(stream, LINE_KEPT, answer_begin(push), NULL);
}

void event_stream_outcome(struct event_stream *stream, const struct push_target *target)
{
    add(stream, LINE_KEPT, answer_outcome(target), NULL);
}

void event_stream_line(struct event_stream *stream, char *text, const char *key)
{
    add(stream, key ? LINE_STATE : LINE_KEPT, text, key);
}

bool event_stream_abandoned(struct event_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool abandoned = stream->abandoned;
    pthread_mutex_unlock(&stream->lock);
    return abandoned;
}

void event_stream_end(struct event_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    bool resume = stream->parked;
    stream->parked = false;
    pthread_mutex_unlock(&stream->lock);
    if (resume)
        suspendable_resume(&stream->connection);
}

/* ---- the reader ---- */

void event_stream_attach(struct event_stream *stream, struct suspendable connection)
{
    stream->connection = connection;
}

/* Take the first line out of the queue. The lock is held. */
static struct line *pop(struct event_stream *stream)
{
    struct line *line = stream->first;
    stream->first = line->next;
    if (stream->first == NULL)
        stream->end = &stream->first;
    stream->waiting_bytes -= line->size + LINE_COST_BYTES;
    stream->sent = 0;
    line->next = NULL;
    return line;
}

/* Copy what fits of what waits. Lines that are through go to *through. The lock is held. */
static size_t copy_out(struct event_stream *stream, char *out, size_t size, struct line **through)
{
    size_t copied = 0;
    while (stream->first && copied < size) {
        struct line *line = stream->first;
        /* A line of which a part is sent cannot change any more. */
        if (line->slot && line->slot->last == line)
            drop_slot(stream, line->slot);
        line->slot = NULL;
        size_t left = line->size - stream->sent;
        size_t n = left < size - copied ? left : size - copied;
        memcpy(out + copied, line->text + stream->sent, n);
        copied += n;
        stream->sent += n;
        if (stream->sent == line->size) {
            line = pop(stream);
            line->next = *through;
            *through = line;
        }
    }
    return copied;
}

static ssize_t read_lines(void *self, char *out, size_t size)
{
    struct event_stream *stream = self;
    struct line *through = NULL;
    pthread_mutex_lock(&stream->lock);
    size_t copied = copy_out(stream, out, size, &through);
    bool end = stream->ended;
    pthread_mutex_unlock(&stream->lock);
    free_lines(through);
    if (copied > 0)
        return (ssize_t)copied;
    if (end)
        return BODY_END;

    suspendable_suspend(&stream->connection);
    pthread_mutex_lock(&stream->lock);
    stream->parked = stream->first == NULL && !stream->ended;
    bool resume = !stream->parked;
    pthread_mutex_unlock(&stream->lock);
    if (resume)
        suspendable_resume(&stream->connection);
    return 0;
}

static void abandon(void *self)
{
    struct event_stream *stream = self;
    pthread_mutex_lock(&stream->lock);
    struct line *waiting = stream->first;
    stream->abandoned = true;
    stream->first = NULL;
    stream->end = &stream->first;
    stream->waiting_bytes = 0;
    pthread_mutex_unlock(&stream->lock);
    free_lines(waiting);
    event_stream_unref(stream);
}

struct body_source event_stream_body(struct event_stream *stream)
{
    return (struct body_source){.read = read_lines, .release = abandon, .self = stream};
}
