#include "tests/unit/config/settings_cases.h"

#include "config/settings_table.h"
#include "config/settings_text.h"

static const struct {
    const char *prefix;
    const struct setting_row *rows;
    const size_t *count;
} tables[] = {
    {"", settings_rows, &settings_row_count},
    {"registries.HOST.", registry_rows, &registry_row_count},
    {"mirrors[].", mirror_rows, &mirror_row_count},
    {"mirrors[].to[].", mirror_target_rows, &mirror_target_row_count},
    {"keep.rules[].", keep_rows, &keep_row_count},
    {"clients.oidc[].", oidc_rows, &oidc_row_count},
    {"clients.oidc[].mappings[].", mapping_rows, &mapping_row_count},
    {"policy[].", policy_rows, &policy_row_count},
};
static const size_t table_count = sizeof tables / sizeof tables[0];

static const char *documentation(char **owned)
{
    const char *file = __FILE__;
    const char *tests = strstr(file, "tests/unit/config/");
    assert_non_null(tests);
    autofree char *path = xasprintf("%.*sdocs/configuration.md", (int)(tests - file), file);
    size_t size;
    struct error err = ERROR_INIT;
    if (file_read_all(path, (size_t)1 << 20, owned, &size, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return *owned;
}

/* The row of the page's table that describes the key names its default and its limits. */
static void expect_described(const char *page, const char *prefix, const struct setting_row *row)
{
    autofree char *begin = xasprintf("\n| `%s%s` | ", prefix, row->path);
    const char *at = strstr(page, begin);
    if (at == NULL)
        fail_msg("docs/configuration.md does not describe %s%s", prefix, row->path);
    autofree char *line = xstrndup(at + 1, strcspn(at + 1, "\n"));
    if (row->initial != NULL && strstr(line, row->initial) == NULL)
        fail_msg("\"%s\" does not name the default %s", line, row->initial);
    for (size_t i = 0; row->choices != NULL && row->choices[i] != NULL; i++) {
        autofree char *choice = xasprintf("`%s`", row->choices[i]);
        if (strstr(line, choice) == NULL)
            fail_msg("\"%s\" does not name %s", line, choice);
    }
    char least[SETTING_SIZE_TEXT_MAX];
    char most[SETTING_SIZE_TEXT_MAX];
    autofree char *limits = NULL;
    if (row->type == SETTING_SIZE)
        limits = xasprintf("| %s to %s |", setting_size_text(row->least, least),
                           setting_size_text(row->most, most));
    else if (row->type == SETTING_DURATION)
        limits = xasprintf("| %s to %s%s%s%s|", setting_duration_text(row->least, least),
                           setting_duration_text(row->most, most), row->choices ? ", or `" : " ",
                           row->choices ? row->choices[0] : "", row->choices ? "` " : "");
    else if (row->most > 0)
        limits = xasprintf("%ju to %ju", (uintmax_t)row->least, (uintmax_t)row->most);
    if (limits != NULL && strstr(line, limits) == NULL)
        fail_msg("\"%s\" does not name the limits %s", line, limits);
}

static void every_key_is_described(void **state)
{
    (void)state;
    autofree char *page = NULL;
    documentation(&page);
    for (size_t i = 0; i < table_count; i++)
        for (size_t j = 0; j < *tables[i].count; j++)
            expect_described(page, tables[i].prefix, &tables[i].rows[j]);
}

static bool is_key(const char *key)
{
    for (size_t i = 0; i < table_count; i++) {
        size_t size = strlen(tables[i].prefix);
        if (strncmp(key, tables[i].prefix, size) == 0 &&
            setting_find(tables[i].rows, *tables[i].count, key + size))
            return true;
    }
    return false;
}

/* ... and no other. */
static void every_described_key_is_one(void **state)
{
    (void)state;
    autofree char *page = NULL;
    size_t described = 0;
    for (const char *at = documentation(&page); (at = strstr(at, "\n| `")) != NULL; at++) {
        autofree char *key = xstrndup(at + 4, strcspn(at + 4, "`"));
        if (!is_key(key))
            fail_msg("docs/configuration.md describes %s, which is no key", key);
        described++;
    }
    size_t keys = 0;
    for (size_t i = 0; i < table_count; i++)
        keys += *tables[i].count;
    assert_int_equal(described, keys);
}

/* The example of the page is a configuration. */
static void the_example_is_taken(void **state)
{
    (void)state;
    autofree char *page = NULL;
    const char *at = strstr(documentation(&page), "```json\n");
    assert_non_null(at);
    const char *end = strstr(at + 8, "```");
    assert_non_null(end);
    autofree char *text = xstrndup(at + 8, (size_t)(end - at - 8));
    free(write_text("r.example.com.password", "hunter2\n"));
    setenv("DOCKER_HUB_TOKEN", "hunter2", 1);
    autofree char *path = write_text("example.json", text);
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    if (settings_load(path, &settings, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(settings->registry_count, 3);
    assert_int_equal(settings->mirror_count, 2);
    assert_int_equal(settings_check(settings, &err), ERR_OK);
    settings_free(settings);
    unsetenv("DOCKER_HUB_TOKEN");
}

static void the_help_has_every_key(void **state)
{
    (void)state;
    autofree char *help = settings_describe();
    for (size_t i = 0; i < table_count; i++)
        for (size_t j = 0; j < *tables[i].count; j++)
            assert_non_null(strstr(help, tables[i].rows[j].prose));
    assert_non_null(strstr(help, "\nlimits.uploads (1 to 1024; default 16)\n    "));
    assert_non_null(strstr(help, "\nlog.format (text, json; default text)\n    "));
    assert_non_null(strstr(help, "\nregistries.HOST.chunk (64KiB to 5GiB; default 95MiB)\n    "));
    assert_non_null(strstr(help, "\nregistries.HOST.endpoints (list of 1 to 16 URLs)\n    "));
    assert_non_null(strstr(help, "\nmirrors[].acknowledge (pushed, stored; default pushed)\n    "));
    assert_non_null(strstr(help, "\nmirrors[].to[].required (true, false; default true)\n    "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_described),
        cmocka_unit_test(every_described_key_is_one),
        cmocka_unit_test(the_example_is_taken),
        cmocka_unit_test(the_help_has_every_key),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
