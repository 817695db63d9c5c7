/*
 * The endpoints of one registry host, one after the other, until one of them does what is asked:
 * its mirrors; https, then http where plain http is allowed.
 *
 * The next one is tried after an error that says nothing about the image: unauthorized, manifest or
 * name unknown, an answer that is not a registry's, a transport error. A plain-http endpoint is
 * left out once the host has spoken TLS (upstream/client/registry_host.h).
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_ENDPOINTS_H
#define SLIPWAY_UPSTREAM_CLIENT_ENDPOINTS_H

#include "upstream/client/registry_host.h"

/* `last`: no other one follows. */
typedef enum errc endpoint_work(void *self, struct endpoint *endpoint, bool last,
                                struct error *err);

/* The error is the last one that says something about the image; else the last one from where a
 * registry is known to be; else the last one. */
enum errc endpoints_try(struct registry_host *host, endpoint_work *work, void *self,
                        struct error *err);

/* The way there failed; nothing was said by a registry. */
bool is_transport_error(enum errc code);

#endif
