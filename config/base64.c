#include "config/base64.h"

#include "base/mem.h"
#include "config/secret.h"

#include <stdint.h>

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to one, two or three bytes; 0 when they are not base64. */
static size_t decode_group(const char *group, char bytes[3])
{
    size_t used = group[3] != '=' ? 4 : group[2] != '=' ? 3 : 2;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < used ? sextet(group[i]) : 0;
        if (value < 0)
            return 0;
        bits = bits << 6 | (uint32_t)value;
    }
    for (size_t i = 0; i < 3; i++)
        bytes[i] = (char)(bits >> (16 - 8 * i) & 0xff);
    size_t size = used - 1;
    for (size_t i = size; i < 3; i++)
        if (bytes[i] != 0)
            return 0;
    return size;
}

bool base64_decode_text(const char *encoded, char **out)
{
    size_t length = strlen(encoded);
    if (length % 4 != 0)
        return false;
    autosecret char *text = xcalloc(length / 4 * 3 + 1, 1);
    size_t size = 0;
    for (size_t i = 0; i < length; i += 4) {
        size_t got = decode_group(encoded + i, text + size);
        if (got == 0 || (got < 3 && i + 4 < length))
            return false;
        size += got;
    }
    while (size > 0 && text[size - 1] == '\0')
        size--;
    if (strlen(text) != size)
        return false;
    *out = mem_take(&text);
    return true;
}
