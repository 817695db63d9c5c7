#include "tests/unit/config/settings_cases.h"

static void mirrors_are_read(void **state)
{
    (void)state;
    struct settings *settings =
        parsed("{\"mirrors\":[{\"match\":\"team/**\",\"to\":[\"r.example.com/x/**\","
               "{\"target\":\"localhost/y\",\"required\":false},{\"target\":\"[::1]:5000/**\"}]},"
               "{\"acknowledge\":\"stored\",\"to\":[\"r:5/a\"],\"match\":\"h.example.com:5/*\"}]}");
    assert_int_equal(settings->mirror_count, 2);
    const struct mirror_setting *first = &settings->mirrors[0];
    assert_string_equal(first->match, "team/**");
    assert_int_equal(first->acknowledge, SETTING_ACKNOWLEDGE_PUSHED);
    assert_int_equal(first->target_count, 3);
    assert_string_equal(first->targets[0].target, "r.example.com/x/**");
    assert_true(first->targets[0].required);
    assert_string_equal(first->targets[1].target, "localhost/y");
    assert_false(first->targets[1].required);
    assert_string_equal(first->targets[2].target, "[::1]:5000/**");
    assert_true(first->targets[2].required);
    assert_int_equal(settings->mirrors[1].acknowledge, SETTING_ACKNOWLEDGE_STORED);
    assert_string_equal(settings->mirrors[1].match, "h.example.com:5/*");
    settings_free(settings);
}

static void there_are_none_by_default(void **state)
{
    (void)state;
    static const char *const none[] = {"{}", "{\"mirrors\":[]}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        struct settings *settings = parsed(none[i]);
        assert_int_equal(settings->mirror_count, 0);
        settings_free(settings);
    }
}

static void wrong_shapes_name_their_path(void **state)
{
    (void)state;
    static const struct {
        const char *list; /* after two good entries */
        const char *key;
        const char *what;
    } cases[] = {
        {"5", "mirrors[2]", "must be an object"},
        {"{}", "mirrors[2].match", "must be given"},
        {"{\"match\":\"a\"}", "mirrors[2].to", "must be given"},
        {"{\"to\":[\"r.x/a\"]}", "mirrors[2].match", "must be given"},
        {"{\"match\":5,\"to\":[\"r.x/a\"]}", "mirrors[2].match", "must be a string"},
        {"{\"match\":\"\",\"to\":[\"r.x/a\"]}", "mirrors[2].match", "1 to 255 bytes"},
        {"{\"match\":\"a\",\"to\":\"r.x/a\"}", "mirrors[2].to", "list of 1 to 64"},
        {"{\"match\":\"a\",\"to\":null}", "mirrors[2].to", "list of 1 to 64"},
        {"{\"match\":\"a\",\"to\":[]}", "mirrors[2].to", "list of 1 to 64"},
        {"{\"match\":\"a\",\"to\":[5]}", "mirrors[2].to[0]", "a string or an object"},
        {"{\"match\":\"a\",\"to\":[\"r.x/a\",[]]}", "mirrors[2].to[1]", "a string or an object"},
        {"{\"match\":\"a\",\"to\":[{}]}", "mirrors[2].to[0].target", "must be given"},
        {"{\"match\":\"a\",\"to\":[{\"target\":1}]}", "mirrors[2].to[0].target", "a string"},
        {"{\"match\":\"a\",\"to\":[\"\"]}", "mirrors[2].to[0]", "1 to 255 bytes"},
        {"{\"match\":\"a\",\"to\":[\"r.x/a\",{\"target\":\"r.x/b\",\"required\":1}]}",
         "mirrors[2].to[1].required", "true or false"},
        {"{\"match\":\"a\",\"to\":[{\"target\":\"r.x/b\",\"optional\":true}]}",
         "mirrors[2].to[0].optional", "unknown key"},
        {"{\"match\":\"a\",\"to\":[\"r.x/a\"],\"acknowledge\":\"never\"}", "mirrors[2].acknowledge",
         "one of pushed, stored"},
        {"{\"match\":\"a\",\"to\":[\"r.x/a\"],\"from\":\"b\"}", "mirrors[2].from", "unknown key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf("{\"mirrors\":[{\"match\":\"a\",\"to\":[\"r.x/a\"]},"
                                        "{\"match\":\"b\",\"to\":[\"r.x/a\"]},%s]}",
                                        cases[i].list);
        expect_refusal(text, cases[i].key, cases[i].what);
    }
    expect_refusal("{\"mirrors\":{}}", "mirrors", "must be a list");
    expect_refusal("{\"log\":{\"mirrors\":[]}}", "log.mirrors", "unknown key");
}

static void malformed_patterns_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *match;
        const char *what; /* NULL: taken */
    } cases[] = {
        {"a", NULL},
        {"*", NULL},
        {"**", NULL},
        {"**/*", NULL},
        {"a*b/c**d", NULL},
        {"a__b/c.d-e/0", NULL},
        {"localhost:5000/**", NULL},
        {"[::1]:5000/**", NULL},
        {"/", "empty component"},
        {"/a", "empty component"},
        {"a/", "empty component"},
        {"a//b", "empty component"},
        {"***", "two stars"},
        {"a/b***", "two stars"},
        {"a/****/b", "two stars"},
        {"A", "must not hold \"A\""},
        {"a b", "must not hold \" \""},
        {"a/b:c", "must not hold \":\""},
        {"a?", "must not hold \"?\""},
        {"a@b", "must not hold \"@\""},
        {"a/[b]", "must not hold \"[\""},
        {"\303\266", "must not hold \"?\""},
        {"a/..", "begins or ends"},
        {".", "begins or ends"},
        {"a/-b", "begins or ends"},
        {"a_/b", "begins or ends"},
        {"a:", "begins or ends"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text =
            xasprintf("{\"mirrors\":[{\"match\":\"%s\",\"to\":[\"r.x/a\"]}]}", cases[i].match);
        if (cases[i].what)
            expect_refusal(text, "mirrors[0].match", cases[i].what);
        else
            settings_free(parsed(text));
    }
}

static void targets_without_a_place_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *match, *target;
        const char *what; /* NULL: taken */
    } cases[] = {
        {"**", "r.example.com/**", NULL},
        {"**", "R.Example.com:443/a", NULL},
        {"**", "localhost/a", NULL},
        {"**", "docker.io/**", NULL},
        {"*/**/*", "r.x/*/**-*", NULL},
        {"**", "team/**", "must be HOST/REPOSITORY"},
        {"**", "r.example.com", "must be HOST/REPOSITORY"},
        {"**", "Localhost/a", "must be HOST/REPOSITORY"},
        {"**", "/a", "must be HOST/REPOSITORY"},
        {"**", "r.x:0/a", "must be HOST/REPOSITORY"},
        {"**", "r.x:65536/a", "must be HOST/REPOSITORY"},
        {"**", "r_\303\266.x/a", "must be HOST/REPOSITORY"},
        {"**", "https://r.x/a", "must be HOST/REPOSITORY"},
        {"*", "*.example.com/a", "wildcard in its host"},
        {"**", "**", "wildcard in its host"},
        {"**", "r.x/", "empty component"},
        {"**", "r.x//a", "empty component"},
        {"**", "r.x/A", "must not hold \"A\""},
        {"**", "r.x/***", "two stars"},
        {"**", "r.x/a:1", "tag or digest"},
        {"**", "r.x/**:latest", "tag or digest"},
        {"**", "r.x/a@sha256:00", "tag or digest"},
        {"a", "r.x/*", "more wildcards * than match"},
        {"a", "r.x/**", "more wildcards ** than match"},
        {"**", "r.x/*", "more wildcards * than match"},
        {"*", "r.x/**", "more wildcards ** than match"},
        {"**/*", "r.x/**/**", "more wildcards ** than match"},
        {"*/*", "r.x/*/*/*", "more wildcards * than match"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *plain = xasprintf("{\"mirrors\":[{\"match\":\"%s\",\"to\":[\"%s\"]}]}",
                                         cases[i].match, cases[i].target);
        autofree char *object = xasprintf(
            "{\"mirrors\":[{\"to\":[{\"required\":false,\"target\":\"%s\"}],\"match\":\"%s\"}]}",
            cases[i].target, cases[i].match);
        if (cases[i].what) {
            expect_refusal(plain, "mirrors[0].to[0]", cases[i].what);
            expect_refusal(object, "mirrors[0].to[0].target", cases[i].what);
        } else {
            settings_free(parsed(plain));
            settings_free(parsed(object));
        }
    }
}

/* `count` times `item`, with commas. Owned. */
static char *repeated(const char *item, size_t count)
{
    char *text = xmalloc(count * (strlen(item) + 1) + 1);
    char *at = text;
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "%s%s", i ? "," : "", item);
    *at = '\0';
    return text;
}

static void lists_are_counted(void **state)
{
    (void)state;
    static const size_t targets[] = {1, 63, 64, 65};
    static const size_t mirrors[] = {1023, 1024, 1025};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        autofree char *list = repeated("\"r.x/a\"", targets[i]);
        autofree char *text = xasprintf("{\"mirrors\":[{\"match\":\"a\",\"to\":[%s]}]}", list);
        if (targets[i] <= TARGETS_MAX)
            settings_free(parsed(text));
        else
            expect_refusal(text, "mirrors[0].to", "1 to 64");
    }
    for (size_t i = 0; i < sizeof mirrors / sizeof mirrors[0]; i++) {
        autofree char *list = repeated("{\"match\":\"a\",\"to\":[\"r.x/a\"]}", mirrors[i]);
        autofree char *text = xasprintf("{\"mirrors\":[%s]}", list);
        if (mirrors[i] <= SETTINGS_MIRRORS_MAX)
            settings_free(parsed(text));
        else
            expect_refusal(text, "mirrors", "at most 1024");
    }
}

static void lengths_are_limited(void **state)
{
    (void)state;
    for (int size = SETTING_PATTERN_MAX - 1; size <= SETTING_PATTERN_MAX + 1; size++) {
        char name[SETTING_PATTERN_MAX + 2];
        memset(name, 'a', (size_t)size);
        name[size] = '\0';
        autofree char *match =
            xasprintf("{\"mirrors\":[{\"match\":\"%s\",\"to\":[\"r.x/a\"]}]}", name);
        autofree char *target =
            xasprintf("{\"mirrors\":[{\"match\":\"a\",\"to\":[\"r.x/%s\"]}]}", name + 4);
        if (size <= SETTING_PATTERN_MAX) {
            settings_free(parsed(match));
            settings_free(parsed(target));
        } else {
            expect_refusal(match, "mirrors[0].match", "1 to 255 bytes");
            expect_refusal(target, "mirrors[0].to[0]", "1 to 255 bytes");
        }
    }
}

static void mirrors_are_printed_as_written(void **state)
{
    (void)state;
    struct settings *settings =
        parsed("{\"mirrors\":[{\"match\":\"**\",\"to\":[\"r.x/**\",{\"target\":\"s.x/**\","
               "\"required\":false},{\"target\":\"t.x/**\",\"required\":true}]}]}");
    autojson json_t *printed = settings_print(settings);
    autofree char *text = json_compact(json_object_get(printed, "mirrors"));
    assert_string_equal(
        text, "[{\"match\":\"**\",\"acknowledge\":\"pushed\",\"confirm\":\"1m\",\"to\":[\"r.x/**\","
              "{\"target\":\"s.x/**\",\"required\":false,\"on_drift\":"
              "\"overwrite\",\"move\":\"always\"},\"t.x/**\"]}]");
    settings_free(settings);
}

static void limits_of_the_front(void **state)
{
    (void)state;
    struct settings *settings = parsed("{}");
    assert_int_equal(settings->limits.blobs, 64);
    assert_int_equal(settings->limits.upload_idle_ms, 3600 * 1000);
    assert_int_equal(settings->limits.push_ms, 24 * 3600 * 1000);
    settings_free(settings);
    settings = parsed("{\"limits\":{\"blobs\":1024,\"upload_session\":\"720h\"}}");
    assert_int_equal(settings->limits.blobs, 1024);
    assert_int_equal(settings->limits.upload_idle_ms, INT64_C(30) * 24 * 3600 * 1000);
    settings_free(settings);
    settings_free(parsed("{\"limits\":{\"blobs\":1,\"upload_session\":\"1s\"}}"));
    expect_refusal("{\"limits\":{\"blobs\":0}}", "limits.blobs", "1 to 1024");
    expect_refusal("{\"limits\":{\"blobs\":1025}}", "limits.blobs", "1 to 1024");
    expect_refusal("{\"limits\":{\"upload_session\":\"999ms\"}}", "limits.upload_session",
                   "from 1s to 720h");
    expect_refusal("{\"limits\":{\"upload_session\":\"2592000001ms\"}}", "limits.upload_session",
                   "from 1s to 720h");
    expect_refusal("{\"limits\":{\"push_time\":\"999ms\"}}", "limits.push_time", "from 1s to 720h");
    expect_refusal("{\"limits\":{\"upload_session\":60}}", "limits.upload_session", "a time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirrors_are_read),
        cmocka_unit_test(there_are_none_by_default),
        cmocka_unit_test(wrong_shapes_name_their_path),
        cmocka_unit_test(malformed_patterns_are_refused),
        cmocka_unit_test(targets_without_a_place_are_refused),
        cmocka_unit_test(lists_are_counted),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(mirrors_are_printed_as_written),
        cmocka_unit_test(limits_of_the_front),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
