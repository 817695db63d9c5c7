/*
 * A file that lines are appended to for years: made with mode 0600 where it is not there, never
 * reached through a symbolic link, and opened anew under its name when a rotation has put the old
 * one aside.
 *
 *     line_file_open -> { line_file_append, line_file_renew }... -> line_file_close
 *
 * The file has whole lines: one of which the disk took a part only is taken back, and half a line
 * that a crash has left is ended before the next one. Lines are not synced: they survive the
 * process, not the machine. One process writes to it.
 *
 * One thread. Errors: ERR_NO_SPACE, ERR_IO.
 */
#ifndef SLIPWAY_BASE_LINE_FILE_H
#define SLIPWAY_BASE_LINE_FILE_H

#include "base/error.h"

struct line_file;

/* `path` is copied. ERR_IO for what is no regular file, too. */
enum errc line_file_open(const char *path, struct line_file **out, struct error *err);
void line_file_close(struct line_file *file); /* NULL is a no-op */

/* One line with its end; it is in the file, or nothing of it is. */
enum errc line_file_append(struct line_file *file, const char *line, size_t size,
                           struct error *err);

/* Open the file anew where its name has come to be another's or nobody's, or in any case with
 * `always`. On failure the old one is kept. */
enum errc line_file_renew(struct line_file *file, bool always, struct error *err);

#endif
