#include "image/tar_reader.h"

#include <string.h>

/* POSIX.1-2017, pax, "ustar Interchange Format". */
#define NAME_BYTES 100
#define LINK_AT 157
#define LINK_BYTES 100
#define PREFIX_AT 345
#define PREFIX_BYTES 155
#define POSIX_MAGIC "ustar"
#define GNU_MAGIC "ustar  " /* with its NUL; where the prefix is, it has other things */

void tar_reader_init(struct tar_reader *reader, struct source source, uint64_t limit_bytes)
{
    *reader = (struct tar_reader){.source = source,
                                  .limit_bytes = limit_bytes,
                                  .name = BUF_INIT(TAR_EXTENDED_MAX),
                                  .target = BUF_INIT(TAR_EXTENDED_MAX),
                                  .extended = BUF_INIT(TAR_EXTENDED_MAX)};
}

void tar_reader_deinit(struct tar_reader *reader)
{
    buf_deinit(&reader->name);
    buf_deinit(&reader->target);
    buf_deinit(&reader->extended);
}

static enum errc corrupt(const char *what, struct error *err)
{
    return fail(err, ERR_ARCHIVE_CORRUPT, 0, "%s", what);
}

/* ---- bytes ---- */

static enum errc use(struct tar_reader *reader, uint64_t count, struct error *err)
{
    reader->used += count;
    if (reader->used > reader->limit_bytes)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "it unpacks to more than the %llu bytes of limits.archive",
                    (unsigned long long)reader->limit_bytes);
    return ERR_OK;
}

/* Up to `wanted` of the next bytes; *size 0 at the end of the stream. */
static enum errc take(struct tar_reader *reader, uint64_t wanted, const uint8_t **data,
                      size_t *size, struct error *err)
{
    if (reader->piece_size == 0 && !reader->ended) {
        if (source_pull(&reader->source, &reader->piece, &reader->piece_size, err) != ERR_OK)
            return err->code;
        reader->ended = reader->piece_size == 0;
    }
    size_t n = wanted < reader->piece_size ? (size_t)wanted : reader->piece_size;
    *data = reader->piece;
    *size = n;
    if (n > 0)
        reader->piece += n;
    reader->piece_size -= n;
    return use(reader, n, err);
}

static enum errc truncated(const struct tar_reader *reader, struct error *err)
{
    return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "it ends after %llu bytes",
                (unsigned long long)reader->used);
}

/* What was not pulled yet, where the source can do it. */
static enum errc pass_over(struct tar_reader *reader, uint64_t *count, struct error *err)
{
    uint64_t skipped = 0;
    if (source_pass_over(&reader->source, *count, &skipped, err) != ERR_OK ||
        use(reader, skipped, err) != ERR_OK)
        return err->code;
    *count -= skipped;
    return *count > 0 ? truncated(reader, err) : ERR_OK;
}

static enum errc skip(struct tar_reader *reader, uint64_t *count, struct error *err)
{
    while (*count > 0) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (reader->piece_size == 0 && !reader->ended && reader->source.pass_over)
            return pass_over(reader, count, err);
        if (take(reader, *count, &data, &size, err) != ERR_OK)
            return err->code;
        if (size == 0)
            return truncated(reader, err);
        *count -= size;
    }
    return ERR_OK;
}

/* *filled: less than a block when the stream ended. */
static enum errc read_block(struct tar_reader *reader, size_t *filled, struct error *err)
{
    *filled = 0;
    while (*filled < TAR_BLOCK_BYTES) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (take(reader, TAR_BLOCK_BYTES - *filled, &data, &size, err) != ERR_OK)
            return err->code;
        if (size == 0)
            break;
        memcpy(reader->block + *filled, data, size);
        *filled += size;
    }
    return ERR_OK;
}

/* ---- headers that belong to the next entry ---- */

static void forget_description(struct tar_reader *reader)
{
    reader->described = reader->sparse = false;
    reader->has_size = false;
    reader->has_name = reader->has_target = TAR_NAMED_BY_HEADER;
    buf_deinit(&reader->name);
    buf_deinit(&reader->target);
    buf_deinit(&reader->extended);
}

static enum errc read_extended(struct tar_reader *reader, uint64_t size, struct error *err)
{
    uint64_t padding = tar_padding(size);
    buf_clear(&reader->extended);
    while (size > 0) {
        const uint8_t *data = NULL;
        size_t n = 0;
        if (take(reader, size, &data, &n, err) != ERR_OK)
            return err->code;
        if (n == 0)
            return truncated(reader, err);
        buf_append(&reader->extended, data, n);
        size -= n;
    }
    return skip(reader, &padding, err);
}

/* Where headers of both kinds name an entry, the first counts; of several of GNU's, the last. So
 * other readers of tar have it. */
static void set_text(struct buf *text, enum tar_naming *has, enum tar_naming by, const char *value,
                     size_t size)
{
    bool again = *has == TAR_NAMED_BY_GNU && by == TAR_NAMED_BY_GNU;
    if ((*has != TAR_NAMED_BY_HEADER && !again) || size == 0)
        return;
    *has = by;
    buf_clear(text);
    buf_append(text, value, size);
}

static enum errc take_record(const struct pax_record *record, struct pax_record *path,
                             struct pax_record *link_path, struct tar_reader *reader,
                             struct error *err)
{
    bool text = true;
    if (pax_key_begins(record, "GNU.sparse.") || pax_key_is(record, "SUN.holesdata"))
        reader->sparse = true;
    if (pax_key_is(record, "path") || pax_key_is(record, "GNU.sparse.name"))
        *path = *record;
    else if (pax_key_is(record, "linkpath"))
        *link_path = *record;
    else
        text = false;
    if (text && memchr(record->value, '\0', record->value_size) != NULL)
        return corrupt("a pax record has a name with a NUL in it", err);
    if (!pax_key_is(record, "size"))
        return ERR_OK;
    if (!pax_number(record, &reader->size))
        return corrupt("a pax record has a size that is no number", err);
    reader->has_size = record->value_size > 0;
    return ERR_OK;
}

static enum errc read_pax(struct tar_reader *reader, struct error *err)
{
    const char *at = reader->extended.data;
    size_t left = reader->extended.size;
    struct pax_record path = {0};
    struct pax_record link_path = {0};
    while (left > 0) {
        struct pax_record record;
        if (!pax_next(&at, &left, &record))
            return corrupt("a pax record is malformed", err);
        if (take_record(&record, &path, &link_path, reader, err) != ERR_OK)
            return err->code;
    }
    set_text(&reader->name, &reader->has_name, TAR_NAMED_BY_PAX, path.value, path.value_size);
    set_text(&reader->target, &reader->has_target, TAR_NAMED_BY_PAX, link_path.value,
             link_path.value_size);
    return ERR_OK;
}

static enum errc read_description(struct tar_reader *reader, char type, uint64_t size,
                                  struct error *err)
{
    if (size > TAR_EXTENDED_MAX)
        return fail(err, ERR_ARCHIVE_CORRUPT, 0,
                    "the extended header \"%.100s\" has %llu bytes, more than %zu",
                    (const char *)reader->block, (unsigned long long)size, TAR_EXTENDED_MAX);
    if (read_extended(reader, size, err) != ERR_OK)
        return err->code;
    const char *text = buf_cstr(&reader->extended);
    size_t length = strnlen(text, reader->extended.size);
    bool pax = type == 'x' || type == 'X' || type == 'g';
    reader->is_pax = reader->is_pax || pax;
    reader->described = reader->described || type != 'g';
    if (type == 'L')
        set_text(&reader->name, &reader->has_name, TAR_NAMED_BY_GNU, text, length);
    if (type == 'K')
        set_text(&reader->target, &reader->has_target, TAR_NAMED_BY_GNU, text, length);
    return pax && type != 'g' ? read_pax(reader, err) : ERR_OK;
}

/* ---- entries ---- */

static void set_field(struct buf *text, const uint8_t *field, size_t size)
{
    buf_append(text, field, strnlen((const char *)field, size));
}

static void take_names(struct tar_reader *reader)
{
    const uint8_t *block = reader->block;
    const uint8_t *magic = block + TAR_MAGIC_AT;
    bool gnu = memcmp(magic, GNU_MAGIC, sizeof GNU_MAGIC) == 0;
    bool posix = !gnu && memcmp(magic, POSIX_MAGIC, strlen(POSIX_MAGIC)) == 0;
    if (reader->has_name == TAR_NAMED_BY_HEADER && posix && block[PREFIX_AT] != '\0') {
        set_field(&reader->name, block + PREFIX_AT, PREFIX_BYTES);
        buf_text(&reader->name, "/");
    }
    if (reader->has_name == TAR_NAMED_BY_HEADER)
        set_field(&reader->name, block, NAME_BYTES);
    if (reader->has_target == TAR_NAMED_BY_HEADER)
        set_field(&reader->target, block + LINK_AT, LINK_BYTES);
}

static enum tar_kind kind_of(char type, const struct buf *name)
{
    switch (type) {
    case '1':
        return TAR_KIND_HARDLINK;
    case '2':
        return TAR_KIND_SYMLINK;
    case '3':
    case '4':
        return TAR_KIND_DEVICE;
    case '5':
    case 'D': /* of GNU's incremental backups */
        return TAR_KIND_FOLDER;
    case '6':
        return TAR_KIND_FIFO;
    default: /* v7 has folders that are files with a slash behind their name */
        return name->size > 0 && name->data[name->size - 1] == '/' ? TAR_KIND_FOLDER
                                                                   : TAR_KIND_FILE;
    }
}

/* Links and the like have no content, whatever their size says; but pax allows a hard link to bring
 * the file along. */
static bool has_content(const struct tar_reader *reader, char type)
{
    return type < '1' || type > '6' || (type == '1' && reader->is_pax);
}

static enum errc describe(struct tar_reader *reader, char type, uint64_t size,
                          struct tar_entry *out, struct error *err)
{
    if (reader->has_size)
        size = reader->size;
    if (size > INT64_MAX - TAR_BLOCK_BYTES)
        return corrupt("a file is too large", err);
    if (!has_content(reader, type))
        size = 0;
    take_names(reader);
    reader->left = size;
    reader->padding = tar_padding(size);
    *out = (struct tar_entry){.kind = kind_of(type, &reader->name),
                              .sparse = type == 'S' || reader->sparse,
                              .name = buf_cstr(&reader->name),
                              .target = buf_cstr(&reader->target),
                              .size = size};
    return ERR_OK;
}

/* The next header is in the block, unless *end. */
static enum errc read_header(struct tar_reader *reader, bool *end, struct error *err)
{
    bool first = reader->used == 0;
    size_t filled = 0;
    if (read_block(reader, &filled, err) != ERR_OK)
        return err->code;
    bool whole = filled == TAR_BLOCK_BYTES;
    if (first && (!whole || (!tar_zero_block(reader->block) && !tar_checksum_fits(reader->block))))
        return fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "it does not begin as a tar does");
    if (!whole && (filled > 0 || reader->described))
        return truncated(reader, err);
    *end = !whole || tar_zero_block(reader->block);
    if (*end)
        return reader->described ? corrupt("an extended header describes nothing", err) : ERR_OK;
    return tar_checksum_fits(reader->block) ? ERR_OK
                                            : corrupt("a header's checksum does not fit", err);
}

enum errc tar_reader_skip(struct tar_reader *reader, struct error *err)
{
    if (skip(reader, &reader->left, err) != ERR_OK)
        return err->code;
    return skip(reader, &reader->padding, err);
}

enum errc tar_reader_next(struct tar_reader *reader, struct tar_entry *out, bool *end,
                          struct error *err)
{
    forget_description(reader);
    for (;;) {
        uint64_t size = 0;
        if (tar_reader_skip(reader, err) != ERR_OK || read_header(reader, end, err) != ERR_OK)
            return err->code;
        if (*end)
            return ERR_OK;
        if (!tar_header_size(reader->block, &size))
            return corrupt("a header's size is no number", err);
        char type = (char)reader->block[TAR_TYPE_AT];
        switch (type) {
        case 'x':
        case 'X': /* Solaris' */
        case 'g':
        case 'L':
        case 'K':
            if (read_description(reader, type, size, err) != ERR_OK)
                return err->code;
            break;
        case 'A': /* Solaris' access list of the next entry */
        case 'V': /* the label of a volume */
            if (size > INT64_MAX - TAR_BLOCK_BYTES)
                return corrupt("a header's size is too large", err);
            reader->left = size;
            reader->padding = tar_padding(size);
            break;
        default:
            return describe(reader, type, size, out, err);
        }
    }
}

enum errc tar_reader_read(struct tar_reader *reader, const uint8_t **data, size_t *size,
                          struct error *err)
{
    if (reader->left == 0) {
        *size = 0;
        return skip(reader, &reader->padding, err);
    }
    if (take(reader, reader->left, data, size, err) != ERR_OK)
        return err->code;
    if (*size == 0)
        return truncated(reader, err);
    reader->left -= *size;
    return ERR_OK;
}
