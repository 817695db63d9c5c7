#include "base/log_output.h"

#include "base/line_output.h"

#include <stdatomic.h>
#include <unistd.h>

/* From the first start until the process ends: any thread may have a line at any time. */
static _Atomic(struct line_output *) output;

bool log_output_start(void (*tell_lost)(void *self, uint64_t count, struct buf *line))
{
    const struct line_output_options options = {.fd = STDERR_FILENO,
                                                .limit_bytes = LOG_QUEUE_BYTES,
                                                .at_once = true,
                                                .tell_lost = tell_lost};
    if (output == NULL)
        output = line_output_new(&options);
    return line_output_start(output);
}

bool log_output_stop(int64_t ms)
{
    return output == NULL || line_output_stop(output, ms);
}

void log_output(const char *text, size_t size)
{
    struct line_output *queue = output;
    if (queue && line_output_put(queue, text, size))
        return;
    /* One write(2) a line: lines of several threads do not mix. A lost log line is not an error. */
    ssize_t written = write(STDERR_FILENO, text, size);
    (void)written;
}
