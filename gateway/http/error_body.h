/*
 * The body of a refusal, in the OCI form of errors (distribution-spec, "Error Codes"):
 *
 *     {"errors":[{"code","message","detail":{"party"}}]}
 *
 * Returned text is owned (free()).
 */
#ifndef SLIPWAY_GATEWAY_HTTP_ERROR_BODY_H
#define SLIPWAY_GATEWAY_HTTP_ERROR_BODY_H

#include "base/json.h"

char *error_body(const struct error *err);

/* The same with another code than the error's own. */
char *error_body_as(const char *code, const struct error *err);

/* The same as error_body() with more members in "detail", which is taken. */
char *error_body_with(const struct error *err, json_t *detail);

#endif
