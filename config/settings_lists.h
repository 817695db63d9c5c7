/*
 * Values that are several texts: lists, objects whose values are lists, and choices of which
 * several hold. settings_value.c calls these for the rows of such types; errors (ERR_SETTINGS) say
 * what is wrong with the value, not where it stands.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_LISTS_H
#define SLIPWAY_CONFIG_SETTINGS_LISTS_H

#include "config/settings_table.h"

/* A string of `least` to `most` bytes without control characters, borrowed from `value`. */
enum errc setting_take_text(const json_t *value, uint64_t least, uint64_t most, const char **text,
                            struct error *err);

/* In place of what was there; untouched on failure. */
enum errc setting_list_set(const struct setting_row *row, struct setting_list *member,
                           const json_t *value, struct error *err);
enum errc setting_lists_set(const struct setting_row *row, struct setting_lists *member,
                            const json_t *value, struct error *err);
/* Bit i stands for choices[i]; the choice "*", the last if there is one, for all before it. */
enum errc setting_choices_set(const struct setting_row *row, unsigned *member, const json_t *value,
                              struct error *err);

/* As they would stand in the file, owned; NULL when empty. */
json_t *setting_list_get(const struct setting_list *list);
json_t *setting_lists_get(const struct setting_lists *lists);
json_t *setting_choices_get(const struct setting_row *row, unsigned bits);

/* Choices as they stand in a row's default, "a, b", as a list; owned. */
json_t *setting_choices_split(const char *text);

void setting_list_clear(struct setting_list *list);
void setting_lists_clear(struct setting_lists *lists);

#endif
