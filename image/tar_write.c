#include "image/tar_write.h"

#include <archive.h>
#include <archive_entry.h>

/* libarchive writes the header; zeros for all the content would follow. */
struct header {
    struct buf *out;
    bool done;
};

static la_ssize_t collect(struct archive *archive, void *self, const void *data, size_t size)
{
    (void)archive;
    const struct header *header = self;
    if (header->done)
        return -1;
    buf_append(header->out, data, size);
    return header->out->overflowed ? -1 : (la_ssize_t)size;
}

enum errc tar_write_header(struct buf *out, const char *name, uint64_t size, const char *target,
                           struct error *err)
{
    struct header header = {.out = out};
    struct archive *writer = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_pax_restricted(writer);
    archive_write_set_bytes_per_block(writer, 0);
    archive_write_open(writer, &header, NULL, collect, NULL);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    if (target)
        archive_entry_set_hardlink(entry, target);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, target ? 0 : (la_int64_t)size);
    if (archive_write_header(writer, entry) != ARCHIVE_OK) {
        const char *why = archive_error_string(writer);
        fail(err, ERR_IO, 0, "make a tar: %s", why ? why : "unknown reason");
    }
    header.done = true;
    archive_write_free(writer);
    archive_entry_free(entry);
    return err->code;
}
