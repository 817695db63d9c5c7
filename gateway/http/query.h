/*
 * Percent-decoding of request targets (RFC 3986, 2.1 and 3.4), and queries as lists of names and
 * values. A "+" is a plus: who means a space sends %20, and media types have pluses.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_QUERY_H
#define SLIPWAY_GATEWAY_HTTP_QUERY_H

#include "base/error.h"

#define QUERY_PARAMETERS_MAX 256

struct query_parameter {
    char *name;  /* owned */
    char *value; /* owned; "" for a name alone */
};

struct query {
    struct query_parameter *items; /* owned */
    size_t count;
};

/* ERR_BAD_REQUEST: a broken escape, an encoded NUL, more than QUERY_PARAMETERS_MAX. */
enum errc query_parse(const char *text, struct query *out, struct error *err);
/* The same for a form (WHATWG URL, application/x-www-form-urlencoded), in which a "+" is a space.
 * Forms have passwords: errors quote nothing of it. */
enum errc form_parse(const char *text, struct query *out, struct error *err);
void query_deinit(struct query *query);

/* The value of the only parameter of this name; NULL when there is none; *twice (may be NULL) when
 * there are several: then the first. Borrowed. */
const char *query_value(const struct query *query, const char *name, bool *twice);

/* Decode one path segment or value of `size` bytes; owned. ERR_BAD_REQUEST as above. */
enum errc percent_decode(const char *text, size_t size, char **out, struct error *err);

#endif
