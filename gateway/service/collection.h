/*
 * Collection as the configuration says it (store/collect.h): once, and what is told of it.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_COLLECTION_H
#define SLIPWAY_GATEWAY_SERVICE_COLLECTION_H

#include "base/json.h"
#include "config/settings_types.h"
#include "store/collect.h"

/* As store_collect(), by `keep` of the settings; ERR_COLLECTING when one runs already. Logs what
 * came of it, unless it is a dry run. */
enum errc collection_run(const struct settings *settings, struct store *store, bool dry_run,
                         const struct cancel *cancel, struct collect_report *out,
                         struct error *err);

/* What POST /v1/gc answers (docs/openapi.yaml, Collection); owned. */
json_t *collection_json(const struct collect_report *report, bool dry_run);

#endif
