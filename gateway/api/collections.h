/*
 * POST /v1/gc: what nobody needs is collected, or is only told (store/collect.h). A job, which
 * answers with the report when it is done; docs/api.md, "Collection".
 */
#ifndef SLIPWAY_GATEWAY_API_COLLECTIONS_H
#define SLIPWAY_GATEWAY_API_COLLECTIONS_H

#include "gateway/service/handler.h"

route_handler collections_post;

#endif
