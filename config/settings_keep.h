/*
 * `keep.rules` of the configuration: a list of objects {"match", "tags", "last", "age"}, of which
 * "match" has to be there. store/collect.h says what a rule keeps; its patterns are those of
 * base/pattern.h.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_KEEP_H
#define SLIPWAY_CONFIG_SETTINGS_KEEP_H

#include "config/settings_table.h"

/* ERR_SETTINGS names the key's path, like "keep.rules[1].match", counted from 0. What was read
 * stays in `settings`: setting_keep_clear(). */
enum errc setting_keep_read(struct settings *settings, const json_t *value,
                            const struct setting_origin *origin, struct error *err);

/* The list as it would stand in the file, owned. */
json_t *setting_keep_print(const struct settings *settings);

void setting_keep_clear(struct settings *settings);

#endif
