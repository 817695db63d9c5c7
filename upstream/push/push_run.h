/*
 * One run: the endpoints of a registry host, one after the other, until one of them takes what is
 * brought there: an image, or a blob that leaves before its manifest.
 *
 * At each endpoint: is there a registry (registry_ping)? A registry that says "later" is waited
 * for. Where nobody answers the next endpoint is tried: after an error that says nothing about the
 * image (unauthorized, manifest or name unknown, an answer that is not a registry's, a transport
 * error, or 502, 503 or 504). A plain-http endpoint is left out once the host has spoken TLS
 * (upstream/client/registry_host.h). When all have been tried and none could be reached, but one of
 * them has answered before, or accepted a connection, the registry is away: it is waited for, and
 * all are tried again. Where no registry has ever answered, one run at a time asks; the others
 * share the failure.
 *
 * A run is a work in its host's queue of pushes or early uploads, held from its beginning to its
 * end, and takes its steps in the host's queue of requests.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_RUN_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_RUN_H

#include "upstream/push/push_job.h"

/* Never blocks. The job's options are copied. */
void push_run_start(const struct push_job *job);

#endif
