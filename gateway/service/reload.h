/*
 * The configuration while the gateway runs: read again on SIGHUP, on POST /v1/reload, and when its
 * file, or a file of passwords or certificates that it names, is another one.
 *
 * It is read and checked as at a start. What is wrong leaves everything as it was. Else it counts
 * for what begins afterwards: a request is judged, and routed, by one configuration from its begin
 * to its end. Keys that cannot change while the gateway runs keep their values, and are named.
 *
 * Each time: the event config.reloaded or config.refused, slipway_config_reloads_total{outcome},
 * and a line in the audit stream.
 *
 * Threads: any but HTTP threads; one reload at a time, the others wait for it.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_RELOAD_H
#define SLIPWAY_GATEWAY_SERVICE_RELOAD_H

#include "base/json.h"
#include "gateway/access/requester.h"
#include "gateway/service/gateway.h"

#define RELOAD_LOOK_MS 2000

struct reload;

/* `path` (NULL: there is no file) and the gateway are borrowed. */
struct reload *reload_new(struct gateway *gateway, const char *path);
void reload_free(struct reload *reload); /* when no call runs; NULL is a no-op */

/* Who wants it: for the audit stream. */
struct reload_by {
    const char *cause;          /* for the log: "signal", "request", "file" */
    const struct requester *by; /* NULL: nobody */
};

/* *report (may be NULL) is owned: {"changed": [...], "restart": [...]}, names of keys.
 * ERR_SETTINGS: nothing has changed. */
enum errc reload_run(struct reload *reload, const struct reload_by *by, json_t **report,
                     struct error *err);

/* Every RELOAD_LOOK_MS: runs when a file has changed since the last time and does not change any
 * more. */
void reload_look(struct reload *reload);

#endif
