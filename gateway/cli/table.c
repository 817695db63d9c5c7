#include "gateway/cli/table.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* Whoever wrote the text does not steer the terminal. */
void table_add(struct table *table, const char *text)
{
    if (table->count == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cells = xrealloc(table->cells, table->room, sizeof *table->cells);
    }
    char *cell = xstrdup(text && text[0] ? text : "-");
    for (char *at = cell; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    table->cells[table->count++] = cell;
}

void table_init(struct table *table, const char *const *head, size_t columns)
{
    assert(columns > 0 && columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){.columns = columns};
    for (size_t i = 0; i < columns; i++)
        table_add(table, head[i]);
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}

void table_print(const struct table *table, FILE *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    if (table->count <= table->columns)
        return;
    for (size_t i = 0; i < table->count; i++) {
        size_t size = strlen(table->cells[i]);
        if (size > widths[i % table->columns])
            widths[i % table->columns] = size;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        if (column + 1 == table->columns || i + 1 == table->count)
            fprintf(out, "%s\n", table->cells[i]);
        else
            fprintf(out, "%-*s  ", (int)widths[column], table->cells[i]);
    }
}
