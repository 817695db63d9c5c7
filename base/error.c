#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    bool retry;
    enum party party;
} table[] = {
#define X(code, name, status, retry, party) [code] = {name, status, retry, party},
    ERROR_TABLE(X)
#undef X
};

static enum errc refine(enum errc code, int sys)
{
    if (code != ERR_IO)
        return code;
    if (sys == ENOSPC || sys == EDQUOT)
        return ERR_NO_SPACE;
    return sys == ENOMEM ? ERR_MEMORY : code;
}

/* The bytes of the UTF-8 character at `at` (RFC 3629: no overlong forms, no surrogates), 0 when it
 * is none. The text ends with NUL, which is no continuation byte, so nothing is read past it. */
static size_t utf8_size(const unsigned char *at)
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

static void make_presentable(char *text)
{
    unsigned char *at = (unsigned char *)text;
    while (*at) {
        size_t size = utf8_size(at);
        if (size == 0)
            *at = '?';
        else if (*at < 0x20 || *at == 0x7f)
            *at = ' ';
        at += size ? size : 1;
    }
}

enum errc fail(struct error *err, enum errc code, int sys, const char *format, ...)
{
    assert(code != ERR_OK && code < ERR_COUNT_);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (sys != 0 && n >= 0 && (size_t)n < sizeof err->text) {
        char reason[128];
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s",
                 strerror_r(sys, reason, sizeof reason));
    }
    make_presentable(err->text);
    err->code = refine(code, sys);
    err->sys = sys;
    err->status = 0;
    return err->code;
}

enum errc error_wrap(struct error *err, const char *format, ...)
{
    assert(err->code != ERR_OK);
    char inner[ERROR_TEXT_MAX];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", inner);
    make_presentable(err->text);
    return err->code;
}

void error_clear(struct error *err)
{
    err->code = ERR_OK;
    err->sys = 0;
    err->status = 0;
    err->text[0] = '\0';
}

const char *error_name(enum errc code)
{
    assert(code < ERR_COUNT_);
    return table[code].name;
}

enum errc error_by_name(const char *name)
{
    for (int code = 0; code < ERR_COUNT_; code++)
        if (strcmp(table[code].name, name) == 0)
            return (enum errc)code;
    return ERR_INTERNAL;
}

int error_http_status(enum errc code)
{
    assert(code < ERR_COUNT_);
    return table[code].status;
}

bool error_retriable(enum errc code)
{
    assert(code < ERR_COUNT_);
    return table[code].retry;
}

enum party error_party(enum errc code)
{
    assert(code < ERR_COUNT_);
    return table[code].party;
}

const char *party_name(enum party party)
{
    static const char *const names[] = {
        [PARTY_NONE] = "none",         [PARTY_CLIENT] = "client",   [PARTY_GATEWAY] = "gateway",
        [PARTY_REGISTRY] = "registry", [PARTY_NETWORK] = "network",
    };
    return names[party];
}
