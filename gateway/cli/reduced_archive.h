/*
 * An archive without some of its files, as a source: what a gateway is sent that holds those
 * already. The names, links and the order of the others stay; their headers are written anew.
 *
 * Passes over what is left out, so the archive is one that can be passed over and begun again
 * (base/stream.h).
 *
 * Lifecycle: reduced_archive_open, pulled by one thread, reduced_archive_close; all that is given
 * is borrowed for as long.
 */
#ifndef SLIPWAY_GATEWAY_CLI_REDUCED_ARCHIVE_H
#define SLIPWAY_GATEWAY_CLI_REDUCED_ARCHIVE_H

#include "base/stream.h"

#include <stdbool.h>

struct reduced_archive;

/* A file of `size` bytes. `start` is what it begins with. True: it is left out. */
typedef bool archive_filter(void *self, const char *name, uint64_t size, const uint8_t *start,
                            size_t start_size);

/* From the beginning of `archive`. Errors: those of archive_reader_open(). */
enum errc reduced_archive_open(struct source archive, archive_filter *leaves_out, void *self,
                               struct reduced_archive **out, struct error *err);
void reduced_archive_close(struct reduced_archive *reduced); /* NULL is a no-op */

/* A tar. Its errors are those of reading the archive. */
struct source reduced_archive_source(struct reduced_archive *reduced);

#endif
