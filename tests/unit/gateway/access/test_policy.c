#include "gateway/access/policy.h"

#include "base/mem.h"
#include "config/settings.h"
#include "gateway/access/target_name.h"

#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A configuration with these members; the policy borrows from it. */
struct rules {
    struct settings *settings;
    struct policy *policy;
};

static struct rules rules_of(const char *members)
{
    struct rules out = {0};
    struct error err = ERROR_INIT;
    autofree char *text = xasprintf("{%s}", members);
    if (settings_parse(text, strlen(text), "test.json", &out.settings, &err) != ERR_OK)
        fail_msg("%s", err.text);
    out.policy = policy_new(out.settings);
    return out;
}

static void rules_drop(struct rules *rules)
{
    policy_free(rules->policy);
    settings_free(rules->settings);
}

/* Kind and name; the groups are those of a mapping. */
static struct identity somebody(enum identity_kind kind, const char *name, char **groups,
                                size_t group_count)
{
    return (struct identity){
        .kind = kind, .name = (char *)name, .groups = groups, .group_count = group_count};
}

static struct policy_verdict may(const struct rules *rules, const struct identity *who,
                                 enum operation operation, const char *repository)
{
    return policy_may(rules->policy, who, operation, repository);
}

static struct policy_verdict may_push_to(const struct rules *rules, const struct identity *who,
                                         const char *target)
{
    struct reference there;
    struct error err = ERROR_INIT;
    if (reference_parse(target, &there, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return policy_may_push_to(rules->policy, who, &there);
}

static void expect(struct policy_verdict got, bool allowed, int rule)
{
    assert_int_equal(got.allowed, allowed);
    assert_int_equal(got.rule, rule);
}

static const struct identity nobody = IDENTITY_INIT;
static const struct identity the_operator = {.kind = IDENTITY_OPERATOR};

static void without_a_policy_everybody_may_do_everything(void **state)
{
    (void)state;
    struct rules rules = rules_of("");
    assert_null(rules.policy);
    expect(may(&rules, &nobody, OPERATION_ADMIN, ""), true, 0);
    expect(may_push_to(&rules, &nobody, "r.x/a"), true, 0);
    assert_true(policy_may_anywhere(NULL, &nobody, OPERATION_DELETE));
    assert_false(policy_names_host(NULL, "r.x"));
    rules_drop(&rules);
}

static void the_first_rule_that_matches_decides(void **state)
{
    (void)state;
    struct rules rules = rules_of(
        "\"policy\":["
        "{\"who\":[\"ann\"],\"may\":[\"push\"],\"repositories\":[\"team/secret/"
        "**\"],\"deny\":true},"
        "{\"who\":[\"ann\"],\"may\":[\"pull\",\"push\"],\"repositories\":[\"team/**\"]},"
        "{\"who\":[\"ann\"],\"targets\":[\"prod.x/**\"],\"deny\":true},"
        "{\"who\":[\"authenticated\"],\"may\":[\"push\"],\"targets\":[\"*.x/**\"]},"
        "{\"who\":[\"anonymous\"],\"may\":[\"pull\"],\"repositories\":[\"public/*\"]},"
        "{\"who\":[\"authenticated\"],\"may\":[\"queue:read\"],\"repositories\":[\"**\"]}]");
    const struct identity ann = somebody(IDENTITY_USER, "ann", NULL, 0);
    const struct identity bob = somebody(IDENTITY_USER, "bob", NULL, 0);
    expect(may(&rules, &ann, OPERATION_PUSH, "team/secret/a"), false, 1);
    expect(may(&rules, &ann, OPERATION_PULL, "team/secret/a"), true, 2);
    expect(may(&rules, &ann, OPERATION_PUSH, "team/a"), true, 2);
    expect(may(&rules, &ann, OPERATION_TAG_MOVE, "team/a"), false, 0);
    expect(may(&rules, &bob, OPERATION_PULL, "team/a"), false, 0);
    expect(may(&rules, &ann, OPERATION_PULL, "public/a"), false, 0);
    expect(may(&rules, &nobody, OPERATION_PULL, "public/a"), true, 5);
    expect(may(&rules, &nobody, OPERATION_PULL, "public/a/b"), false, 0);
    expect(may(&rules, &bob, OPERATION_QUEUE_READ, ""), true, 6);
    expect(may(&rules, &bob, OPERATION_ADMIN, ""), false, 0);
    expect(may(&rules, &the_operator, OPERATION_ADMIN, ""), true, 0);
    expect(may_push_to(&rules, &ann, "prod.x/a"), false, 3);
    expect(may_push_to(&rules, &ann, "test.x/a:1"), true, 4);
    expect(may_push_to(&rules, &bob, "prod.x/a"), true, 4);
    expect(may_push_to(&rules, &nobody, "prod.x/a"), false, 0);
    expect(may_push_to(&rules, &bob, "prod.y/a"), false, 0);
    expect(may_push_to(&rules, &the_operator, "prod.y/a"), true, 0);
    rules_drop(&rules);
}

static void names_are_of_their_kind(void **state)
{
    (void)state;
    struct rules rules =
        rules_of("\"clients\":{\"groups\":{\"g\":[\"ann\",\"robot:r\",\"cert:CN=c\"]}},\"policy\":["
                 "{\"who\":[\"robot:r\"],\"may\":[\"pull\"],\"repositories\":[\"r\"]},"
                 "{\"who\":[\"cert:CN=c\"],\"may\":[\"pull\"],\"repositories\":[\"c\"]},"
                 "{\"who\":[\"g\"],\"may\":[\"pull\"],\"repositories\":[\"g\"]},"
                 "{\"who\":[\"anonymous\"],\"may\":[\"pull\"],\"repositories\":[\"n\"]},"
                 "{\"who\":[\"authenticated\"],\"may\":[\"pull\"],\"repositories\":[\"k\"]}]");
    char *groups[] = {"other", "g"};
    char *reserved[] = {"anonymous", "robot:r"};
    const struct {
        struct identity who;
        const char *may; /* of r, c, g, n, k */
    } cases[] = {
        {IDENTITY_INIT, "n"},
        {somebody(IDENTITY_ROBOT, "robot:r", NULL, 0), "rgk"},
        {somebody(IDENTITY_USER, "robot:r", NULL, 0), "k"},
        {somebody(IDENTITY_CI, "cert:CN=c", NULL, 0), "k"},
        {somebody(IDENTITY_CERTIFICATE, "cert:CN=c", NULL, 0), "cgk"},
        {somebody(IDENTITY_USER, "ann", NULL, 0), "gk"},
        {somebody(IDENTITY_USER, "Ann", NULL, 0), "k"},
        {somebody(IDENTITY_USER, "g", NULL, 0), "gk"},
        {somebody(IDENTITY_USER, "anonymous", NULL, 0), "k"},
        {somebody(IDENTITY_CI, "ci", groups, 2), "gk"},
        {somebody(IDENTITY_CI, "ci", reserved, 2), "k"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (const char *at = "rcgnk"; *at; at++) {
            const char repository[] = {*at, '\0'};
            bool wanted = strchr(cases[i].may, *at) != NULL;
            if (may(&rules, &cases[i].who, OPERATION_PULL, repository).allowed != wanted)
                fail_msg("case %zu in %s", i, repository);
        }
    rules_drop(&rules);
}

/* Every row is one target. */
static void a_target_has_one_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *others[8];
    } cases[] = {
        {"docker.io/library/ubuntu",
         {"ubuntu", "docker.io/ubuntu", "INDEX.docker.io/ubuntu", "docker.io:443/library/ubuntu",
          "registry-1.docker.io/library/ubuntu", "Registry-1.Docker.io:443/ubuntu",
          "registry.hub.docker.com/ubuntu"}},
        {"r.example.com/a", {"R.Example.COM/a", "r.example.com:443/a", "r.example.com:80/a"}},
        {"r.example.com:8443/a", {"R.example.com:08443/a"}},
        {"127.0.0.1:5000/a",
         {"127.1:5000/a", "0x7f.1:5000/a", "2130706433:5000/a", "0177.0.0.1:5000/a",
          "[::ffff:7f00:1]:5000/a", "[0:0:0:0:0:FFFF:7F00:1]:5000/a", "0X7F000001:5000/a"}},
        {"[2001:db8::1]/a", {"[2001:0DB8:0:0::1]/a", "[2001:db8::1]:443/a"}},
        {"host/a", {"Host/a", "HOST/a"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t j = 0; cases[i].others[j]; j++) {
            struct reference target;
            struct error err = ERROR_INIT;
            if (reference_parse(cases[i].others[j], &target, &err) != ERR_OK)
                fail_msg("%s", err.text);
            autofree char *name = policy_target_name(&target);
            assert_string_equal(name, cases[i].name);
        }
    /* No reference has these, other hosts do. */
    static const char *const dotted[][2] = {
        {"R.x.", "r.x"}, {"R.x...:443", "r.x"}, {"127.1.:80", "127.0.0.1"}};
    for (size_t i = 0; i < sizeof dotted / sizeof dotted[0]; i++) {
        autofree char *host = target_host(dotted[i][0], strlen(dotted[i][0]));
        assert_string_equal(host, dotted[i][1]);
    }
}

static void no_spelling_gets_past_a_rule(void **state)
{
    (void)state;
    struct rules rules =
        rules_of("\"policy\":[{\"who\":[\"anonymous\"],\"targets\":[\"Prod.X:443/**\","
                 "\"[::ffff:127.0.0.1]:5000/**\",\"registry-1.docker.io/acme/**\",\"docker.io/*\","
                 "\"*.y:443/**\"],\"deny\":true},{\"who\":[\"anonymous\"],\"targets\":[\"**\"]}]");
    static const char *const denied[] = {
        "prod.x/a",         "PROD.X:443/a",           "prod.x:80/a",
        "127.0.0.1:5000/a", "0x7f000001:5000/a",      "acme/a",
        "ubuntu",           "docker.io/alpine",       "a.y/b",
        "A.Y:443/b",        "[::ffff:7f00:1]:5000/a",
    };
    static const char *const allowed[] = {"prod.x:444/a", "127.0.0.1:5001/a", "docker.io/other/a",
                                          "y.z/a"};
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
        if (may_push_to(&rules, &nobody, denied[i]).rule != 1)
            fail_msg("%s", denied[i]);
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (may_push_to(&rules, &nobody, allowed[i]).rule != 2)
            fail_msg("%s", allowed[i]);
    rules_drop(&rules);
}

static void hosts_are_named_only_without_wildcards(void **state)
{
    (void)state;
    struct rules rules = rules_of(
        "\"policy\":[{\"who\":[\"ann\"],\"targets\":[\"10.0.0.1:5000/**\",\"R.x/a\",\"10.0.*/**\","
        "\"**\"]},{\"who\":[\"ann\"],\"targets\":[\"10.0.0.9/**\"],\"deny\":true}]");
    assert_true(policy_names_host(rules.policy, "10.0.0.1:5000"));
    assert_true(policy_names_host(rules.policy, "0xa000001:5000"));
    assert_true(policy_names_host(rules.policy, "r.x:443"));
    assert_false(policy_names_host(rules.policy, "10.0.0.1"));
    assert_false(policy_names_host(rules.policy, "10.0.0.2"));
    assert_false(policy_names_host(rules.policy, "10.0.0.9"));
    rules_drop(&rules);
}

static void anywhere_counts_denials(void **state)
{
    (void)state;
    static const struct {
        const char *first; /* is denied, then `second` is allowed */
        const char *second;
        bool anywhere;
    } cases[] = {
        {"x", "x", false},
        {"x", "y", true},
        {"**", "y", false},
        {"team/*", "team/**", true},
        {"team/**", "team/*", false},
        {"team/**", "**", true},
        {"*", "*", false},
        {"*/a", "*/*", true},
        {"*", "**", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf(
            "\"policy\":[{\"who\":[\"ann\"],\"may\":[\"pull\"],\"repositories\":[\"%s\"],"
            "\"deny\":true},{\"who\":[\"ann\"],\"may\":[\"*\"],\"repositories\":[\"%s\"]}]",
            cases[i].first, cases[i].second);
        struct rules rules = rules_of(text);
        const struct identity ann = somebody(IDENTITY_USER, "ann", NULL, 0);
        if (policy_may_anywhere(rules.policy, &ann, OPERATION_PULL) != cases[i].anywhere)
            fail_msg("%s without %s", cases[i].second, cases[i].first);
        assert_true(policy_may_anywhere(rules.policy, &ann, OPERATION_PUSH));
        assert_false(policy_may_anywhere(rules.policy, &nobody, OPERATION_PULL));
        assert_true(policy_may_anywhere(rules.policy, &the_operator, OPERATION_PULL));
        rules_drop(&rules);
    }
}

static void operations_have_names(void **state)
{
    (void)state;
    static const char *const names[OPERATION_COUNT] = {
        [OPERATION_PULL] = "pull",
        [OPERATION_PUSH] = "push",
        [OPERATION_DELETE] = "delete",
        [OPERATION_TAG_MOVE] = "tag:move",
        [OPERATION_QUEUE_READ] = "queue:read",
        [OPERATION_QUEUE_CONTROL] = "queue:control",
        [OPERATION_ADMIN] = "admin",
    };
    enum operation found;
    for (unsigned i = 0; i < OPERATION_COUNT; i++) {
        assert_string_equal(operation_name((enum operation)i), names[i]);
        assert_true(operation_by_name(names[i], &found));
        assert_int_equal(found, i);
    }
    assert_false(operation_by_name("*", &found));
    assert_false(operation_by_name("", &found));
}

static void identities_are_values(void **state)
{
    (void)state;
    char *groups[] = {"g", "h"};
    struct identity from = somebody(IDENTITY_CI, "ci", groups, 2);
    from.issuer = "github";
    from.claims = "{}";
    autoidentity struct identity copy = IDENTITY_INIT;
    identity_copy(&from, &copy);
    assert_string_equal(copy.groups[1], "h");
    assert_ptr_not_equal(copy.groups[1], groups[1]);
    assert_string_equal(copy.issuer, "github");
    assert_string_equal(copy.claims, "{}");
    assert_string_equal(identity_text(&copy), "ci");
    identity_deinit(&copy);
    assert_string_equal(identity_text(&copy), "anonymous");
    assert_string_equal(identity_text(&the_operator), "operator");
    for (int i = IDENTITY_ANONYMOUS; i <= IDENTITY_OPERATOR; i++) {
        enum identity_kind kind;
        assert_true(identity_kind_by_name(identity_kind_name((enum identity_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    enum identity_kind kind;
    assert_false(identity_kind_by_name("root", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_policy_everybody_may_do_everything),
        cmocka_unit_test(the_first_rule_that_matches_decides),
        cmocka_unit_test(names_are_of_their_kind),
        cmocka_unit_test(a_target_has_one_name),
        cmocka_unit_test(no_spelling_gets_past_a_rule),
        cmocka_unit_test(hosts_are_named_only_without_wildcards),
        cmocka_unit_test(anywhere_counts_denials),
        cmocka_unit_test(operations_have_names),
        cmocka_unit_test(identities_are_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
