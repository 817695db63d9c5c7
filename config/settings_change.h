/*
 * From one configuration to the next, while the gateway runs: what differs, and what of it needs a
 * restart. docs/configuration.md marks those keys.
 *
 * Any thread; the settings that change belong to the caller alone.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_CHANGE_H
#define SLIPWAY_CONFIG_SETTINGS_CHANGE_H

#include "base/json.h"
#include "config/settings_types.h"

/* Give `next` the values that `now` has of all keys that cannot change without a restart. Owned: an
 * array with the names of those that were to change, but for those that the command line
 * gives. */
json_t *settings_keep_fixed(struct settings *next, const struct settings *now);

/* Owned: an array with the names of the keys that differ, lists and "registries" as one. A file
 * that is named as before and is another one by now counts for "registries". */
json_t *settings_changes(const struct settings *now, const struct settings *next);

#endif
