/*
 * POST /v1/reload: the configuration is read again (gateway/service/reload.h), and the answer says
 * what came of it.
 */
#ifndef SLIPWAY_GATEWAY_API_RELOAD_H
#define SLIPWAY_GATEWAY_API_RELOAD_H

#include "gateway/service/handler.h"

route_handler reload_post;

#endif
