/*
 * Who may control the gateway: list, cancel and repeat pushes, pause targets, collect, check.
 *
 * That is whoever may open the socket in the data folder, which is the user that the gateway runs
 * as, and root; and, until clients have identities, whoever is on the gateway's own machine.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_CONTROL_H
#define SLIPWAY_GATEWAY_SERVICE_CONTROL_H

#include "gateway/http/request.h"

/* The socket in the data folder, which speaks HTTP as the port does, without TLS. */
#define CONTROL_SOCKET "control.sock"

/* ERR_FORBIDDEN for who may not. Pure. */
enum errc control_check(const struct request *request, struct error *err);

#endif
