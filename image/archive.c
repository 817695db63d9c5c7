#include "image/archive.h"

#include "base/mem.h"
#include "image/archive_guess.h"
#include "image/tar_reader.h"
#include "image/unpack.h"

#include <stdio.h>
#include <string.h>

struct archive_reader {
    struct source source;
    bool source_began; /* at least one byte came */
    bool source_failed;
    struct unpack *unpack;
    struct tar_reader tar;
    struct tar_entry entry;
    struct archive_guess guess;
    char name[ARCHIVE_NAME_MAX + 1];
    char target[ARCHIVE_NAME_MAX + 1];
};

static enum errc pull_source(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct archive_reader *reader = self;
    if (source_pull(&reader->source, data, size, err) != ERR_OK) {
        reader->source_failed = true;
        return err->code;
    }
    reader->source_began = reader->source_began || *size > 0;
    return ERR_OK;
}

static enum errc skip_source(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    struct archive_reader *reader = self;
    if (source_pass_over(&reader->source, count, skipped, err) != ERR_OK)
        reader->source_failed = true;
    return err->code;
}

/* What went wrong below, with the place. */
static enum errc archive_failed(const struct archive_reader *reader, const char *where,
                                struct error *err)
{
    const struct error why = *err;
    if (reader->source_failed)
        return why.code;
    if (!reader->source_began)
        return fail(err, ERR_ARCHIVE_EMPTY, 0, "the archive is empty: not one byte was sent");
    switch (why.code) {
    case ERR_ARCHIVE_TRUNCATED:
        return fail(err, why.code, 0, "the archive ends in the middle of %s (%s)", where, why.text);
    case ERR_ARCHIVE_UNRECOGNISED:
        return fail(err, why.code, 0,
                    "this is no tar archive, plain or inside gzip, zstd, xz or bzip2 (%s)",
                    why.text);
    case ERR_ARCHIVE_CORRUPT:
        return fail(err, why.code, 0, "the archive is damaged at %s: %s", where, why.text);
    default:
        return error_wrap(err, "the archive, at %s", where);
    }
}

enum errc archive_reader_open(struct source source, uint64_t limit_bytes,
                              struct archive_reader **out, struct error *err)
{
    struct archive_reader *reader = xcalloc(1, sizeof *reader);
    reader->source = source;
    const struct source own = {
        .pull = pull_source, .self = reader, .pass_over = source.pass_over ? skip_source : NULL};
    if (unpack_open(own, &reader->unpack, err) != ERR_OK) {
        archive_failed(reader, "its beginning", err);
        archive_reader_close(reader);
        return err->code;
    }
    tar_reader_init(&reader->tar, unpack_source(reader->unpack), limit_bytes);
    *out = reader;
    return ERR_OK;
}

void archive_reader_close(struct archive_reader *reader)
{
    if (reader == NULL)
        return;
    tar_reader_deinit(&reader->tar);
    unpack_close(reader->unpack);
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
    const char *raw = reader->entry.name;
    if (*raw == '\0')
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

static const char *refused_kind(const struct tar_entry *entry)
{
    if (entry->sparse)
        return "a sparse file";
    switch (entry->kind) {
    case TAR_KIND_FILE:
    case TAR_KIND_SYMLINK:
    case TAR_KIND_HARDLINK:
        return NULL;
    case TAR_KIND_FOLDER:
        return entry->size > 0 ? "a folder with content" : NULL;
    case TAR_KIND_DEVICE:
        return "a device";
    case TAR_KIND_FIFO:
        return "a fifo";
    }
    return "of a kind that no image archive has";
}

/* One entry looked at: *wanted when it is a file or a link. */
static enum errc take_entry(struct archive_reader *reader, struct archive_entry_info *out,
                            bool *wanted, struct error *err)
{
    const struct tar_entry *entry = &reader->entry;
    const char *refused = refused_kind(entry);
    *wanted = entry->kind != TAR_KIND_FOLDER;
    if (take_name(reader, err) != ERR_OK)
        return err->code;
    archive_guess_see(&reader->guess, reader->name);
    if (refused)
        return fail(err, ERR_ENTRY_UNSUPPORTED, 0, "entry \"%.200s\" is %s", reader->name, refused);
    if (!*wanted)
        return ERR_OK;
    if (reader->name[0] == '\0')
        return fail(err, ERR_ENTRY_NAME, 0, "a file is named \".\"");
    *out = (struct archive_entry_info){.name = reader->name};
    if (entry->kind == TAR_KIND_FILE) {
        out->size = entry->size;
        return ERR_OK;
    }
    out->target = reader->target;
    return take_target(reader, entry->target, entry->kind == TAR_KIND_SYMLINK, err);
}

/* Of a root file system, devices and absolute links are not what is wrong. */
static enum errc no_image(const struct archive_reader *reader, struct error *err)
{
    const struct error why = *err;
    archive_guess_fail(&reader->guess, err);
    size_t size = strlen(err->text);
    snprintf(err->text + size, sizeof err->text - size, " (%s)", why.text);
    return err->code;
}

static enum errc next_entry(struct archive_reader *reader, bool *end, struct error *err)
{
    if (tar_reader_next(&reader->tar, &reader->entry, end, err) == ERR_OK)
        return ERR_OK;
    autofree char *where = reader->name[0]
                               ? xasprintf("the header after entry \"%s\"", reader->name)
                               : xstrdup("its first header");
    return archive_failed(reader, where, err);
}

enum errc archive_reader_next(struct archive_reader *reader, struct archive_entry_info *out,
                              bool *end, struct error *err)
{
    for (bool wanted = false; !wanted;) {
        if (next_entry(reader, end, err) != ERR_OK)
            return err->code;
        if (*end)
            return ERR_OK;
        if (take_entry(reader, out, &wanted, err) != ERR_OK)
            return archive_guess_file_system(&reader->guess) ? no_image(reader, err) : err->code;
    }
    return ERR_OK;
}

static enum errc entry_failed(const struct archive_reader *reader, struct error *err)
{
    autofree char *where = xasprintf("entry \"%s\"", reader->name);
    return archive_failed(reader, where, err);
}

enum errc archive_reader_read(struct archive_reader *reader, const uint8_t **data, size_t *size,
                              struct error *err)
{
    return tar_reader_read(&reader->tar, data, size, err) == ERR_OK ? ERR_OK
                                                                    : entry_failed(reader, err);
}

enum errc archive_reader_skip(struct archive_reader *reader, struct error *err)
{
    return tar_reader_skip(&reader->tar, err) == ERR_OK ? ERR_OK : entry_failed(reader, err);
}

bool archive_reader_seeks(const struct archive_reader *reader)
{
    return reader->tar.source.pass_over != NULL;
}
