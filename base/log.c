#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log_output.h"
#include "base/net.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* An escaped byte takes six; names and what is constant have one value's room. */
#define LINE_MAX_BYTES (6 * LOG_VALUE_MAX * (LOG_FIELDS_MAX + LOG_SCOPE_FIELDS_MAX + 2))

static atomic_uint threshold = LOG_INFO;
static enum log_format form = LOG_TEXT;
static _Thread_local struct log_scope scope;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level level, enum log_format format)
{
    log_set_level(level);
    form = format;
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (unsigned)level);
}

bool log_enabled(enum log_level level)
{
    return (unsigned)level <= atomic_load(&threshold);
}

/* ---- text that is shown ---- */

/* Controls have at most three bytes, so they are below U+10000. */
static unsigned code_point(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    unsigned code = size == 1 ? at[0] : at[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++)
        code = code << 6 | (at[i] & 0x3fu);
    return code;
}

static void append_escaped(struct buf *line, const char *text, bool quoted)
{
    char shown[LOG_VALUE_MAX + 1];
    size_t kept = strnlen(text, LOG_VALUE_MAX);
    memcpy(shown, text, kept);
    shown[kept] = '\0';
    net_hide_userinfo(shown);
    for (const char *at = shown; *at;) {
        bool control = false;
        size_t size = utf8_next(at, &control);
        if (size == 0)
            buf_text(line, "\xef\xbf\xbd");
        else if (control)
            buf_format(line, "\\u%04x", code_point(at, size));
        else if (quoted && (*at == '"' || *at == '\\'))
            buf_format(line, "\\%c", *at);
        else
            buf_append(line, at, size);
        at += size ? size : 1;
    }
}

static void append_quoted(struct buf *line, const char *text)
{
    buf_text(line, "\"");
    append_escaped(line, text, true);
    buf_text(line, "\"");
}

/* Of a line for people: quoted only where it could be taken for something else. */
static void append_value(struct buf *line, const char *text)
{
    if (text[strcspn(text, " =\"\\")] == '\0')
        append_escaped(line, text, false);
    else
        append_quoted(line, text);
}

static void append_field(struct buf *line, const struct log_field *field)
{
    bool json = form == LOG_JSON;
    if (field->text && *field->text == '\0')
        return;
    buf_format(line, json ? ",\"%s\":" : " %s=", field->name);
    if (field->text == NULL)
        buf_format(line, "%" PRIu64, field->number);
    else if (json)
        append_quoted(line, field->text);
    else
        append_value(line, field->text);
}

/* ---- lines ---- */

static bool has_field(const struct log_field *fields, const char *name)
{
    for (; fields && fields->name; fields++)
        if (strcmp(fields->name, name) == 0)
            return true;
    return false;
}

static void append_fields(struct buf *line, const struct log_field *fields)
{
    for (const struct log_field *field = fields; field && field->name; field++)
        append_field(line, field);
    for (unsigned i = 0; i < scope.count; i++) {
        const struct log_field field = log_text(scope.fields[i].name, scope.fields[i].value);
        if (!has_field(fields, field.name))
            append_field(line, &field);
    }
}

static void append_head(struct buf *line, enum log_level level, const char *event,
                        const char *message)
{
    char when[CLOCK_TEXT_MAX];
    clock_text(when);
    if (form == LOG_TEXT) {
        buf_format(line, "%s %-5s ", when, level_names[level]);
        append_escaped(line, message, false);
        return;
    }
    buf_format(line, "{\"time\":\"%s\",\"level\":\"%s\"", when, level_names[level]);
    if (event)
        buf_format(line, ",\"event\":\"%s\"", event);
    buf_text(line, ",\"message\":");
    append_quoted(line, message);
}

static void finish_line(struct buf *line)
{
    buf_text(line, form == LOG_JSON ? "}\n" : "\n");
    assert(!line->overflowed);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields,
               const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char message[LOG_VALUE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    autobuf struct buf line = BUF_INIT(LINE_MAX_BYTES);
    append_head(&line, level, event, message);
    append_fields(&line, fields);
    finish_line(&line);
    log_output(buf_cstr(&line), line.size);
}

/* ---- a reader that does not read ---- */

static void tell_lost(void *self, uint64_t count, struct buf *line)
{
    (void)self;
    char message[64];
    snprintf(message, sizeof message, "%" PRIu64 " log lines were lost: nobody read them", count);
    append_head(line, LOG_WARN, "log.lost", message);
    const struct log_field field = log_number("count", count);
    append_field(line, &field);
    finish_line(line);
}

void log_start(void)
{
    if (!log_output_start(tell_lost))
        log_warn("no thread for the log: whoever does not read it stops the gateway");
}

bool log_stop(int64_t ms)
{
    return log_output_stop(ms);
}

/* ---- scopes ---- */

struct log_scope log_scope_begin(const char *name, const char *value)
{
    const struct log_scope outer = scope;
    unsigned i = 0;
    while (i < scope.count && strcmp(scope.fields[i].name, name) != 0)
        i++;
    assert(i < LOG_SCOPE_FIELDS_MAX);
    scope.fields[i].name = name;
    snprintf(scope.fields[i].value, LOG_SCOPE_VALUE_MAX, "%s", value);
    scope.count += i == scope.count;
    return outer;
}

struct log_scope log_scope_enter(const struct log_scope *entered)
{
    const struct log_scope outer = scope;
    scope = *entered;
    return outer;
}

void log_scope_end(struct log_scope *outer)
{
    scope = *outer;
}

struct log_scope log_scope_now(void)
{
    return scope;
}
