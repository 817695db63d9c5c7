/*
 * Which slipway this is, for `slipway version` and GET /v1/version.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_VERSION_H
#define SLIPWAY_GATEWAY_SERVICE_VERSION_H

/* {"version", "libraries":{...}}; owned (free()). */
char *version_json(void);

#endif
