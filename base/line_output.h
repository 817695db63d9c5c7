/*
 * Lines on their way to a descriptor or a file, through a bounded queue that one thread writes, so
 * that whoever has a line never waits for a reader or a disk. For the log (base/log_output.h) and
 * the audit stream.
 *
 *     line_output_new -> start -> line_output_put... -> stop -> line_output_free
 *
 * `limit_bytes` may wait; a line that does not fit is lost and counted, and a line in its place
 * says how many. So is one that the file or descriptor does not take.
 *
 * A file (base/line_file.h) is looked for under its name once a second and opened anew where that
 * is gone.
 *
 * Threads: any; one lock inside. Nothing here is for signal handlers.
 */
#ifndef SLIPWAY_BASE_LINE_OUTPUT_H
#define SLIPWAY_BASE_LINE_OUTPUT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/line_file.h"

#include <stdint.h>

struct line_output;

struct line_output_options {
    struct line_file *file; /* taken; NULL: fd */
    int fd;                 /* borrowed until line_output_free() */
    size_t limit_bytes;
    bool at_once; /* fd only: who has a line writes it, under the lock, as long as fd takes it
                     without waiting: a crash then loses none */
    /* Makes the line that says how many are lost; on the thread. */
    void (*tell_lost)(void *self, uint64_t count, struct buf *line);
    /* The file was not written, or not opened anew; on the thread, for each time. NULL: nobody. */
    void (*failed)(void *self, const struct error *err);
    void *self;
};

struct line_output *line_output_new(const struct line_output_options *options);
/* After line_output_stop(), or never started. NULL is a no-op. A thread that waits for a reader
 * keeps what it needs of it. */
void line_output_free(struct line_output *output);

/* False: there is no thread for it. Once more after a stop is fine. */
bool line_output_start(struct line_output *output);

/* The thread ends. False when `ms` were not enough for what waits: that is lost, and so is
 * everything after it, as it would wait again. */
bool line_output_stop(struct line_output *output, int64_t ms);

/* One line with its end, copied. False: there is no thread, and it is the caller's to write. */
bool line_output_put(struct line_output *output, const char *line, size_t size);

/* Open the file anew, whatever its name says. */
void line_output_renew(struct line_output *output);

/* How many lines were lost. */
uint64_t line_output_lost(struct line_output *output);

#endif
