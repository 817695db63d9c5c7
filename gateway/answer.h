/*
 * What the API says, as JSON text: the push object and the OCI error form. The shapes are described
 * in docs/openapi.yaml. Returned text is owned (free()).
 */
#ifndef SLIPWAY_GATEWAY_ANSWER_H
#define SLIPWAY_GATEWAY_ANSWER_H

#include "gateway/archive_push.h"

/* {"errors":[{"code","message","detail":{"party"}}]} */
char *answer_error(const struct error *err);

/* The push object of a report that has results. */
char *answer_report(const struct push_report *report);

/* {"version", "libraries":{...}} */
char *answer_version(void);

#endif
