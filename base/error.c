#include "base/error.h"

#include "base/net.h"
#include "base/utf8.h"

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

static void make_presentable(char *text)
{
    net_hide_userinfo(text);
    bool control = false;
    for (char *at = text; *at;) {
        size_t size = utf8_next(at, &control);
        if (size == 0)
            *at = '?';
        else if (control)
            memset(at, ' ', size);
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
    err->hints = 0;
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
    err->hints = 0;
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
        [PARTY_REGISTRY] = "registry", [PARTY_NETWORK] = "network", [PARTY_OPERATOR] = "operator",
    };
    return names[party];
}
