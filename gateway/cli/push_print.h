/*
 * What `slipway push` shows while it runs, all on stderr: on a terminal one bar a layer, drawn
 * again in place; otherwise lines, at most one a second beside those that say something about a
 * target as a whole.
 *
 * push_print_progress() gives the receiver for upstream/push/progress.h; it may be called from many
 * threads. One lock guards the table of layers; the terminal is written by whoever finds the time
 * for the next drawing has come.
 */
#ifndef SLIPWAY_GATEWAY_CLI_PUSH_PRINT_H
#define SLIPWAY_GATEWAY_CLI_PUSH_PRINT_H

#include "upstream/push/progress.h"

#include <stdbool.h>

struct push_print;

/* `terminal`: draw bars. */
struct push_print *push_print_new(bool terminal);

/* Draws the last state. No event may come any more. */
void push_print_free(struct push_print *print);

struct progress push_print_progress(struct push_print *print);

/* Bytes of the archive taken so far, of `total` (0 = not known). */
void push_print_archive(struct push_print *print, uint64_t current, uint64_t total);

/* "12.3MB": as Docker writes sizes (powers of 1000, four digits at most); returns out. */
#define SIZE_TEXT_MAX 16
const char *size_text(uint64_t bytes, char out[SIZE_TEXT_MAX]);

#endif
