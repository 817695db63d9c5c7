/*
 * Who may do what, where: the rules of `policy` in the configuration, compiled once and never
 * changed; a changed configuration makes another one.
 *
 * Two questions are asked, each by itself: may WHO do OPERATION in REPOSITORY (rules that have
 * `repositories`), and may WHO push to TARGET (rules that have `targets`). For each, the first rule
 * that matches decides: it allows, or refuses with `deny`; none is a refusal. A rule may have both
 * lists, and stands in both questions then. In the question of targets, a rule counts only where
 * its `may` has "push" (or is left out, or "*").
 *
 * WHO is a name ("ann", "robot:ci-a", "ci-app", "cert:..."), a group (clients.groups, or one that a
 * mapping gave), "anonymous" (only who has shown nothing), or "authenticated" (everybody else).
 * Patterns of repositories and targets are those of mirrors (base/pattern.h): `*` within a
 * component, `**` across. What belongs to no repository (the operator's operations) is asked about
 * as the repository "", which `**` matches.
 *
 * An operator (IDENTITY_OPERATOR) may do everything. Without `policy` in the configuration there is
 * no policy: NULL, which allows everything to everybody.
 *
 * Pure; any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_POLICY_H
#define SLIPWAY_GATEWAY_ACCESS_POLICY_H

#include "config/settings_types.h"
#include "gateway/access/identity.h"
#include "image/reference.h"

enum operation {
    OPERATION_PULL,
    OPERATION_PUSH,
    OPERATION_DELETE,
    OPERATION_TAG_MOVE, /* put a tag that is there and points to another manifest */
    OPERATION_QUEUE_READ,
    OPERATION_QUEUE_CONTROL,
    OPERATION_ADMIN, /* collect, check, back up, robots, reload */
};
#define OPERATION_COUNT 7

/* "pull", "push", "delete", "tag:move", "queue:read", "queue:control", "admin". */
const char *operation_name(enum operation operation);
bool operation_by_name(const char *name, enum operation *out);

struct policy;

/* `settings` is borrowed until policy_free(). NULL where it has no `policy`. */
struct policy *policy_new(const struct settings *settings);
void policy_free(struct policy *policy); /* NULL is a no-op */

struct policy_verdict {
    bool allowed;
    int rule; /* its number in the configuration, from 1; 0: none matched, or there is no policy */
};

struct policy_verdict policy_may(const struct policy *policy, const struct identity *who,
                                 enum operation operation, const char *repository);

/* May it push there? The target is judged by its canonical name: the host in lower case, without a
 * dot at its end and without the port that a scheme implies (443, and 80), an IPv4 address in
 * dotted form also where it is mapped into IPv6 or written otherwise, an IPv6 address in its
 * shortest form, all names of Docker Hub as docker.io, with "library/". The hosts of rules that are
 * written out are brought to that form, too. Tag and digest do not count. */
struct policy_verdict policy_may_push_to(const struct policy *policy, const struct identity *who,
                                         const struct reference *target);

/* Is this host (with or without a port) written out, without a wildcard, in the targets of a rule
 * that allows? Private addresses are targets only then, or where registries or mirrors name them.
 * False without a policy. */
bool policy_names_host(const struct policy *policy, const char *host);

/* Is there any repository in which it may do this? For the challenge of a wider token, and lists.
 * Where denials leave of a rule only names with more than four components for its `**`, it says
 * no. */
bool policy_may_anywhere(const struct policy *policy, const struct identity *who,
                         enum operation operation);

/* Is there any target to which a rule lets it push? */
bool policy_may_push_somewhere(const struct policy *policy, const struct identity *who);

/* The canonical name of a target, HOST/REPOSITORY; owned. */
char *policy_target_name(const struct reference *target);

#endif
