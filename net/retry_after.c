#include "net/retry_after.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int64_t seconds_of(const char *text, int64_t now_s)
{
    char *end = NULL;
    errno = 0;
    long seconds = strtol(text, &end, 10);
    if (end != text && end[strspn(end, " \t")] == '\0')
        return errno == ERANGE ? RETRY_AFTER_MAX_S : seconds;
    time_t date = curl_getdate(text, NULL);
    if (date == (time_t)-1)
        return -1;
    return date > now_s ? (int64_t)date - now_s : 0;
}

int64_t retry_after_ms(const struct http_response *response, int64_t now_s)
{
    const char *text = http_header(response, "Retry-After");
    if (text == NULL || text[0] == '\0')
        return -1;
    int64_t seconds = seconds_of(text, now_s);
    if (seconds < 0)
        return -1;
    return 1000 * (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S);
}
