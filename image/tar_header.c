#include "image/tar_header.h"

#include <ctype.h>
#include <string.h>

#define SIZE_AT 124
#define SIZE_BYTES 12
#define CHECKSUM_AT 148
#define CHECKSUM_BYTES 8
#define PAX_LENGTH_DIGITS 8

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
    for (; i < CHECKSUM_BYTES; i++)
        if (field[i] != ' ' && field[i] != '\0' && (field[i] < '0' || field[i] > '7'))
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

bool tar_zero_block(const uint8_t block[TAR_BLOCK_BYTES])
{
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        if (block[i] != 0)
            return false;
    return true;
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

/* Octal, with spaces around it and NULs behind it; nothing at all is 0. What stands behind NULs is
 * the number to some programs and to others none. */
static bool octal_number(const uint8_t *field, uint64_t *out)
{
    size_t at = 0;
    size_t end = SIZE_BYTES;
    uint64_t value = 0;
    while (at < end && field[at] == ' ')
        at++;
    while (end > at && (field[end - 1] == ' ' || field[end - 1] == '\0'))
        end--;
    if (at < end && field[at] == '\0')
        return false;
    for (; at < end && field[at] >= '0' && field[at] <= '7'; at++)
        value = value * 8 + (uint64_t)(field[at] - '0');
    *out = value;
    return at == end || field[at] == '\0';
}

bool tar_header_size(const uint8_t header[TAR_BLOCK_BYTES], uint64_t *out)
{
    const uint8_t *field = header + SIZE_AT;
    return field[0] & 0x80u ? binary_number(field, out) : octal_number(field, out);
}

uint64_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK_BYTES - size % TAR_BLOCK_BYTES) % TAR_BLOCK_BYTES;
}

bool pax_next(const char **at, size_t *left, struct pax_record *out)
{
    const char *text = *at;
    size_t length = 0;
    size_t digits = 0;
    while (digits < *left && digits < PAX_LENGTH_DIGITS && isdigit((unsigned char)text[digits]))
        length = length * 10 + (size_t)(text[digits++] - '0');
    if (digits == 0 || digits == *left || text[digits] != ' ' || length <= digits + 1 ||
        length > *left || text[length - 1] != '\n')
        return false;
    const char *record = text + digits + 1;
    size_t size = length - digits - 2;
    const char *equals = memchr(record, '=', size);
    size_t key_size = equals ? (size_t)(equals - record) : 0; /* none at all is nobody's key */
    size_t value_at = equals ? key_size + 1 : size;
    *out = (struct pax_record){.key = record,
                               .key_size = key_size,
                               .value = record + value_at,
                               .value_size = size - value_at};
    *at += length;
    *left -= length;
    return true;
}

bool pax_key_is(const struct pax_record *record, const char *key)
{
    return record->key_size == strlen(key) && memcmp(record->key, key, record->key_size) == 0;
}

bool pax_key_begins(const struct pax_record *record, const char *prefix)
{
    size_t size = strlen(prefix);
    return record->key_size >= size && memcmp(record->key, prefix, size) == 0;
}

bool pax_number(const struct pax_record *record, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < record->value_size; i++) {
        unsigned char digit = (unsigned char)record->value[i];
        if (!isdigit(digit) || value > INT64_MAX / 10 - 1)
            return false;
        value = value * 10 + (uint64_t)(digit - '0');
    }
    *out = value;
    return true;
}
