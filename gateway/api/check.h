/*
 * The store of a running gateway: POST /v1/check {"repair": BOOL} begins a check, GET says how far
 * it is and what it has found, DELETE ends it (gateway/service/checker.h). GET /v1/quarantine
 * (`limit`, `after`) lists what was moved out of the way (store/quarantine.h). The shapes are
 * described in docs/openapi.yaml.
 *
 * For whom control is (gateway/service/control.h). Jobs of the class JOB_BRIEF.
 */
#ifndef SLIPWAY_GATEWAY_API_CHECK_H
#define SLIPWAY_GATEWAY_API_CHECK_H

#include "gateway/service/handler.h"

#define CHECK_BODY_MAX ((size_t)4 << 10)

/* Route handlers. */
struct job *check_post(struct gateway *gateway, const struct request *request, struct reply *reply);
struct job *check_get(struct gateway *gateway, const struct request *request, struct reply *reply);
struct job *check_delete(struct gateway *gateway, const struct request *request,
                         struct reply *reply);
struct job *quarantine_get(struct gateway *gateway, const struct request *request,
                           struct reply *reply);

/* The body of the POST; an empty one asks for no repair. ERR_JSON_INVALID, ERR_JSON_TOO_LARGE,
 * ERR_BAD_REQUEST. */
enum errc check_parse(const char *data, size_t size, bool *repair, struct error *err);

#endif
