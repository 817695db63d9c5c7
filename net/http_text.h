/*
 * What a server says, for people: the one way from an answer into an error, and so into the log,
 * the answers of the gateway and the terminal.
 *
 * Servers repeat what they were sent, some the whole request, and some in the URLs that they lead
 * to. The secrets of a request, and of those that led to it, travel with its response, and are
 * struck out of each text that is taken from it or has its URL: the credentials of Authorization as
 * they were sent, the password within Basic, and what else the request named.
 */
#ifndef SLIPWAY_NET_HTTP_TEXT_H
#define SLIPWAY_NET_HTTP_TEXT_H

#include "base/error.h"

/* A shorter one is part of many words, and striking it out of them would tell it. */
#define HTTP_SECRET_BYTES_MIN 4
/* The same for texts that have words of ours beside those of the server. */
#define HTTP_SECRET_AMONG_WORDS_BYTES_MIN 8
#define HTTP_SECRETS_MAX 16
#define HTTP_SECRETS_KEPT 4 /* the first ones; of the others the oldest make room */

struct http_secrets {
    char *items[HTTP_SECRETS_MAX]; /* owned */
    size_t count;
};

/* Those of the field value `authorization`, and `other`; both may be NULL. Copied. */
void http_secrets_add(struct http_secrets *secrets, const char *authorization, const char *other);
/* The password in the URL of a proxy, as it is and as it is sent. */
void http_secrets_add_proxy(struct http_secrets *secrets, const char *proxy);
/* What the query of a URL may have that opens what it leads to: its long values, but for those that
 * slipway puts there itself. */
void http_secrets_add_query(struct http_secrets *secrets, const char *url);
void http_secrets_add_all(struct http_secrets *secrets, const struct http_secrets *more);
/* Wipes them. */
void http_secrets_deinit(struct http_secrets *secrets);

/* `size` bytes of an answer as one line: blanks and control characters become one space, a secret
 * "***", also one that the end of the bytes cuts. Cut to fit; ends with NUL. */
void http_text(const struct http_secrets *secrets, const char *from, size_t size, char *to,
               size_t capacity);

/* The same for a text that has words of the server among ours, or one of its URLs; it is cut to
 * fit.
 */
void http_text_strike(const struct http_secrets *secrets, char *text, size_t capacity);
void http_text_clean(const struct http_secrets *secrets, struct error *err);

#endif
