#include "gateway/cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static char *printed(const struct table *table)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    table_print(table, out);
    fclose(out);
    return text;
}

static void test_columns(void **state)
{
    (void)state;
    static const char *const head[] = {"A", "LONG", "C"};
    static const char *const cells[] = {"first", "x", "the rest", NULL, "", "a\033b"};
    struct table table;
    table_init(&table, head, 3);
    char *empty = printed(&table);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
        table_add(&table, cells[i]);
    char *text = printed(&table);
    assert_string_equal(empty, "");
    assert_string_equal(text, "A      LONG  C\nfirst  x     the rest\n-      -     a b\n");
    free(empty);
    free(text);
    table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
