/*
 * Patterns of the configuration, as base/pattern.h matches them: what is wrong with one
 * stops the start. ERR_SETTINGS says what is wrong, not where it stands.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_PATTERN_H
#define SLIPWAY_CONFIG_SETTINGS_PATTERN_H

#include "base/error.h"

#include <stddef.h>

/* How many wildcards of each kind a pattern has. */
struct setting_wildcards {
    size_t single; /* * */
    size_t deep;   /* ** */
};

/* Of repositories: no empty component, no run of more than two stars, no character that no name
 * has but, in the first component, those of `first_also`. */
enum errc setting_pattern_check(const char *pattern, const char *first_also,
                                struct setting_wildcards *out, struct error *err);

/* Of targets, HOST/REPOSITORY without tag and digest: a host that is written out, or one with
 * wildcards, which has one port at most. One without a slash needs "**". */
enum errc setting_target_pattern_check(const char *target, struct setting_wildcards *out,
                                       struct error *err);

/* Of anything else that has a name: letters, digits, ".", "_", "-", stars and what is in `also`. */
enum errc setting_name_pattern_check(const char *pattern, const char *also, struct error *err);

#endif
