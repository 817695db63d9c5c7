#include "tests/unit/config/settings_cases.h"

#include "config/settings_table.h"

#define RULE "{\"who\":[\"ann\"],\"may\":[\"pull\"],\"repositories\":[\"**\"]}"

static void everything_is_read_and_printed(void **state)
{
    (void)state;
    struct settings *settings = parsed(
        "{\"tls\":{\"client_ca\":\"/ca\"},\"clients\":{\"htpasswd\":\"/"
        "h\",\"groups\":{\"a\":\"ann\","
        "\"b\":[\"bob\",\"robot:ci\"]},\"token_ttl\":\"2h\",\"plain_http\":true,\"oidc\":[{"
        "\"name\":"
        "\"g\",\"issuer\":\"https://t.example.com/x\",\"audiences\":[\"gw\"],\"jwks_file\":\"/j\","
        "\"algorithms\":[\"EdDSA\",\"PS256\"],\"private\":true,\"mappings\":[{\"claims\":{\"id\":"
        "\"1\","
        "\"ref\":[\"a*\",\"b\"]},\"identity\":\"ci\",\"groups\":[\"a\"],\"ttl\":\"5m\"}]}]},"
        "\"audit\":{\"file\":\"-\"},\"policy\":[{\"who\":[\"a\"],\"may\":[\"tag:move\",\"pull\"],"
        "\"repositories\":[\"x/**\"]},{\"who\":[\"b\"],\"targets\":[\"*.x/**\"],\"deny\":true},"
        "{\"who\":[\"ann\"],\"may\":[\"*\"],\"repositories\":[\"**\"]}],"
        "\"registries\":{\"r\":{\"username\":\"u\",\"password_command\":[\"/p\",\"-x\"]}},"
        "\"mirrors\":[{\"match\":\"**\",\"to\":[{\"target\":\"r.x/**\",\"move\":\"same-digest\","
        "\"immutable\":[\"v*\"]}]}]}");
    const struct oidc_setting *entry = &settings->clients.oidc[0];
    assert_int_equal(settings->clients.groups.count, 2);
    assert_string_equal(settings->clients.groups.items[0].list.items[0], "ann");
    assert_int_equal(settings->clients.token_ttl_ms, 7200000);
    assert_int_equal(entry->algorithms, 1U << SETTING_EDDSA | 1U << SETTING_PS256);
    assert_int_equal(entry->mappings[0].ttl_ms, 300000);
    assert_int_equal(entry->mappings[0].claims.items[1].list.count, 2);
    assert_int_equal(settings->policy[0].may, 1U << 0 | 1U << 3);
    assert_int_equal(settings->policy[1].may, 0);
    assert_true(settings->policy[1].deny);
    assert_int_equal(settings->policy[2].may, (1U << SETTING_OPERATION_COUNT) - 1);
    assert_string_equal(settings->audit.file, "-");
    assert_int_equal(settings->registries[0].password_command.count, 2);
    assert_int_equal(settings->mirrors[0].targets[0].move, SETTING_MOVE_SAME_DIGEST);
    autojson json_t *printed = settings_print(settings);
    autofree char *clients = json_compact(json_object_get(printed, "clients"));
    assert_string_equal(
        clients,
        "{\"htpasswd\":\"/h\",\"groups\":{\"a\":[\"ann\"],\"b\":[\"bob\",\"robot:ci\"]},"
        "\"token_ttl\":\"2h\",\"anonymous\":false,\"plain_http\":true,\"oidc\":[{\"name\":\"g\","
        "\"issuer\":\"https://t.example.com/x\",\"audiences\":[\"gw\"],\"jwks_file\":\"/j\","
        "\"algorithms\":[\"PS256\",\"EdDSA\"],\"private\":true,\"mappings\":[{\"claims\":{\"id\":"
        "[\"1\"],\"ref\":[\"a*\",\"b\"]},\"identity\":\"ci\",\"groups\":[\"a\"],\"ttl\":\"5m\"}]}]"
        "}");
    autofree char *policy = json_compact(json_object_get(printed, "policy"));
    assert_string_equal(policy,
                        "[{\"who\":[\"a\"],\"may\":[\"pull\",\"tag:move\"],\"repositories\":["
                        "\"x/**\"],\"deny\":false},{\"who\":[\"b\"],\"targets\":[\"*.x/**\"],"
                        "\"deny\":true},{\"who\":[\"ann\"],\"may\":[\"*\"],\"repositories\":["
                        "\"**\"],\"deny\":false}]");
    autofree char *all = json_compact(printed);
    struct settings *again = parsed(all);
    autojson json_t *second = settings_print(again);
    assert_true(json_equal(printed, second));
    settings_free(again);
    settings_free(settings);
}

static void wrong_rules_name_their_path(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *key, *what;
    } cases[] = {
        {"5", "policy[1]", "must be an object"},
        {"{\"may\":[\"pull\"],\"repositories\":[\"**\"]}", "policy[1].who", "must be given"},
        {"{\"who\":[],\"may\":[\"pull\"]}", "policy[1].who", "list of 1 to 64 texts"},
        {"{\"who\":[\"a\"],\"may\":[\"pull\"]}", "policy[1]", "repositories, targets or both"},
        {"{\"who\":[\"a\"],\"repositories\":[\"**\"]}", "policy[1].may", "must be given"},
        {"{\"who\":[\"a\"],\"may\":[\"pull\",\"run\"]}", "policy[1].may",
         "entry 2: must be a list of pull, push, delete, tag:move, queue:read, queue:control, "
         "admin, *"},
        {"{\"who\":[\"a\"],\"may\":\"pull\"}", "policy[1].may", "must be a list of pull"},
        {"{\"who\":[\"a\"],\"may\":[]}", "policy[1].may", "must be a list of pull"},
        {"{\"who\":[\"a\"],\"may\":[\"pull\"],\"targets\":[\"**\"]}", "policy[1].targets",
         "\"push\" in may"},
        {"{\"who\":[\"a\"],\"may\":[\"pull\"],\"repositories\":[\"a\",\"A\"]}",
         "policy[1].repositories", "entry 2: must not hold \"A\""},
        {"{\"who\":[\"a\"],\"may\":[\"pull\"],\"repositories\":[\"a/***\"]}",
         "policy[1].repositories", "two stars"},
        {"{\"who\":[\"a\"],\"targets\":[\"team/**\"]}", "policy[1].targets", "HOST/REPOSITORY"},
        {"{\"who\":[\"a\"],\"targets\":[\"*\"]}", "policy[1].targets", "HOST/REPOSITORY"},
        {"{\"who\":[\"a\"],\"targets\":[\"*r:80:80/*\"]}", "policy[1].targets", "one port"},
        {"{\"who\":[\"a\"],\"targets\":[\"[*:1]x/*\"]}", "policy[1].targets", "one port"},
        {"{\"who\":[\"a\"],\"targets\":[\"fd00::*/a\"]}", "policy[1].targets", "one port"},
        {"{\"who\":[\"a\"],\"targets\":[\"r.x/a:1\"]}", "policy[1].targets", "tag or digest"},
        {"{\"who\":[\"a\"],\"targets\":[\"**\"],\"unless\":1}", "policy[1].unless", "unknown key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf("{\"policy\":[" RULE ",%s]}", cases[i].rule);
        expect_refusal(text, cases[i].key, cases[i].what);
    }
    expect_refusal("{\"policy\":[]}", "policy", "1 to 256 objects");
    expect_refusal("{\"policy\":{}}", "policy", "1 to 256 objects");
    char longest[SETTING_PATTERN_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t cut = 0; cut < 2; cut++) {
        autofree char *text = xasprintf("{\"policy\":[{\"who\":[\"a\"],\"may\":[\"pull\"],"
                                        "\"repositories\":[\"%s\"]}]}",
                                        longest + cut);
        if (cut == 0)
            expect_refusal(text, "policy[0].repositories", "1 to 255 bytes");
        else
            settings_free(parsed(text));
    }
}

#define ISSUER "\"name\":\"a\",\"issuer\":\"https://a.x\",\"audiences\":[\"b\"]"
#define MAPPING "{\"claims\":{\"id\":\"1\"},\"identity\":\"ci\"}"

static void wrong_providers_name_their_path(void **state)
{
    (void)state;
    static const struct {
        const char *entry, *key, *what;
    } cases[] = {
        {"{}", "clients.oidc[0].name", "must be given"},
        {"{\"name\":\"a\"}", "clients.oidc[0].issuer", "must be given"},
        {"{\"name\":\"a\",\"issuer\":\"https://a.x\"}", "clients.oidc[0].audiences",
         "must be given"},
        {"{\"name\":\"a\",\"issuer\":\"http://a.x\",\"audiences\":[\"b\"]}",
         "clients.oidc[0].issuer", "https:// beyond loopback"},
        {"{" ISSUER "}", "clients.oidc[0].mappings", "must be given"},
        {"{" ISSUER ",\"mappings\":[]}", "clients.oidc[0].mappings", "1 to 256 objects"},
        {"{" ISSUER ",\"mappings\":[{\"identity\":\"ci\"}]}", "clients.oidc[0].mappings[0].claims",
         "must be given"},
        {"{" ISSUER ",\"mappings\":[{\"identity\":\"ci\",\"claims\":{}}]}",
         "clients.oidc[0].mappings[0].claims", "object of 1 to 32"},
        {"{" ISSUER ",\"mappings\":[{\"identity\":\"ci\",\"claims\":{\"id\":1}}]}",
         "clients.oidc[0].mappings[0].claims", "id: must be a list of 1 to 1024 texts"},
        {"{" ISSUER ",\"mappings\":[{\"claims\":{\"id\":\"1\"}}]}",
         "clients.oidc[0].mappings[0].identity", "must be given"},
        {"{" ISSUER ",\"algorithms\":[\"none\"]}", "clients.oidc[0].algorithms",
         "list of RS256, RS384"},
        {"{" ISSUER ",\"algorithms\":[\"RS256\",\"HS256\"]}", "clients.oidc[0].algorithms",
         "entry 2: must be a list of RS256"},
        {"{" ISSUER ",\"mappings\":[" MAPPING "]},{" ISSUER "}", "clients.oidc[1].name",
         "another entry"},
        {"{" ISSUER ",\"mappings\":[" MAPPING "]},{\"name\":\"b\",\"issuer\":\"https://a.x\","
         "\"audiences\":[\"c\"]}",
         "clients.oidc[1].issuer", "another entry"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf("{\"clients\":{\"oidc\":[%s]}}", cases[i].entry);
        expect_refusal(text, cases[i].key, cases[i].what);
    }
    settings_free(parsed("{\"clients\":{\"oidc\":[{\"name\":\"a\",\"issuer\":\"http://[::1]:1\","
                         "\"audiences\":[\"b\"],\"mappings\":[" MAPPING "]}]}}"));
    expect_refusal("{\"clients\":{\"groups\":{\"a\":[]}}}", "clients.groups", "a: must be a list");
    expect_refusal("{\"clients\":{\"groups\":{\"\":[\"b\"]}}}", "clients.groups",
                   "a key: must have 1 to 255");
    expect_refusal("{\"clients\":{\"groups\":{\"a\\nb\":[\"b\"]}}}", "clients.groups",
                   "a key: must not hold control characters");
    expect_refusal("{\"clients\":{\"token_ttl\":\"25h\"}}", "clients.token_ttl", "1m to 24h");
    expect_refusal("{\"registries\":{\"r\":{\"password_command\":[\"p\"]}}}",
                   "registries.r.password_command", "username");
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"u\",\"password\":\"hunter2\","
                   "\"password_command\":[\"p\"]}}}",
                   "registries.r.password_command", "at most one");
    expect_refusal("{\"mirrors\":[{\"match\":\"a\",\"to\":[{\"target\":\"r.x/a\",\"immutable\":"
                   "[\"v/1\"]}]}]}",
                   "mirrors[0].to[0].immutable", "entry 1: must not hold \"/\"");
}

#define WITH(WHO) "\"policy\":[{\"who\":[" WHO "],\"may\":[\"pull\"],\"repositories\":[\"**\"]}]"
#define CI(IDENTITY, GROUP)                                                                        \
    "\"oidc\":[{" ISSUER ",\"mappings\":[{\"claims\":{\"id\":\"1\"},\"identity\":" IDENTITY        \
    ",\"groups\":[" GROUP "]}]}]"

static void names_are_somebodys(void **state)
{
    (void)state;
    autofree char *users = write_text("users", "");
    const struct {
        const char *text; /* H is the file of users */
        const char *what; /* NULL: taken */
    } cases[] = {
        {WITH("\"ann\""), "policy: needs clients.htpasswd"},
        {WITH("\"anonymous\""), "policy: needs clients.htpasswd"},
        {"\"clients\":{\"anonymous\":true}," WITH("\"anonymous\""), NULL},
        {"\"clients\":{\"anonymous\":true}", NULL},
        {"\"clients\":{\"anonymous\":true}," WITH("\"ann\""), "policy[0].who: nobody is called"},
        {WITH("\"robot:ci\""), NULL},
        {WITH("\"robot:ci\",\"robot:\""), "nobody is called \"robot:\""},
        {WITH("\"robot:ci\",\"cert:x\""), "needs tls.client_ca"},
        {"\"clients\":{\"htpasswd\":\"H\"}", "clients.htpasswd: needs a policy"},
        {"\"clients\":{" CI("\"ci\"", "\"g\"") "}", "clients.oidc: needs a policy"},
        {"\"tls\":{\"client_ca\":\"H\"}", "tls.client_ca needs tls.certificate"},
        {"\"clients\":{\"htpasswd\":\"H\"}," WITH("\"ann\""), NULL},
        {"\"clients\":{\"htpasswd\":\"H\"}," WITH("\"ann\",\"ann\""), "\"ann\" is there twice"},
        {"\"clients\":{\"htpasswd\":\"H.not\"}," WITH("\"ann\""), "clients.htpasswd: open"},
        {"\"clients\":{" CI("\"ci\"", "\"g\"") "}," WITH("\"ci\",\"g\""), NULL},
        {"\"clients\":{" CI("\"ci\"", "\"g\"") "}," WITH("\"ci\""), "no group \"g\""},
        {"\"clients\":{" CI("\"ci\"", "\"g\"") "}," WITH("\"g\",\"team\""),
         "nobody is called \"team\""},
        {"\"clients\":{" CI("\"robot:ci\"", "\"g\"") "}," WITH("\"g\""), "mappings[0]: identity:"},
        {"\"clients\":{" CI("\"cert:ci\"", "\"g\"") "}," WITH("\"g\""), "mappings[0]: identity:"},
        {"\"clients\":{" CI("\"anonymous\"", "\"g\"") "}," WITH("\"g\""), "mappings[0]: identity:"},
        {"\"clients\":{" CI("\"ci\"", "\"authenticated\"") "}," WITH("\"authenticated\""),
         "no group \"authenticated\""},
        {"\"clients\":{\"groups\":{\"ci\":[\"robot:a\"]}," CI("\"ci\"",
                                                              "\"ci\"") "}," WITH("\"ci\""),
         "is called so"},
        {"\"clients\":{\"groups\":{\"robot:g\":[\"robot:a\"]}}," WITH("\"robot:g\""),
         "clients.groups.robot:g: no group"},
        {"\"clients\":{\"groups\":{\"g\":[\"robot:a\"]}}," WITH("\"g\""), NULL},
        {"\"clients\":{\"groups\":{\"g\":[\"robot:a\",\"ann\"]}}," WITH("\"g\""),
         "clients.groups.g: nobody is called \"ann\""},
        {"\"clients\":{\"groups\":{\"g\":[\"robot:a\",\"anonymous\"]}}," WITH("\"g\""),
         "for rules only"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf("{\"data\":\"/d\",%s}", cases[i].text);
        char *at = strstr(text, "\"H");
        autofree char *whole =
            at ? xasprintf("%.*s\"%s%s", (int)(at - text), text, users, at + 2) : xstrdup(text);
        expect_checked(whole, cases[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read_and_printed),
        cmocka_unit_test(wrong_rules_name_their_path),
        cmocka_unit_test(wrong_providers_name_their_path),
        cmocka_unit_test(names_are_somebodys),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
