#include "config/settings_change.h"

#include "config/settings_stamp.h"
#include "tests/unit/config/settings_cases.h"

#include <stdio.h>

static void expect_names(json_t *names, const char *wanted)
{
    autofree char *text = json_compact_take(names);
    assert_string_equal(text, wanted);
}

static void what_is_fixed_keeps_its_value_and_is_named(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct settings *now = parsed("{\"limits\":{\"pushes\":7},\"ops\":{\"listen\":\"[::1]:5\"}}");
    struct settings *next =
        parsed("{\"listen\":\"127.0.0.1:6\",\"limits\":{\"free_space\":\"1GiB\","
               "\"push_time\":\"2h\"},\"mirrors\":[{\"match\":\"a\",\"to\":["
               "\"r.example.com/a\"]}]}");
    assert_int_equal(settings_override(now, "listen", "127.0.0.1:0", "--listen", &err), ERR_OK);
    expect_names(settings_keep_fixed(next, now),
                 "[\"limits.free_space\",\"limits.pushes\",\"ops.listen\"]");
    assert_string_equal(next->listen, "127.0.0.1:0");
    assert_string_equal(next->ops.listen, "[::1]:5");
    assert_int_equal(next->limits.pushes, 7);
    assert_int_equal(next->limits.free_space_bytes, 0);
    assert_int_equal(next->limits.push_ms, 7200000);
    expect_names(settings_changes(now, next), "[\"limits.push_time\",\"mirrors\"]");
    expect_names(settings_changes(now, now), "[]");
    settings_free(now);
    settings_free(next);
}

static void another_certificate_is_taken_but_not_a_first_or_last_one(void **state)
{
    (void)state;
    const char *without = "{\"tls\":{\"certificate\":\"/a\",\"key\":\"/b\"}}";
    const char *with = "{\"tls\":{\"certificate\":\"/c\",\"key\":\"/d\",\"client_ca\":\"/e\"}}";
    struct settings *now = parsed(without);
    struct settings *next = parsed(with);
    expect_names(settings_keep_fixed(next, now), "[\"tls.client_ca\"]");
    assert_string_equal(next->tls.certificate, "/c");
    assert_null(next->tls.client_ca);
    expect_names(settings_changes(now, next), "[\"tls.certificate\",\"tls.key\"]");
    settings_free(next);
    next = parsed("{}");
    expect_names(settings_keep_fixed(next, now), "[\"tls.certificate\",\"tls.key\"]");
    assert_string_equal(next->tls.certificate, "/a");
    settings_free(now);
    settings_free(next);
}

static void a_reference_keeps_them(void **state)
{
    (void)state;
    struct settings *settings = parsed("{}");
    const struct settings *again = settings_ref(settings);
    settings_free(settings);
    assert_string_equal(again->listen, "127.0.0.1:5000");
    settings_free(again);
}

static void overwrite(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void another_password_is_another_registry(void **state)
{
    (void)state;
    char path[] = "/tmp/slipway-stamp-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    autofree char *text =
        xasprintf("{\"registries\":{\"r\":{\"username\":\"u\",\"password_file\":\"%s\"}}}", path);
    overwrite(path, "one");
    struct settings *now = parsed(text);
    uint64_t before = settings_stamp(NULL, now);
    assert_true(settings_stamp(NULL, now) == before);
    overwrite(path, "three");
    assert_true(settings_stamp(NULL, now) != before);
    struct settings *next = parsed(text);
    expect_names(settings_changes(now, next), "[\"registries\"]");
    settings_free(now);
    settings_free(next);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_fixed_keeps_its_value_and_is_named),
        cmocka_unit_test(another_certificate_is_taken_but_not_a_first_or_last_one),
        cmocka_unit_test(a_reference_keeps_them),
        cmocka_unit_test(another_password_is_another_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
