/*
 * What one configuration says about clients: its policy, its sources of identities, its token
 * endpoint. A reload makes another one, and both may be asked at the same time: a request is judged
 * by the one that there was when it began, to its end.
 *
 *     rules_new -> { rules_ref, rules_unref } -> rules_unref
 *
 * Users, their logins and identity providers go over to the next one where what the configuration
 * says of them is the same, so that a reload has nobody log in again.
 *
 * Any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_RULES_H
#define SLIPWAY_GATEWAY_ACCESS_RULES_H

#include "config/settings.h"
#include "gateway/access/identity_sources.h"
#include "gateway/access/policy.h"
#include "gateway/access/token_endpoint.h"

#include <stdatomic.h>

struct rules {
    atomic_uint references;
    const struct settings *settings; /* a reference */
    struct policy *policy;           /* there is one */
    struct identity_sources *sources;
    struct sources interface;
    struct token_endpoint tokens;
};

/* All are borrowed until the last of the rules is gone. */
struct rules_parts {
    struct store *store;
    struct jobs *jobs;
    struct audit *audit; /* NULL: there is none */
    struct token_keys *keys;
    const char *issuer;
};

/* Of settings that have a policy. `before` (may be NULL) are those in whose place they come.
 * ERR_SETTINGS: a file that the settings name cannot be used. */
enum errc rules_new(const struct settings *settings, const struct rules_parts *parts,
                    const struct rules *before, struct rules **out, struct error *err);
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules *rules); /* NULL is a no-op */

static inline void rules_cleanup(struct rules **rules)
{
    rules_unref(*rules);
}
#define autorules __attribute__((cleanup(rules_cleanup)))

#endif
