/*
 * The ARCHIVE of `slipway push`: a file, "-" for standard input, or an OCI layout folder, as a
 * source that can be cancelled and that tells how far it is. What can be passed over, and what can
 * be begun again, is so here, too (base/file.h, image/layout_source.h).
 *
 * Used by one thread.
 */
#ifndef SLIPWAY_GATEWAY_CLI_ARCHIVE_INPUT_H
#define SLIPWAY_GATEWAY_CLI_ARCHIVE_INPUT_H

#include "base/cancel.h"
#include "base/file.h"
#include "image/layout_source.h"

struct archive_input {
    const char *name; /* as given; borrowed */
    int fd;           /* -1 for a folder */
    struct file_source file;
    struct layout_source *layout; /* NULL unless a folder */
    struct source inner;
    struct cancel *cancel;
    uint64_t size_bytes; /* of a regular file; 0 when not known */
    uint64_t done_bytes; /* read, or passed over */
    /* The caller's; NULL: nobody is told. After each piece, with `told_to`. */
    void (*tell)(void *told_to, uint64_t done_bytes, uint64_t size_bytes);
    void *told_to;
};

/* ERR_IO names what cannot be opened; ERR_NOT_AN_IMAGE for a folder that is no layout. */
enum errc archive_input_open(struct archive_input *input, const char *name, struct cancel *cancel,
                             struct error *err);
void archive_input_close(struct archive_input *input);

/* ERR_CANCELLED soon after the cancel, also while standard input is silent. */
struct source archive_input_source(struct archive_input *input);

#endif
