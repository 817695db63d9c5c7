#include "tests/unit/config/settings_cases.h"

static void rules_are_read(void **state)
{
    (void)state;
    struct settings *settings = parsed(
        "{\"keep\":{\"grace\":\"2h\",\"untagged\":\"forever\",\"cache_size\":\"3MiB\",\"rules\":["
        "{\"match\":\"team/**\",\"tags\":\"v*\",\"last\":5,\"age\":\"720h\"},{\"match\":\"a\"}]}}");
    assert_int_equal(settings->keep.grace_ms, 7200000);
    assert_int_equal(settings->keep.untagged_ms, 0);
    assert_int_equal(settings->keep.cache_bytes, 3 << 20);
    assert_int_equal(settings->keep.rule_count, 2);
    assert_string_equal(settings->keep.rules[0].match, "team/**");
    assert_string_equal(settings->keep.rules[0].tags, "v*");
    assert_int_equal(settings->keep.rules[0].last, 5);
    assert_int_equal(settings->keep.rules[0].age_ms, (int64_t)720 * 3600 * 1000);
    assert_null(settings->keep.rules[1].tags);
    assert_int_equal(settings->keep.rules[1].last + settings->keep.rules[1].age_ms, 0);
    autojson json_t *printed = settings_print(settings);
    autofree char *text = json_compact(json_object_get(printed, "keep"));
    assert_string_equal(text,
                        "{\"grace\":\"2h\",\"untagged\":\"forever\",\"cache_size\":\"3MiB\","
                        "\"cache_age\":\"720h\",\"every\":\"1h\",\"rules\":[{\"match\":\"team/**\","
                        "\"tags\":\"v*\",\"last\":5,\"age\":\"720h\"},{\"match\":\"a\"}]}");
    settings_free(settings);
}

static void wrong_rules_name_their_path(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *key, *what;
    } cases[] = {
        {"5", "keep.rules[1]", "must be an object"},
        {"{}", "keep.rules[1].match", "must be given"},
        {"{\"match\":\"a b\"}", "keep.rules[1].match", "must not hold \" \""},
        {"{\"match\":\"a/***\"}", "keep.rules[1].match", "more than two stars"},
        {"{\"match\":\"a\",\"tags\":\"a/b\"}", "keep.rules[1].tags", "must not hold \"/\""},
        {"{\"match\":\"a\",\"last\":0}", "keep.rules[1].last", "1 to 10000"},
        {"{\"match\":\"a\",\"age\":\"1ms\"}", "keep.rules[1].age", "1s to"},
        {"{\"match\":\"a\",\"first\":1}", "keep.rules[1].first", "unknown key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text =
            xasprintf("{\"keep\":{\"rules\":[{\"match\":\"x\"},%s]}}", cases[i].rule);
        expect_refusal(text, cases[i].key, cases[i].what);
    }
    expect_refusal("{\"keep\":{\"rules\":{}}}", "keep.rules", "must be a list");
    expect_refusal("{\"keep.rules\":[]}", "keep.rules", "unknown key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_read),
        cmocka_unit_test(wrong_rules_name_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
