/*
 * A table for a terminal: columns as wide as what is in them, two spaces between, the last one as
 * long as its text. One thread.
 */
#ifndef SLIPWAY_GATEWAY_CLI_TABLE_H
#define SLIPWAY_GATEWAY_CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

struct table {
    size_t columns;
    size_t count; /* cells */
    size_t room;
    char **cells; /* owned */
};

/* `head` has a text for each column; more than TABLE_COLUMNS_MAX is a programmer's error. */
void table_init(struct table *table, const char *const *head, size_t columns);
void table_deinit(struct table *table);

/* The next cell of the row, copied; NULL is "-". The first of a row begins it. */
void table_add(struct table *table, const char *text);

/* All rows under their head; nothing when there is no row. */
void table_print(const struct table *table, FILE *out);

#endif
