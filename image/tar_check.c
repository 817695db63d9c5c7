#include "image/tar_check.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>

/* POSIX.1-2017, pax, "ustar Interchange Format"; the GNU fields where GNU tar puts them. */
#define SIZE_AT 124
#define SIZE_BYTES 12
#define CHECKSUM_AT 148
#define CHECKSUM_BYTES 8
#define TYPE_AT 156
#define MAGIC_AT 257
#define GNU_MAGIC "ustar  "
#define SPARSE_MORE_AT 482
#define SPARSE_BLOCK_MORE_AT 504

void tar_check_init(struct tar_check *check)
{
    *check = (struct tar_check){.part = TAR_HEADER, .pax = BUF_INIT(TAR_PAX_MAX)};
}

void tar_check_deinit(struct tar_check *check)
{
    buf_deinit(&check->pax);
}

bool tar_checksum_fits(const uint8_t header[TAR_BLOCK_BYTES])
{
    uint32_t want = 0;
    size_t i = 0;
    const uint8_t *field = header + CHECKSUM_AT;
    while (i < CHECKSUM_BYTES && field[i] == ' ')
        i++;
    size_t digits = i;
    for (; i < CHECKSUM_BYTES && field[i] >= '0' && field[i] <= '7'; i++)
        want = want * 8 + (uint32_t)(field[i] - '0');
    if (i == digits)
        return false;
    uint32_t sum = 0;
    int32_t signed_sum = 0; /* some old tars summed signed characters */
    for (size_t at = 0; at < TAR_BLOCK_BYTES; at++) {
        bool in_field = at >= CHECKSUM_AT && at < CHECKSUM_AT + CHECKSUM_BYTES;
        uint8_t byte = in_field ? ' ' : header[at];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    return want == sum || (int32_t)want == signed_sum;
}

static enum errc corrupt(const struct tar_check *check, const char *what, struct error *err)
{
    return fail(err, ERR_ARCHIVE_CORRUPT, 0, "the tar is damaged before byte %llu: %s",
                (unsigned long long)check->offset, what);
}

/* Base 256: the first bit says so, the second is the sign, the rest is big-endian. */
static bool binary_number(const uint8_t *field, uint64_t *out)
{
    uint64_t value = field[0] & 0x7fu;
    if (field[0] & 0x40u)
        return false;
    for (size_t i = 1; i < SIZE_BYTES; i++) {
        if (value >> 55)
            return false;
        value = value << 8 | field[i];
    }
    *out = value;
    return true;
}

/* Octal, with spaces and NULs around it; nothing at all is 0. */
static bool octal_number(const uint8_t *field, uint64_t *out)
{
    size_t at = 0;
    size_t end = SIZE_BYTES;
    uint64_t value = 0;
    while (at < end && (field[at] == ' ' || field[at] == '\0'))
        at++;
    while (end > at && (field[end - 1] == ' ' || field[end - 1] == '\0'))
        end--;
    for (; at < end && field[at] >= '0' && field[at] <= '7'; at++)
        value = value * 8 + (uint64_t)(field[at] - '0');
    *out = value;
    return at == end || field[at] == '\0';
}

static bool header_size(const uint8_t *header, uint64_t *out)
{
    const uint8_t *field = header + SIZE_AT;
    return field[0] & 0x80u ? binary_number(field, out) : octal_number(field, out);
}

static uint64_t padding_of(uint64_t size)
{
    return (TAR_BLOCK_BYTES - size % TAR_BLOCK_BYTES) % TAR_BLOCK_BYTES;
}

static bool zero_block(const uint8_t *block)
{
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        if (block[i] != 0)
            return false;
    return true;
}

/* The value of a record "LENGTH size=VALUE\n". */
static enum errc take_size(struct tar_check *check, const char *text, size_t length,
                           struct error *err)
{
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]) || value > INT64_MAX / 10 - 1)
            return corrupt(check, "a pax size is no number", err);
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (length == 0) /* takes an earlier one back */
        check->has_size = false;
    else
        check->has_size = true;
    check->size = value;
    return ERR_OK;
}

static enum errc read_pax(struct tar_check *check, struct error *err)
{
    static const char key[] = "size=";
    const char *at = check->pax.data;
    size_t left = check->pax.size;
    while (left > 0) {
        size_t length = 0;
        size_t digits = 0;
        while (digits < left && digits < 8 && isdigit((unsigned char)at[digits]))
            length = length * 10 + (size_t)(at[digits++] - '0');
        if (digits == 0 || digits == left || at[digits] != ' ' || length <= digits + 1 ||
            length > left || at[length - 1] != '\n')
            return corrupt(check, "a pax record is malformed", err);
        const char *record = at + digits + 1;
        size_t record_size = length - digits - 2;
        if (record_size >= strlen(key) && memcmp(record, key, strlen(key)) == 0 &&
            take_size(check, record + strlen(key), record_size - strlen(key), err) != ERR_OK)
            return err->code;
        at += length;
        left -= length;
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
    check->padding = padding_of(size);
    if (check->left == 0)
        check->part = TAR_HEADER;
}

static enum errc read_file_header(struct tar_check *check, char type, uint64_t size,
                                  struct error *err)
{
    const uint8_t *block = check->block;
    bool sparse = type == 'S' && memcmp(block + MAGIC_AT, GNU_MAGIC, sizeof GNU_MAGIC) == 0;
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
    char type = (char)check->block[TYPE_AT];
    bool first = check->offset <= TAR_BLOCK_BYTES;
    if (zero_block(check->block)) {
        if (check->described)
            return corrupt(check, "an extended header describes nothing", err);
        check->part = TAR_ENDING;
        return ERR_OK;
    }
    if (!tar_checksum_fits(check->block))
        return first ? fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "it does not begin as a tar does")
                     : corrupt(check, "a header's checksum does not fit", err);
    if (!header_size(check->block, &size))
        return corrupt(check, "a header's size is no number", err);
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
        return read_file_header(check, type, size, err);
    if (size > TAR_PAX_MAX)
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
        if (!zero_block(check->block))
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
