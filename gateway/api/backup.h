/*
 * POST /v1/backup: a copy of the store while it is in use (store/backup.h). A job, which answers
 * when it is done; docs/api.md, "Operations".
 */
#ifndef SLIPWAY_GATEWAY_API_BACKUP_H
#define SLIPWAY_GATEWAY_API_BACKUP_H

#include "gateway/service/handler.h"

route_handler backup_post;

#endif
