#include "image/tar_write.h"

#include "image/tar_header.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* POSIX.1-2017, pax, "ustar Interchange Format". */
struct ustar {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char user[32], group[32];
    char device_major[8], device_minor[8];
    char prefix[155];
    char pad[12];
};
static_assert(sizeof(struct ustar) == TAR_BLOCK_BYTES, "no padding");

#define SIZE_MAX_USTAR ((UINT64_C(1) << 33) - 1) /* eleven octal digits */

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text > 0x7e)
            return false;
    return true;
}

/* A field that is full has no NUL. */
static void put(char *field, size_t capacity, const char *text, size_t size)
{
    memcpy(field, text, size < capacity ? size : capacity);
}

/* Into prefix and name, at a "/" between them. False when that is not possible. */
static bool put_name(struct ustar *header, const char *name)
{
    size_t size = strlen(name);
    size_t split = 0;
    if (size > sizeof header->name) {
        size_t least = size - sizeof header->name - 1;
        const char *slash = strchr(name + (least > 0 ? least : 1), '/');
        split = slash ? (size_t)(slash - name) : 0;
        if (split == 0 || split > sizeof header->prefix || name[split + 1] == '\0')
            return false;
        put(header->prefix, sizeof header->prefix, name, split++);
    }
    put(header->name, sizeof header->name, name + split, size - split);
    return true;
}

static void finish_block(struct ustar *header, char type, uint64_t size)
{
    char digits[24];
    unsigned sum = 0;
    header->type = type;
    put(header->mode, sizeof header->mode, "0000644", 8);
    put(header->uid, sizeof header->uid, "0000000", 8);
    put(header->gid, sizeof header->gid, "0000000", 8);
    snprintf(digits, sizeof digits, "%011llo", (unsigned long long)size);
    put(header->size, sizeof header->size, digits, 12);
    put(header->mtime, sizeof header->mtime, "00000000000", 12);
    put(header->magic, sizeof header->magic, "ustar", 6);
    put(header->version, sizeof header->version, "00", 2);
    put(header->device_major, sizeof header->device_major, "0000000", 8);
    put(header->device_minor, sizeof header->device_minor, "0000000", 8);
    memset(header->checksum, ' ', sizeof header->checksum);
    for (size_t i = 0; i < sizeof *header; i++)
        sum += ((const uint8_t *)header)[i];
    snprintf(digits, sizeof digits, "%06o", sum);
    put(header->checksum, sizeof header->checksum, digits, 7);
}

/* "LENGTH KEY=VALUE\n", whose length counts its own digits. */
static void append_record(struct buf *records, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3;
    size_t length = rest + 1;
    char digits[24];
    for (size_t n = 0; n != length;) {
        n = length;
        length = rest + (size_t)snprintf(digits, sizeof digits, "%zu", n);
    }
    buf_format(records, "%zu %s=%s\n", length, key, value);
}

static void append_padding(struct buf *out, uint64_t size)
{
    static const char zeros[TAR_BLOCK_BYTES];
    buf_append(out, zeros, (size_t)tar_padding(size));
}

static void append_extended(struct buf *out, const struct buf *records)
{
    struct ustar header = {.name = "PaxHeader"};
    finish_block(&header, 'x', records->size);
    buf_append(out, &header, sizeof header);
    buf_append(out, records->data, records->size);
    append_padding(out, records->size);
}

enum errc tar_write_header(struct buf *out, const char *name, uint64_t size, const char *target,
                           struct error *err)
{
    struct ustar header = {.name = ""};
    autobuf struct buf records = BUF_INIT(TAR_EXTENDED_MAX);
    uint64_t own_size = target ? 0 : size;
    if (!is_ascii(name) || !put_name(&header, name)) {
        append_record(&records, "path", name);
        put(header.name, sizeof header.name, name, strlen(name));
    }
    if (target) {
        put(header.link, sizeof header.link, target, strlen(target));
        if (!is_ascii(target) || strlen(target) > sizeof header.link)
            append_record(&records, "linkpath", target);
    }
    if (own_size > SIZE_MAX_USTAR) {
        char digits[24];
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)own_size);
        append_record(&records, "size", digits);
    }
    if (records.size > 0)
        append_extended(out, &records);
    finish_block(&header, target ? '1' : '0', own_size > SIZE_MAX_USTAR ? 0 : own_size);
    buf_append(out, &header, sizeof header);
    if (records.overflowed || out->overflowed)
        return fail(err, ERR_IO, 0, "the name of a file has more than %zu bytes: %.100s",
                    TAR_EXTENDED_MAX, name);
    return ERR_OK;
}
