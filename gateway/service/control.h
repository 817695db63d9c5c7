/*
 * Who may reach what is below /v1/, by operation.
 *
 * Without a policy, what controls the gateway (list, cancel and repeat pushes, pause targets,
 * collect, check, back up) is for whoever may open the socket in the data folder, which is the user
 * that the gateway runs as, and root, and for whoever is on the gateway's own machine; everything
 * else is for all. With one, the policy says (gateway/access/policy.h): what belongs to no
 * repository is asked about as the repository "".
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_CONTROL_H
#define SLIPWAY_GATEWAY_SERVICE_CONTROL_H

#include "gateway/access/access.h"
#include "gateway/service/gateway.h"

/* The socket in the data folder, which speaks HTTP as the port does, without TLS. */
#define CONTROL_SOCKET "control.sock"

/* `anywhere`: in some repository is enough, the handler asks about which. False: `reply` has the
 * refusal. */
bool control_admits(const struct gateway *gateway, const struct request *request,
                    enum operation operation, bool anywhere, struct reply *reply);

#endif
