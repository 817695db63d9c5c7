/*
 * Under which name a target is judged: whoever writes it in another way means the same machine, and
 * gets past no rule with it. policy.h says what the canonical form is. Pure functions.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_TARGET_NAME_H
#define SLIPWAY_GATEWAY_ACCESS_TARGET_NAME_H

#include <stddef.h>

/* The canonical form of a host with or without a port; what is no host (a pattern of one, say) is
 * brought to lower case only. Owned. */
char *target_host(const char *host, size_t size);

/* HOST/REPOSITORY of a registry's host and a repository there. Owned. */
char *target_name(const char *registry, const char *path);

/* A pattern of targets whose host has the canonical form; a wildcard in the host stays, a port that
 * a scheme implies goes. Owned. */
char *target_pattern(const char *pattern);

#endif
