#include "image/tar_check.h"

#include "base/mem.h"

#include <string.h>

/* The GNU fields where GNU tar puts them. */
#define GNU_MAGIC "ustar  "
#define SPARSE_MORE_AT 482
#define SPARSE_BLOCK_MORE_AT 504

void tar_check_init(struct tar_check *check)
{
    *check = (struct tar_check){.part = TAR_HEADER, .pax = BUF_INIT(TAR_EXTENDED_MAX)};
}

void tar_check_deinit(struct tar_check *check)
{
    buf_deinit(&check->pax);
}

static enum errc corrupt(const struct tar_check *check, const char *what, struct error *err)
{
    return fail(err, ERR_ARCHIVE_CORRUPT, 0, "the tar is damaged before byte %llu: %s",
                (unsigned long long)check->offset, what);
}

static enum errc read_pax(struct tar_check *check, struct error *err)
{
    const char *at = check->pax.data;
    size_t left = check->pax.size;
    while (left > 0) {
        struct pax_record record;
        if (!pax_next(&at, &left, &record))
            return corrupt(check, "a pax record is malformed", err);
        if (!pax_key_is(&record, "size"))
            continue;
        if (!pax_number(&record, &check->size))
            return corrupt(check, "a pax size is no number", err);
        check->has_size = record.value_size > 0;
    }
    buf_clear(&check->pax);
    return ERR_OK;
}

static bool has_no_content(char type)
{
    return type >= '1' && type <= '6';
}

static void expect_content(struct tar_check *check, enum tar_part part, uint64_t size)
{
    check->part = part;
    check->left = size;
    check->padding = tar_padding(size);
    if (check->left == 0)
        check->part = TAR_HEADER;
}

static enum errc read_file_header(struct tar_check *check, char type, uint64_t size,
                                  struct error *err)
{
    const uint8_t *block = check->block;
    bool sparse = type == 'S' && memcmp(block + TAR_MAGIC_AT, GNU_MAGIC, sizeof GNU_MAGIC) == 0;
    if (check->has_size)
        size = check->size;
    if (size > INT64_MAX - TAR_BLOCK_BYTES)
        return corrupt(check, "a file is too large", err);
    check->described = check->has_size = false;
    check->files++;
    expect_content(check, TAR_CONTENT, has_no_content(type) ? 0 : size);
    if (sparse && block[SPARSE_MORE_AT])
        check->part = TAR_SPARSE;
    return ERR_OK;
}

static enum errc read_header(struct tar_check *check, struct error *err)
{
    uint64_t size = 0;
    char type = (char)check->block[TAR_TYPE_AT];
    bool first = check->offset <= TAR_BLOCK_BYTES;
    if (tar_zero_block(check->block)) {
        if (check->described)
            return corrupt(check, "an extended header describes nothing", err);
        check->part = TAR_ENDING;
        return ERR_OK;
    }
    if (!tar_checksum_fits(check->block))
        return first ? fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "it does not begin as a tar does")
                     : corrupt(check, "a header's checksum does not fit", err);
    if (!tar_header_size(check->block, &size))
        return corrupt(check, "a header's size is no number", err);
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
        return read_file_header(check, type, size, err);
    if (size > TAR_EXTENDED_MAX)
        return corrupt(check, "an extended header is over 1 MiB", err);
    check->described = check->described || type != 'g';
    expect_content(check, type == 'x' ? TAR_PAX : TAR_CONTENT, size);
    return ERR_OK;
}

/* A whole block that is no content. */
static enum errc read_block(struct tar_check *check, struct error *err)
{
    switch (check->part) {
    case TAR_HEADER:
        return read_header(check, err);
    case TAR_SPARSE:
        if (!check->block[SPARSE_BLOCK_MORE_AT])
            check->part = check->left > 0 ? TAR_CONTENT : TAR_HEADER;
        return ERR_OK;
    case TAR_ENDING:
        if (!tar_zero_block(check->block))
            return corrupt(check, "a zero block stands alone", err);
        check->part = TAR_END;
        return ERR_OK;
    case TAR_CONTENT:
    case TAR_PAX:
    case TAR_END:
        break;
    }
    return ERR_OK;
}

static size_t least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

static enum errc pass_content(struct tar_check *check, const uint8_t *data, size_t size,
                              size_t *passed, struct error *err)
{
    size_t n = least(check->left, size);
    if (check->part == TAR_PAX)
        buf_append(&check->pax, data, n);
    check->left -= n;
    size_t gap = check->left == 0 ? least(check->padding, size - n) : 0;
    check->padding -= gap;
    check->offset += n + gap;
    *passed = n + gap;
    if (check->left > 0 || check->padding > 0)
        return ERR_OK;
    bool pax = check->part == TAR_PAX;
    check->part = TAR_HEADER;
    return pax ? read_pax(check, err) : ERR_OK;
}

static enum errc pass_block(struct tar_check *check, const uint8_t *data, size_t size,
                            size_t *passed, struct error *err)
{
    size_t n = least(TAR_BLOCK_BYTES - check->filled, size);
    memcpy(check->block + check->filled, data, n);
    check->filled += n;
    check->offset += n;
    *passed = n;
    if (check->filled < TAR_BLOCK_BYTES)
        return ERR_OK;
    check->filled = 0;
    return read_block(check, err);
}

enum errc tar_check_write(struct tar_check *check, const void *data, size_t size, struct error *err)
{
    const uint8_t *at = data;
    while (size > 0 && check->part != TAR_END) {
        size_t passed = 0;
        bool content = check->part == TAR_CONTENT || check->part == TAR_PAX;
        enum errc rc = content ? pass_content(check, at, size, &passed, err)
                               : pass_block(check, at, size, &passed, err);
        if (rc != ERR_OK)
            return rc;
        at += passed;
        size -= passed;
    }
    check->offset += size;
    return ERR_OK;
}

enum errc tar_check_finish(const struct tar_check *check, struct error *err)
{
    if (check->offset == 0)
        return fail(err, ERR_ARCHIVE_EMPTY, 0, "there is not a byte in it");
    if (check->part == TAR_END)
        return ERR_OK;
    if (check->offset < TAR_BLOCK_BYTES)
        return fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "%llu bytes are no tar",
                    (unsigned long long)check->offset);
    bool between = check->part == TAR_HEADER || check->part == TAR_ENDING;
    if (between && check->filled == 0 && !check->described)
        return ERR_OK;
    return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "the tar ends early, after %llu bytes",
                (unsigned long long)check->offset);
}
