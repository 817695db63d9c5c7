/*
 * Rules of the policy as a line for people.
 */
#ifndef SLIPWAY_GATEWAY_CLI_POLICY_TEXT_H
#define SLIPWAY_GATEWAY_CLI_POLICY_TEXT_H

#include "config/settings_types.h"

/* "ann, ops may pull, push in team/app, and push to r.x/app"; "may not" where it refuses.
 * Owned. */
char *policy_rule_text(const struct policy_setting *rule);

/* All rules with their numbers and the members of groups on stdout, a line each. */
void policy_print(const struct settings *settings);

#endif
