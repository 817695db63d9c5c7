#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static enum log_level threshold = LOG_INFO;
static enum log_format form = LOG_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level level, enum log_format format)
{
    threshold = level;
    form = format;
}

bool log_enabled(enum log_level level)
{
    return level <= threshold;
}

/* A log line is one line whatever a client or registry put into the message. */
static void append_escaped(struct buf *line, const char *text, bool json)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            buf_format(line, "\\u%04x", c);
        else if (json && (c == '"' || c == '\\'))
            buf_format(line, "\\%c", c);
        else
            buf_append(line, text, 1);
    }
}

void log_event(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    char when[CLOCK_TEXT_MAX];
    struct buf line __attribute__((cleanup(buf_deinit))) = BUF_INIT(4 * LINE_MAX_BYTES);
    if (form == LOG_JSON) {
        buf_format(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"", clock_text(when),
                   level_names[level]);
        append_escaped(&line, message, true);
        buf_text(&line, "\"}\n");
    } else {
        buf_format(&line, "%s %-5s ", clock_text(when), level_names[level]);
        append_escaped(&line, message, false);
        buf_text(&line, "\n");
    }
    /* One write(2) a line: lines of several threads do not mix. A lost log line is not an error. */
    ssize_t written = write(STDERR_FILENO, buf_cstr(&line), line.size);
    (void)written;
}
