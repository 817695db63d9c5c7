/*
 * An HTTP server for unit tests that does what no real registry can be made to do: scripted
 * statuses, lost answers, closed connections, stalls. Registries that can be had for real are used
 * for real, in tests/integration.
 *
 * One thread accepts, one a connection serves; the handler is called on those threads, several at
 * once. Every request is noted as "METHOD path" (without query) plus " auth" when it carried
 * Authorization.
 */
#ifndef SLIPWAY_TESTS_HTTP_DOUBLE_H
#define SLIPWAY_TESTS_HTTP_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>

struct double_request {
    char method[16];
    char path[2048];           /* without query */
    char query[8192];          /* "" when none */
    char authorization[16384]; /* "" when none */
    char content_type[256];
    char content_range[64]; /* "" when none */
    bool sized;             /* it has a Content-Length, and no transfer coding */
    char *body;             /* NUL-terminated; NULL for DOUBLE_STALL */
    size_t body_size;
    int connection; /* for http_double_has_gone() */
};

struct double_answer {
    int status;
    char headers[131072]; /* "Name: value\r\n" lines */
    char body[16384];
    bool drop;  /* close the connection without an answer */
    bool close; /* answer, then close without having said so */
};

struct http_double;

/* `handle` fills the answer (zeroed, status 200). */
struct http_double *http_double_start(void (*handle)(void *self, const struct double_request *,
                                                     struct double_answer *),
                                      void *self);
void http_double_stop(struct http_double *server);

unsigned http_double_port(const struct http_double *server);

/* For handlers: whoever asks has closed the connection, and does not wait for the answer. */
bool http_double_has_gone(const struct double_request *request);

/* From now on bodies of requests with this method are not read any further than their first bytes:
 * the connection hangs until the client gives up. NULL ends it. */
void http_double_stall(struct http_double *server, const char *method);

/* How many noted requests begin with `prefix`. */
size_t http_double_count(struct http_double *server, const char *prefix);

/* The same, when it has come to `want`: what is told when nobody waits comes a moment later. What
 * it is after 20 s, else. */
size_t http_double_await(struct http_double *server, const char *prefix, size_t want);

/* The position of the first noted request that begins with `prefix`, -1 when there is none. */
long http_double_position(struct http_double *server, const char *prefix);

/* How many connections were accepted, once it has come to `want`; what it is after 20 s, else. */
size_t http_double_connections(struct http_double *server, size_t want);

/* The same of those that have ended, by either side. */
size_t http_double_ended(struct http_double *server, size_t want);

/* Close all connections that were accepted so far. */
void http_double_hang_up(struct http_double *server);

/* The most requests that were being served at one time. */
unsigned http_double_most_at_once(struct http_double *server);

#endif
