/*
 * The log: one line an event on stderr, as text or as one JSON object.
 *
 * A line has a message for people and fields for programs. What is looked for has an event, a name
 * that stays when its words change; docs/operations.md lists the events with their fields:
 *
 *     log_event(LOG_INFO, "target.pushed",
 *               LOG_FIELDS(log_text("target", target), log_number("bytes", bytes)), "pushed");
 *
 *     2026-01-01T10:00:00.000Z info  pushed target=r.example.com/app:1 bytes=12 request=…
 *     {"time":…,"level":"info","event":"target.pushed","message":"pushed","target":…,"bytes":12,…}
 *
 * A scope gives all lines of a thread the fields of what it works on; a field of the line itself
 * goes before one of the same name. A scope is a value, so what goes on in another thread takes it
 * along.
 *
 * Whatever a client or registry put into a message or field, a line is one line of valid UTF-8:
 * control characters, those of terminals too, are escaped, other bytes are U+FFFD.
 *
 * log_setup() is called once before other threads start; afterwards any thread may log. A line is
 * written before log_event() returns, and who does not read stderr stops the program, which is
 * right for a command; a service calls log_start(), and from then on nobody waits
 * (base/log_output.h). Never log under a lock, never a secret: URLs without query, no headers, no
 * bodies. Userinfo is taken out of URLs here.
 */
#ifndef SLIPWAY_BASE_LOG_H
#define SLIPWAY_BASE_LOG_H

#include "base/error.h"

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format);
void log_set_level(enum log_level level); /* any thread */
bool log_enabled(enum log_level level);

/* One more thread, until log_stop(). Where it cannot be made, lines are written as before. */
void log_start(void);
/* What waits is written, for `ms` at most; false when that was not enough: it is lost, and what is
 * logged afterwards, too. Lines are written as before afterwards. */
bool log_stop(int64_t ms);

/* ---- lines ---- */

#define LOG_FIELDS_MAX 16
#define LOG_VALUE_MAX 2048 /* bytes of a message or a value; what is longer is cut */

struct log_field {
    const char *name; /* NULL: the end */
    const char *text; /* borrowed; NULL: the number */
    uint64_t number;
};

/* `name` is a literal: letters, digits and underscores. */
static inline struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){.name = name, .text = text ? text : ""};
}

static inline struct log_field log_number(const char *name, uint64_t number)
{
    return (struct log_field){.name = name, .number = number};
}

#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[])                                                                     \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            .name = NULL                                                                           \
        }                                                                                          \
    }

/* `event` is a literal; NULL: a line that nobody looks for. `fields`: LOG_FIELDS(), or NULL; at
 * most LOG_FIELDS_MAX. A text that is empty is left out. */
void log_event(enum log_level level, const char *event, const struct log_field *fields,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_error(...) log_event(LOG_ERROR, NULL, NULL, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, NULL, NULL, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, NULL, NULL, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, NULL, NULL, __VA_ARGS__)

/* ---- scopes ---- */

#define LOG_SCOPE_FIELDS_MAX 3
#define LOG_SCOPE_VALUE_MAX 129

struct log_scope {
    unsigned count;
    struct {
        const char *name;
        char value[LOG_SCOPE_VALUE_MAX]; /* cut to fit */
    } fields[LOG_SCOPE_FIELDS_MAX];
};

/* Give this thread's scope a field, in place of one of that name; or make it this one. Both return
 * the scope as it was, for log_scope_end():
 *
 *     autoscope struct log_scope outer = log_scope_begin("request", id);
 */
struct log_scope log_scope_begin(const char *name, const char *value);
struct log_scope log_scope_enter(const struct log_scope *scope);
void log_scope_end(struct log_scope *outer);
#define autoscope __attribute__((unused, cleanup(log_scope_end)))

/* This thread's scope, to be entered by another one. */
struct log_scope log_scope_now(void);

#endif
