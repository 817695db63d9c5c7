/*
 * The `mirrors` of the configuration: a list in which each entry has the pattern `match` and a list
 * `to` of targets; a target is a text, or an object {"target", "required"}.
 *
 * Patterns are checked here, so that what is wrong with one stops the start and not a push: no
 * empty components, no run of more than two stars, no characters that no name may have (of `match`
 * the first component may be a host with a port). A target begins with a host without wildcards and
 * has neither tag nor digest, and no more wildcards of either kind than `match`: there would be
 * nothing for them to stand for.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_MIRRORS_H
#define SLIPWAY_CONFIG_SETTINGS_MIRRORS_H

#include "config/settings_table.h"

/* What was read before a failure is in `settings`, for setting_mirrors_clear(). ERR_SETTINGS, with
 * a path like "mirrors[2].to[1].required", counted from 0. */
enum errc setting_mirrors_read(struct settings *settings, const json_t *value,
                               const struct setting_origin *origin, struct error *err);

/* The list as it would stand in the file, owned. */
json_t *setting_mirrors_print(const struct settings *settings);

void setting_mirrors_clear(struct settings *settings);

#endif
