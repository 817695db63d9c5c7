/*
 * What a check (store/check.h) has found, as GET /v1/check and `slipway check --json` give it; the
 * shape is described in docs/openapi.yaml. A report lists CHECK_LISTED_MAX problems and counts all.
 *
 * One thread at a time.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_CHECK_REPORT_H
#define SLIPWAY_GATEWAY_SERVICE_CHECK_REPORT_H

#include "base/json.h"
#include "store/check.h"

#define CHECK_LISTED_MAX 1000

struct check_report {
    const char *state; /* "none", "running", "done", "cancelled", "failed" */
    bool repair;
    struct check_counts counts;
    struct error error; /* why it failed */
    json_t *problems;   /* owned: check_report_deinit() */
};

void check_report_init(struct check_report *report, bool repair);
void check_report_deinit(struct check_report *report);
/* As check_options.found, with the report as its `self`. */
void check_report_found(void *report, const struct check_problem *problem);
/* Owned. */
json_t *check_report_json(const struct check_report *report);

#endif
