/*
 * What is said of a wait for a registry: for what, and until when. Many transfers, to many targets,
 * wait for the same thing at nearly the same time; whoever is told gets it said once, with the
 * longest of them if that is much longer.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_REGISTRY_WAIT_H
#define SLIPWAY_UPSTREAM_CLIENT_REGISTRY_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#define REGISTRY_WAIT_REASON_MAX 400
#define REGISTRY_WAIT_TEXT_MAX 800
#define REGISTRY_WAITS_TOLD 8 /* registries; of more the oldest is forgotten */

struct registry_wait {
    const char *registry; /* borrowed from its host */
    char reason[REGISTRY_WAIT_REASON_MAX];
    int64_t until_ms; /* clock_ms() */
};

/* What one receiver was told. Zeroed is nothing; under the receiver's lock. */
struct registry_waits {
    struct {
        char registry[256];
        int64_t until_ms;
    } told[REGISTRY_WAITS_TOLD];
    unsigned next;
};

/* True when it was not told yet: then `text` is one line for a person. `wait` NULL: nothing. */
bool registry_waits_tell(struct registry_waits *waits, const struct registry_wait *wait,
                         char text[REGISTRY_WAIT_TEXT_MAX]);

#endif
