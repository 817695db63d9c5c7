/*
 * Who may control the gateway, and where it is controlled.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_CONTROL_H
#define SLIPWAY_GATEWAY_SERVICE_CONTROL_H

/* The socket in the data folder that its administrator's commands use. */
#define CONTROL_SOCKET "control.sock"

#endif
