#include "base/utf8.h"

#include <string.h>

/* The text ends with NUL, which is no continuation byte, so nothing is read past it. */
static size_t character_size(const unsigned char *at)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t size = 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] <= 0xdf)
        size = 2;
    else if (at[0] >= 0xe0 && at[0] <= 0xef)
        size = 3;
    else if (at[0] >= 0xf0 && at[0] <= 0xf4)
        size = 4;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < size; i++) {
        if (at[i] < (i == 1 ? low : 0x80) || at[i] > (i == 1 ? high : 0xbf))
            return 0;
    }
    return size;
}

static bool is_control(const unsigned char *at, size_t size)
{
    if (size == 1)
        return at[0] < 0x20 || at[0] == 0x7f;
    if (size == 2)
        return (at[0] == 0xc2 && (at[1] < 0xa0 || at[1] == 0xad)) ||
               (at[0] == 0xd8 && at[1] == 0x9c);
    if (size != 3)
        return false;
    unsigned code = (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

size_t utf8_next(const char *text, bool *control)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = character_size(at);
    *control = is_control(at, size);
    return size;
}
