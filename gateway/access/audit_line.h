/*
 * One event of the audit stream as its line. Pure; any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_AUDIT_LINE_H
#define SLIPWAY_GATEWAY_ACCESS_AUDIT_LINE_H

#include "gateway/access/audit_event.h"

#define AUDIT_SCHEMA 1
#define AUDIT_CLAIMS_MAX 4096 /* bytes; what is longer is left out */

/* JSON in printable ASCII and its end of line, owned. `time` is the event's. */
char *audit_line(const struct audit_event *event, const char *id, const char *time);

#endif
