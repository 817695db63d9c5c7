/*
 * One exchange of a command with a running gateway (gateway/cli/gateway_access.h): the request, the
 * lines of an answer that streams, and what an answer means that is a refusal.
 */
#ifndef SLIPWAY_GATEWAY_CLI_GATEWAY_EXCHANGE_H
#define SLIPWAY_GATEWAY_CLI_GATEWAY_EXCHANGE_H

#include "base/json.h"
#include "gateway/cli/gateway_access.h"
#include "net/transport.h"

/* The lines of an answer in application/x-ndjson, as they come. Those that are no JSON are passed
 * over. */
struct gateway_lines {
    void (*take)(void *self, json_t *line); /* the line is borrowed */
    void *self;
};

/* transport_exchange() with the gateway, which may be silent for a day. URL, credentials and the
 * receiver of `asked` are set here; `path` begins with a slash. `lines` NULL: the whole answer is
 * collected. */
enum errc gateway_exchange(const struct gateway_access *access, const struct http_request *asked,
                           const char *path, const struct gateway_lines *lines,
                           struct http_response *response, struct error *err);

/* The answer was given to the receiver of lines. */
bool gateway_answer_streams(const struct http_response *response);

/* What an answer says that is not what was asked for, as an error: the gateway's own form of errors
 * back into its code and text, with err->status; ERR_REGISTRY_ANSWER, and err->status 0, for what
 * something else answered in its place. */
enum errc gateway_refusal(const struct gateway_access *access, const struct http_response *response,
                          struct error *err);

#endif
