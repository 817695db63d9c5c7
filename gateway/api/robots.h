/*
 * GET and POST /v1/robots, DELETE /v1/robots/NAME, POST /v1/robots/NAME/disable
 * (docs/openapi.yaml).
 */
#ifndef SLIPWAY_GATEWAY_API_ROBOTS_H
#define SLIPWAY_GATEWAY_API_ROBOTS_H

#include "gateway/service/handler.h"

route_handler robots_list;
route_handler robots_post;
route_handler robot_delete;
route_handler robot_disable;

#endif
