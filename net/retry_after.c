#include "net/retry_after.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A date is the server's, so is the time it is compared with, if the answer has one. */
static int64_t until_s(const struct http_response *response, time_t date, int64_t now_s)
{
    const char *text = http_header(response, "Date");
    time_t theirs = text ? curl_getdate(text, NULL) : (time_t)-1;
    int64_t from_s = theirs == (time_t)-1 ? now_s : (int64_t)theirs;
    return date > from_s ? (int64_t)date - from_s : 0;
}

static int64_t seconds_of(const struct http_response *response, const char *text, int64_t now_s)
{
    char *end = NULL;
    errno = 0;
    long seconds = strtol(text, &end, 10);
    if (end != text && end[strspn(end, " \t")] == '\0')
        return errno == ERANGE ? RETRY_AFTER_MAX_S : seconds;
    time_t date = curl_getdate(text, NULL);
    if (date == (time_t)-1)
        return -1;
    return until_s(response, date, now_s);
}

int64_t retry_after_ms(const struct http_response *response, int64_t now_s)
{
    const char *text = http_header(response, "Retry-After");
    if (text == NULL || text[0] == '\0')
        return -1;
    int64_t seconds = seconds_of(response, text, now_s);
    if (seconds < 0)
        return -1;
    return 1000 * (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S);
}
