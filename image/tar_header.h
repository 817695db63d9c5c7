/*
 * What the readers of tars share (image/tar_reader.h, image/tar_check.h): the fields of a header
 * block and the records of a pax header.
 *
 * v7, ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"), and GNU
 * tar's base-256 numbers. Functions of their arguments alone; any thread.
 */
#ifndef SLIPWAY_IMAGE_TAR_HEADER_H
#define SLIPWAY_IMAGE_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK_BYTES 512
#define TAR_TYPE_AT 156
#define TAR_MAGIC_AT 257

/* Of a header that belongs to the next entry: pax records, GNU long names. It is kept while it is
 * read. */
#define TAR_EXTENDED_MAX ((size_t)1 << 20)

/* The header block's checksum fits: what all tars have in common, from v7 to pax. */
bool tar_checksum_fits(const uint8_t header[TAR_BLOCK_BYTES]);

bool tar_zero_block(const uint8_t block[TAR_BLOCK_BYTES]);

/* Bytes of content behind the header, as the header has it; false when that is no number. */
bool tar_header_size(const uint8_t header[TAR_BLOCK_BYTES], uint64_t *out);

/* Bytes between `size` bytes of content and the next block. */
uint64_t tar_padding(uint64_t size);

/* "LENGTH KEY=VALUE\n"; both are borrowed and end without a NUL. */
struct pax_record {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
};

/* Take the next record off the `*left` bytes at `*at`, at least one; false when it is malformed. */
bool pax_next(const char **at, size_t *left, struct pax_record *out);
bool pax_key_is(const struct pax_record *record, const char *key);
bool pax_key_begins(const struct pax_record *record, const char *prefix);
/* The value as a decimal number; false when it is none. An empty one is 0: it takes an earlier one
 * back. */
bool pax_number(const struct pax_record *record, uint64_t *out);

#endif
