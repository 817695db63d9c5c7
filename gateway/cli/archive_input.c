#include "gateway/cli/archive_input.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define POLL_MS 100

enum errc archive_input_open(struct archive_input *input, const char *name, struct cancel *cancel,
                             struct error *err)
{
    struct stat info;
    *input = (struct archive_input){.name = name, .fd = -1, .cancel = cancel};
    bool standard = strcmp(name, "-") == 0;
    if (!standard && stat(name, &info) != 0)
        return fail(err, ERR_IO, errno, "archive %s", name);
    if (!standard && S_ISDIR(info.st_mode)) {
        if (layout_source_open(name, &input->layout, err) != ERR_OK)
            return error_wrap(err, "archive %s", name);
        input->inner = layout_source(input->layout);
        return ERR_OK;
    }
    input->fd =
        standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(name, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0)
        return fail(err, ERR_IO, errno, "archive %s", standard ? "on standard input" : name);
    if (fstat(input->fd, &info) == 0 && S_ISREG(info.st_mode) && !standard)
        input->size_bytes = (uint64_t)info.st_size;
    file_source_init(&input->file, input->fd, standard ? "standard input" : name);
    input->inner = file_source(&input->file);
    return ERR_OK;
}

void archive_input_close(struct archive_input *input)
{
    layout_source_close(input->layout);
    file_source_deinit(&input->file);
    if (input->fd >= 0)
        close(input->fd);
    input->fd = -1;
    input->layout = NULL;
}

/* Waits until there is something to read; a regular file always is. */
static enum errc wait_readable(struct archive_input *input, struct error *err)
{
    struct pollfd item = {.fd = input->fd, .events = POLLIN};
    for (;;) {
        if (cancel_check(input->cancel, err) != ERR_OK)
            return err->code;
        if (input->fd < 0)
            return ERR_OK;
        int ready = poll(&item, 1, POLL_MS);
        if (ready < 0 && errno != EINTR)
            return fail(err, ERR_IO, errno, "wait for %s", input->name);
        if (ready > 0)
            return ERR_OK;
    }
}

static void go_on(struct archive_input *input, uint64_t bytes)
{
    input->done_bytes += bytes;
    if (input->tell)
        input->tell(input->told_to, input->done_bytes, input->size_bytes);
}

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct archive_input *input = self;
    if (wait_readable(input, err) != ERR_OK ||
        source_pull(&input->inner, data, size, err) != ERR_OK)
        return err->code;
    go_on(input, *size);
    return ERR_OK;
}

static enum errc skip(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    struct archive_input *input = self;
    if (cancel_check(input->cancel, err) != ERR_OK ||
        source_pass_over(&input->inner, count, skipped, err) != ERR_OK)
        return err->code;
    go_on(input, *skipped);
    return ERR_OK;
}

static enum errc rewind_input(void *self, struct error *err)
{
    struct archive_input *input = self;
    input->done_bytes = 0;
    return source_rewind(&input->inner, err);
}

struct source archive_input_source(struct archive_input *input)
{
    return (struct source){.pull = pull,
                           .self = input,
                           .pass_over = input->inner.pass_over ? skip : NULL,
                           .rewind = input->inner.rewind ? rewind_input : NULL};
}
