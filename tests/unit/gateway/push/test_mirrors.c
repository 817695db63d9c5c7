#include "gateway/push/mirrors.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pattern.h"

#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void patterns_match_whole_names(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "aa", false},
        {"a", "a/b", false},
        {"team/app", "team/app", true},
        {"*", "app", true},
        {"*", "team/app", false},
        {"**", "app", true},
        {"**", "a/b/c/d", true},
        {"team/*", "team/app", true},
        {"team/*", "team/a/b", false},
        {"team/*", "teams/app", false},
        {"team/*", "team", false},
        {"team/**", "team/app", true},
        {"team/**", "team/a/b/c", true},
        {"team/**", "team", false},
        {"team/**", "ateam/app", false},
        {"*/app", "team/app", true},
        {"*/app", "a/b/app", false},
        {"**/app", "a/b/app", true},
        {"**/app", "app", false},
        {"**app", "app", true},
        {"*app*", "app", true},
        {"*-web", "shop-web", true},
        {"*-web", "shop-web-2", false},
        {"a*c", "ac", true},
        {"a*c", "abbbc", true},
        {"a*c", "a/c", false},
        {"a**c", "a/b/c", true},
        {"**/*", "a/b", true},
        {"**/*", "a", false},
        {"**/*/x", "a/b/c/x", true},
        {"*/**/x", "a/x", false},
        {"*.example.com:5000/**", "r.example.com:5000/team/app", true},
        {"a.b", "axb", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (pattern_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("%s %s %s", cases[i].pattern, cases[i].matches ? "misses" : "matches",
                     cases[i].name);
}

static void targets_take_what_was_matched(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name, *target, *wanted;
    } cases[] = {
        {"a", "a", "r.x/b", "r.x/b"},
        {"**", "team/app", "r.x/**", "r.x/team/app"},
        {"team/**", "team/a/b", "r.x/mirror/**", "r.x/mirror/a/b"},
        {"team/*", "team/app", "r.x/*", "r.x/app"},
        {"team/*", "team/app", "r.x/fixed", "r.x/fixed"},
        {"*/*", "a/b", "r.x/*-*", "r.x/a-b"},
        {"*/**", "a/b/c", "r.x/**/*", "r.x/b/c/a"},
        {"*/**/*", "a/b/c/d", "r.x/*/*/**", "r.x/a/d/b/c"},
        {"*/**/*", "a/b/c/d", "r.x/*", "r.x/a"},
        {"*-*", "a-b-c", "r.x/*/*", "r.x/a-b/c"},
        {"**/**", "a/b/c", "r.x/x**y/**", "r.x/xa/by/c"},
        {"app*", "app", "r.x/x*", "r.x/x"},
        {"**", "app", "docker.io/**", "docker.io/library/app"},
        {"**", "team/app", "R.X/**", "r.x/team/app"},
        {"**", "app", "[::1]:5000/**", "[::1]:5000/app"},
        {"r.x:5000/**", "r.x:5000/a/b", "s.x/**", "s.x/a/b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference found;
        char text[REFERENCE_NAME_MAX + 1];
        if (mirror_expand(cases[i].pattern, cases[i].name, cases[i].target, &found, &err) != ERR_OK)
            fail_msg("%s: %s", cases[i].pattern, err.text);
        assert_string_equal(reference_name(&found, text), cases[i].wanted);
        assert_string_equal(found.tag, "");
    }
}

static void what_is_no_repository_is_refused(void **state)
{
    (void)state;
    char big[REFERENCE_NAME_MAX + 1];
    memset(big, 'a', REFERENCE_NAME_MAX);
    big[REFERENCE_NAME_MAX] = '\0';
    const struct {
        const char *pattern, *name, *target;
    } cases[] = {
        {"a", "b", "r.x/b"},
        {"a", "a", "r.x/*"},
        {"app*", "app", "r.x/*"},
        {"app**", "app", "r.x/a/**"},
        {"a*b", "a-b", "r.x/*"},
        /* A port is no tag. */
        {"**/app", "localhost:5000/app", "r.x/**"},
        {"**", "localhost:5000/app", "r.x/**"},
        {"**", big, "r.x/**"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference found;
        if (mirror_expand(cases[i].pattern, cases[i].name, cases[i].target, &found, &err) == ERR_OK)
            fail_msg("%s is taken", cases[i].target);
        assert_int_equal(err.code, ERR_REFERENCE_INVALID);
    }
}

static void lengths_are_limited(void **state)
{
    (void)state;
    char text[REFERENCE_NAME_MAX + 2];
    for (size_t size = REFERENCE_NAME_MAX - 5; size <= REFERENCE_NAME_MAX + 1; size++) {
        struct error err = ERROR_INIT;
        struct reference found;
        memset(text, 'a', size);
        text[size] = '\0';
        assert_int_equal(pattern_matches("**", text), size <= REFERENCE_NAME_MAX);
        assert_int_equal(pattern_matches(text, text), size <= SETTING_PATTERN_MAX);
        assert_int_equal(mirror_expand("**", text, "r.x/**", &found, &err),
                         size <= REFERENCE_NAME_MAX - 4 ? ERR_OK : ERR_REFERENCE_INVALID);
    }
}

/* A pattern of stars over a name that almost matches costs a product, no power. */
static void hostile_patterns_are_cheap(void **state)
{
    (void)state;
    char pattern[SETTING_PATTERN_MAX + 1];
    char name[REFERENCE_NAME_MAX + 1];
    for (size_t i = 0; i < SETTING_PATTERN_MAX; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[SETTING_PATTERN_MAX - 1] = 'b';
    pattern[SETTING_PATTERN_MAX] = '\0';
    memset(name, 'a', REFERENCE_NAME_MAX);
    name[REFERENCE_NAME_MAX] = '\0';
    int64_t began = clock_ms();
    for (unsigned i = 0; i < 20; i++)
        assert_false(pattern_matches(pattern, name));
    assert_true(clock_ms() - began < 5000);
}

static struct mirror_target_setting team_targets[] = {
    {.target = "r.x/one/**", .required = true},
    {.target = "s.x/two/**", .required = false},
    {.target = "R.x/one/**", .required = false},
    {.target = "s.x/two/**", .required = true},
};
static struct mirror_target_setting other_targets[] = {{.target = "t.x/*", .required = false}};
static struct mirror_setting mirror_list[] = {
    {.match = "team/**",
     .targets = team_targets,
     .target_count = 4,
     .acknowledge = SETTING_ACKNOWLEDGE_STORED},
    {.match = "team/special", .targets = other_targets, .target_count = 1},
    {.match = "*", .targets = other_targets, .target_count = 1},
};

static void expect_target(const struct mirror_target *target, const char *wanted, bool optional)
{
    char text[REFERENCE_TEXT_MAX];
    assert_string_equal(reference_text(&target->repository, text), wanted);
    assert_int_equal(target->optional, optional);
}

static void the_first_match_counts(void **state)
{
    (void)state;
    const struct settings settings = {.mirrors = mirror_list, .mirror_count = 3};
    struct error err = ERROR_INIT;
    struct mirror_route route;
    assert_int_equal(mirrors_route(&settings, "team/special", &route, &err), ERR_OK);
    assert_int_equal(route.acknowledge, ACKNOWLEDGE_STORED);
    assert_int_equal(route.count, 2); /* the same repository once, required if it is so once */
    expect_target(&route.targets[0], "r.x/one/special", false);
    expect_target(&route.targets[1], "s.x/two/special", false);
    assert_int_equal(mirrors_route(&settings, "app", &route, &err), ERR_OK);
    assert_int_equal(route.acknowledge, ACKNOWLEDGE_PUSHED);
    assert_int_equal(route.count, 1);
    expect_target(&route.targets[0], "t.x/app", true);
}

static void localhost_is_no_part_of_the_name(void **state)
{
    (void)state;
    static struct mirror_setting list[] = {
        {.match = "localhost/own/*", .targets = other_targets, .target_count = 1},
        {.match = "team/*", .targets = other_targets, .target_count = 1},
    };
    static const struct {
        const char *name, *wanted;
    } cases[] = {
        {"localhost/team/app", "t.x/app"},      {"team/app", "t.x/app"},
        {"localhost/own/app", "t.x/app"},       {"localhost/other/app", NULL},
        {"localhost/localhost/team/app", NULL}, {"localhosts/team/app", NULL},
        {"localhost:5000/team/app", NULL},      {"localhost", NULL},
    };
    const struct settings settings = {.mirrors = list, .mirror_count = 2};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct mirror_route route;
        assert_int_equal(mirrors_route(&settings, cases[i].name, &route, &err), ERR_OK);
        assert_int_equal(route.count, cases[i].wanted ? 1 : 0);
        if (cases[i].wanted)
            expect_target(&route.targets[0], cases[i].wanted, true);
    }
}

static void a_name_may_lead_nowhere(void **state)
{
    (void)state;
    const struct settings settings = {.mirrors = mirror_list, .mirror_count = 3};
    const struct settings none = {0};
    struct error err = ERROR_INIT;
    struct mirror_route route;
    assert_int_equal(mirrors_route(&settings, "other/app", &route, &err), ERR_OK);
    assert_int_equal(route.count, 0);
    /* Hosts in names count only where no mirror is configured. */
    assert_int_equal(mirrors_route(&settings, "r.example.com/app", &route, &err), ERR_OK);
    assert_int_equal(route.count, 0);
    assert_int_equal(mirrors_route(&none, "team/app", &route, &err), ERR_OK);
    assert_int_equal(route.count, 0);
}

static void a_host_names_its_upstream(void **state)
{
    (void)state;
    static const struct {
        const char *name, *wanted;
    } cases[] = {
        {"r.example.com/team/app", "r.example.com/team/app"},
        {"localhost/app", "localhost/app"},
        {"localhost:5000/app", "localhost:5000/app"},
        {"r:5000/app", "r:5000/app"},
        {"docker.io/app", "docker.io/library/app"},
        {"localhosts/app", NULL},
        {"r.example.com", NULL},
        {"app", NULL},
        {"team/r.example.com/app", NULL},
    };
    const struct settings settings = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct mirror_route route;
        assert_int_equal(mirrors_route(&settings, cases[i].name, &route, &err), ERR_OK);
        assert_int_equal(route.acknowledge, ACKNOWLEDGE_PUSHED);
        assert_int_equal(route.count, cases[i].wanted ? 1 : 0);
        if (cases[i].wanted)
            expect_target(&route.targets[0], cases[i].wanted, false);
    }
    struct error err = ERROR_INIT;
    struct mirror_route route;
    assert_int_equal(mirrors_route(&settings, "r.x:70000/app", &route, &err),
                     ERR_REFERENCE_INVALID);
}

static void names_are_as_clients_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *reference, *name;
    } cases[] = {
        {"app", "app"},
        {"team/app:1", "team/app"},
        {"docker.io/team/app", "team/app"},
        {"docker.io/library/app:1", "app"},
        {"library/team/app", "library/team/app"},
        {"r.example.com/app:1", "r.example.com/app"},
        {"localhost:5000/library/app", "localhost:5000/library/app"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference ref;
        char name[REFERENCE_NAME_MAX + 1];
        assert_int_equal(reference_parse(cases[i].reference, &ref, &err), ERR_OK);
        assert_string_equal(mirrors_name(&ref, name), cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_names),
        cmocka_unit_test(targets_take_what_was_matched),
        cmocka_unit_test(what_is_no_repository_is_refused),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(hostile_patterns_are_cheap),
        cmocka_unit_test(the_first_match_counts),
        cmocka_unit_test(localhost_is_no_part_of_the_name),
        cmocka_unit_test(a_name_may_lead_nowhere),
        cmocka_unit_test(a_host_names_its_upstream),
        cmocka_unit_test(names_are_as_clients_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
