/*
 * What a backup (store/backup.h) has become, as POST /v1/backup and `slipway backup --json` give
 * it:
 * {"path", "blobs", "bytes", "missing"}; docs/openapi.yaml, Backup.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_BACKUP_REPORT_H
#define SLIPWAY_GATEWAY_SERVICE_BACKUP_REPORT_H

#include "base/json.h"
#include "config/settings_types.h"
#include "store/backup.h"

/* store_backup(), logged; *out is owned. Its errors. */
enum errc backup_run(const struct settings *settings, struct store *store,
                     const struct cancel *cancel, json_t **out, struct error *err);

#endif
