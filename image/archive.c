#include "image/archive.h"

#include "base/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

struct archive_reader {
    struct archive *archive;
    struct archive_entry *entry;
    struct source source;
    struct error source_error;
    bool source_began; /* at least one byte came */
    bool source_ended;
    uint64_t limit_bytes;
    uint64_t position; /* in the current file */
    char name[ARCHIVE_NAME_MAX + 1];
    char target[ARCHIVE_NAME_MAX + 1];
};

static la_ssize_t read_source(struct archive *archive, void *self, const void **out)
{
    struct archive_reader *reader = self;
    const uint8_t *data = NULL;
    size_t size = 0;
    if (source_pull(&reader->source, &data, &size, &reader->source_error) != ERR_OK) {
        archive_set_error(archive, EIO, "source failed");
        return ARCHIVE_FATAL;
    }
    if (size > 0)
        reader->source_began = true;
    else
        reader->source_ended = true;
    *out = data;
    return (la_ssize_t)size;
}

/* libarchive has one errno for "wrong format" and "ended early": the words tell them apart, and
 * only when the stream did end. */
static bool looks_truncated(const struct archive_reader *reader)
{
    const char *why = archive_error_string(reader->archive);
    return reader->source_ended && why != NULL &&
           (strcasestr(why, "truncated") || strcasestr(why, "end of") ||
            strcasestr(why, "no progress"));
}

static enum errc archive_failed(struct archive_reader *reader, const char *where, struct error *err)
{
    if (reader->source_error.code != ERR_OK) {
        *err = reader->source_error;
        return err->code;
    }
    if (!reader->source_began)
        return fail(err, ERR_ARCHIVE_EMPTY, 0, "the archive is empty: not one byte was sent");
    const char *why = archive_error_string(reader->archive);
    why = why ? why : "unknown reason";
    if (looks_truncated(reader))
        return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "the archive ends in the middle of %s (%s)",
                    where, why);
    if (strcasestr(why, "unrecognized archive format"))
        return fail(err, ERR_ARCHIVE_UNRECOGNISED, 0,
                    "this is no tar archive, plain or inside gzip, zstd, xz or bzip2");
    return fail(err, ERR_ARCHIVE_CORRUPT, 0, "the archive is damaged at %s: %s", where, why);
}

static enum errc check_limit(struct archive_reader *reader, const char *where, struct error *err)
{
    la_int64_t bytes = archive_filter_bytes(reader->archive, 0);
    if (bytes >= 0 && (uint64_t)bytes > reader->limit_bytes)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the archive has more than the allowed %llu bytes when unpacked, at %s",
                    (unsigned long long)reader->limit_bytes, where);
    return ERR_OK;
}

enum errc archive_reader_open(struct source source, uint64_t limit_bytes,
                              struct archive_reader **out, struct error *err)
{
    struct archive_reader *reader = xcalloc(1, sizeof *reader);
    reader->source = source;
    reader->limit_bytes = limit_bytes;
    reader->archive = archive_read_new();
    archive_read_support_filter_gzip(reader->archive);
    archive_read_support_filter_zstd(reader->archive);
    archive_read_support_filter_xz(reader->archive);
    archive_read_support_filter_bzip2(reader->archive);
    archive_read_support_format_tar(reader->archive);
    if (archive_read_open(reader->archive, reader, NULL, read_source, NULL) != ARCHIVE_OK) {
        archive_failed(reader, "its beginning", err);
        archive_reader_close(reader);
        return err->code;
    }
    *out = reader;
    return ERR_OK;
}

void archive_reader_close(struct archive_reader *reader)
{
    if (reader == NULL)
        return;
    archive_read_free(reader->archive);
    free(reader);
}

/* Drop the last component of `path`; false when there is none. */
static bool pop_component(char *path)
{
    if (path[0] == '\0')
        return false;
    char *slash = strrchr(path, '/');
    *(slash ? slash : path) = '\0';
    return true;
}

/* Append the components of `text` to `path` (capacity ARCHIVE_NAME_MAX + 1), dropping "." and empty
 * ones. ".." goes up where `up` allows it, but never above the archive. */
static const char *join(char *path, const char *text, bool up)
{
    while (*text) {
        size_t size = strcspn(text, "/");
        if (size == 2 && strncmp(text, "..", 2) == 0) {
            if (!up || !pop_component(path))
                return up ? "leaves the archive" : "has a \"..\"";
        } else if (size > 0 && !(size == 1 && *text == '.')) {
            size_t have = strlen(path);
            if (have + size + 2 > ARCHIVE_NAME_MAX)
                return "is too long";
            if (have > 0)
                path[have++] = '/';
            memcpy(path + have, text, size);
            path[have + size] = '\0';
        }
        text += size;
        text += strspn(text, "/");
    }
    return NULL;
}

static const char *bad_characters(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return "has a control character";
    return NULL;
}

static enum errc take_name(struct archive_reader *reader, struct error *err)
{
    const char *raw = archive_entry_pathname(reader->entry);
    if (raw == NULL || *raw == '\0')
        return fail(err, ERR_ENTRY_NAME, 0, "an entry after \"%.200s\" has no readable name",
                    reader->name);
    const char *why = *raw == '/' ? "is absolute" : bad_characters(raw);
    reader->name[0] = '\0';
    if (why == NULL)
        why = join(reader->name, raw, false);
    if (why)
        return fail(err, ERR_ENTRY_NAME, 0, "the name of entry \"%.200s\" %s", raw, why);
    return ERR_OK;
}

/* A symbolic link is relative to its own folder, a hard link to the archive's root. */
static enum errc take_target(struct archive_reader *reader, const char *raw, bool symbolic,
                             struct error *err)
{
    const char *why = *raw == '/' ? "leaves the archive" : bad_characters(raw);
    reader->target[0] = '\0';
    if (symbolic) {
        memcpy(reader->target, reader->name, sizeof reader->target);
        pop_component(reader->target);
    }
    if (why == NULL)
        why = join(reader->target, raw, symbolic);
    if (why)
        return fail(err, ERR_LINK_INVALID, 0, "the link \"%.200s\" to \"%.200s\" %s", reader->name,
                    raw, why);
    return ERR_OK;
}

static const char *refused_type(struct archive_entry *entry)
{
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return archive_entry_sparse_count(entry) > 0 ? "a sparse file" : NULL;
    case AE_IFDIR:
        return archive_entry_size(entry) > 0 ? "a folder with content" : NULL;
    case AE_IFLNK:
        return NULL;
    case AE_IFCHR:
    case AE_IFBLK:
        return "a device";
    case AE_IFIFO:
        return "a fifo";
    default:
        return "of a kind that no image archive has";
    }
}

/* One entry looked at: *wanted when it is a file or a link. */
static enum errc take_entry(struct archive_reader *reader, struct archive_entry_info *out,
                            bool *wanted, struct error *err)
{
    const char *hard = archive_entry_hardlink(reader->entry);
    const char *refused = hard ? NULL : refused_type(reader->entry);
    bool folder = archive_entry_filetype(reader->entry) == AE_IFDIR;
    *wanted = !folder;
    if (take_name(reader, err) != ERR_OK)
        return err->code;
    if (refused)
        return fail(err, ERR_ENTRY_UNSUPPORTED, 0, "entry \"%.200s\" is %s", reader->name, refused);
    if (folder)
        return ERR_OK;
    if (reader->name[0] == '\0')
        return fail(err, ERR_ENTRY_NAME, 0, "a file is named \".\"");
    *out = (struct archive_entry_info){.name = reader->name};
    if (hard == NULL && archive_entry_filetype(reader->entry) == AE_IFREG) {
        la_int64_t size = archive_entry_size(reader->entry);
        out->size = size > 0 ? (uint64_t)size : 0;
        return ERR_OK;
    }
    const char *raw = hard ? hard : archive_entry_symlink(reader->entry);
    if (raw == NULL)
        return fail(err, ERR_LINK_INVALID, 0, "the link \"%.200s\" has no readable target",
                    reader->name);
    out->target = reader->target;
    return take_target(reader, raw, hard == NULL, err);
}

enum errc archive_reader_next(struct archive_reader *reader, struct archive_entry_info *out,
                              bool *end, struct error *err)
{
    for (bool wanted = false; !wanted;) {
        int rc = archive_read_next_header(reader->archive, &reader->entry);
        if (rc == ARCHIVE_EOF && reader->source_began) {
            *end = true;
            return ERR_OK;
        }
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            autofree char *where = reader->name[0]
                                       ? xasprintf("the header after entry \"%s\"", reader->name)
                                       : xstrdup("its first header");
            return archive_failed(reader, where, err);
        }
        if (take_entry(reader, out, &wanted, err) != ERR_OK ||
            check_limit(reader, reader->name, err) != ERR_OK)
            return err->code;
    }
    reader->position = 0;
    *end = false;
    return ERR_OK;
}

enum errc archive_reader_read(struct archive_reader *reader, const uint8_t **data, size_t *size,
                              struct error *err)
{
    const void *block = NULL;
    size_t n = 0;
    la_int64_t offset = 0;
    int rc = archive_read_data_block(reader->archive, &block, &n, &offset);
    if (rc == ARCHIVE_EOF) {
        *size = 0;
        return ERR_OK;
    }
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
        autofree char *where = xasprintf("entry \"%s\"", reader->name);
        return archive_failed(reader, where, err);
    }
    if (offset < 0 || (uint64_t)offset != reader->position)
        return fail(err, ERR_ENTRY_UNSUPPORTED, 0, "entry \"%.200s\" is a sparse file",
                    reader->name);
    if (check_limit(reader, reader->name, err) != ERR_OK)
        return err->code;
    reader->position += n;
    *data = block;
    *size = n;
    return ERR_OK;
}
