/*
 * Reading a tar once, as a stream: one entry after the other, and the content of each. Content that
 * nobody reads is not pulled where the source can pass it over.
 *
 * v7, ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format"; of pax records `path`,
 * `linkpath` and `size` count), and GNU (base-256 sizes, long names). Names are bytes, in whatever
 * encoding. What an entry may be is for the caller to say; of a sparse one (GNU type S, pax records
 * GNU.sparse.* and SUN.holesdata) nothing is read but that it is one. An archive ends with a zero
 * block, or where an entry ends.
 *
 * Memory: an extended header of at most TAR_EXTENDED_MAX bytes and the names in it, whatever a
 * header claims. One owner, which blocks in the source.
 */
#ifndef SLIPWAY_IMAGE_TAR_READER_H
#define SLIPWAY_IMAGE_TAR_READER_H

#include "base/buf.h"
#include "base/stream.h"
#include "image/tar_header.h"

enum tar_kind {
    TAR_KIND_FILE,
    TAR_KIND_FOLDER,
    TAR_KIND_SYMLINK,
    TAR_KIND_HARDLINK,
    TAR_KIND_DEVICE,
    TAR_KIND_FIFO
};

struct tar_entry {
    enum tar_kind kind;
    bool sparse;        /* then neither size nor content are those of the file */
    const char *name;   /* as it stands there; borrowed until the next entry, as `target` */
    const char *target; /* of a link, else "" */
    uint64_t size;      /* bytes of content */
};

/* What has named an entry, or what it links to, beside its own header. */
enum tar_naming { TAR_NAMED_BY_HEADER, TAR_NAMED_BY_GNU, TAR_NAMED_BY_PAX };

struct tar_reader {
    struct source source;
    const uint8_t *piece; /* what was pulled and not used yet */
    size_t piece_size;
    bool ended;
    uint64_t limit_bytes;
    uint64_t used;    /* bytes of the tar so far */
    uint64_t left;    /* of the content at hand */
    uint64_t padding; /* behind it */
    bool is_pax;      /* a pax header has been seen */
    /* What headers that belong to the next entry say of it: */
    bool described;
    bool sparse;
    bool has_size;
    uint64_t size;
    enum tar_naming has_name;
    struct buf name;
    enum tar_naming has_target;
    struct buf target;
    struct buf extended;
    uint8_t block[TAR_BLOCK_BYTES];
};

/* The source is borrowed until deinit. A tar of more than `limit_bytes`, whatever they are, is
 * ERR_ARCHIVE_TOO_LARGE where it has them. */
void tar_reader_init(struct tar_reader *reader, struct source source, uint64_t limit_bytes);
void tar_reader_deinit(struct tar_reader *reader);

/* The next entry; what is left of the one before is passed over. *end true when there is none.
 * ERR_ARCHIVE_UNRECOGNISED when the first block is no header or there is none,
 * ERR_ARCHIVE_CORRUPT, also for an extended header over TAR_EXTENDED_MAX;
 * ERR_ARCHIVE_TRUNCATED, or the source's error. */
enum errc tar_reader_next(struct tar_reader *reader, struct tar_entry *out, bool *end,
                          struct error *err);

/* Pass over what is left of the entry's content. ERR_ARCHIVE_TRUNCATED or the source's error. */
enum errc tar_reader_skip(struct tar_reader *reader, struct error *err);

/* More of the entry's content, borrowed until the next call; *size 0 at its end.
 * ERR_ARCHIVE_TRUNCATED or the source's error. */
enum errc tar_reader_read(struct tar_reader *reader, const uint8_t **data, size_t *size,
                          struct error *err);

#endif
