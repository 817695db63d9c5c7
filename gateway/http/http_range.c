#include "gateway/http/http_range.h"

#include <string.h>
#include <strings.h>

#define UNIT "bytes"
/* Positions of chunks stay below it, so that a size is a number, too, and one that was too big for
 * one is seen. */
#define POSITION_MAX UINT64_MAX

/* Digits at *at, at least one; a number that is too big is UINT64_MAX. */
static bool take_number(const char **at, uint64_t *out)
{
    const char *start = *at;
    uint64_t value = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *out = value;
    return *at > start;
}

static bool take_text(const char **at, const char *text)
{
    size_t size = strlen(text);
    if (strncasecmp(*at, text, size) != 0)
        return false;
    *at += size;
    return true;
}

/* The last `size` bytes. */
static enum range_answer suffix(uint64_t size, uint64_t total, struct byte_range *out)
{
    if (size == 0)
        return RANGE_NONE;
    if (total == 0)
        return RANGE_WHOLE;
    uint64_t n = size < total ? size : total;
    *out = (struct byte_range){.first = total - n, .size = n};
    return RANGE_PART;
}

enum range_answer http_range(const char *header, uint64_t total, struct byte_range *out)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    const char *at = header;
    if (at == NULL || !take_text(&at, UNIT "="))
        return RANGE_WHOLE;
    bool has_first = take_number(&at, &first);
    if (!take_text(&at, "-"))
        return RANGE_WHOLE;
    bool has_last = take_number(&at, &last);
    if (*at != '\0' || !(has_first || has_last))
        return RANGE_WHOLE;
    if (!has_first)
        return suffix(last, total, out);
    if (!has_last)
        last = UINT64_MAX;
    if (last < first || first >= total)
        return RANGE_NONE;
    *out = (struct byte_range){.first = first, .size = (last < total ? last + 1 : total) - first};
    return RANGE_PART;
}

static bool parse_chunk(const char *at, uint64_t *first, uint64_t *last)
{
    uint64_t total = UINT64_MAX;
    (void)(take_text(&at, UNIT " ") || take_text(&at, UNIT "="));
    if (!take_number(&at, first) || !take_text(&at, "-") || !take_number(&at, last))
        return false;
    if (take_text(&at, "/") && !take_text(&at, "*") && !take_number(&at, &total))
        return false;
    return *at == '\0' && *first <= *last && *last < POSITION_MAX && *last < total;
}

enum errc content_range_parse(const char *header, struct byte_range *out, struct error *err)
{
    uint64_t first;
    uint64_t last;
    if (!parse_chunk(header, &first, &last))
        return fail(err, ERR_UPLOAD_INVALID, 0,
                    "Content-Range \"%.80s\" is not FIRST-LAST with FIRST at most LAST", header);
    *out = (struct byte_range){.first = first, .size = last - first + 1};
    return ERR_OK;
}
