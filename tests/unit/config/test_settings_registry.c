#include "tests/unit/config/settings_cases.h"

static void a_registry_entry_has_defaults(void **state)
{
    (void)state;
    struct settings *settings = parsed("{\"registries\":{\"index.docker.io\":{},\"[::1]:5\":{}}}");
    const struct registry_setting *entry = settings_registry(settings, "docker.io");
    assert_non_null(entry);
    assert_int_equal(entry->endpoints.count, 0);
    assert_null(entry->username);
    assert_null(entry->password.text);
    assert_null(entry->ca);
    assert_false(entry->plain_http);
    assert_int_equal(entry->upload, UPLOAD_AUTO);
    assert_int_equal(entry->chunk_bytes, 95 * 1024 * 1024);
    assert_int_equal(entry->retry_wait_ms, 5000);
    assert_int_equal(entry->schema1, SCHEMA1_NEVER);
    assert_non_null(settings_registry(settings, "[::1]:5"));
    settings_free(settings);
}

static void endpoints_are_urls(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "r.example.com",
        "ftp://r.example.com",
        "https://",
        "https:///v2",
        "https://user:hunter2@r.example.com",
        "https://hunter2@r.example.com",
        "https://r.example.com?hunter2",
        "https://r.example.com/x?hunter2=1",
        "https://r.example.com#hunter2",
        "https://r.example.com:0",
        "https://r.example.com:65536",
        "https://r.example.com:",
        "https://r example.com",
        "https://r.example.com/\\u000a",
        "https://r.example.com\\\\x",
        "https://[::1",
        "https://[zz]",
        "https://r_\303\266",
        "http://r.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
    };
    static const char *const good[] = {
        "https://r.example.com", "HTTPS://R.example.com:443/nexus",
        "http://127.0.0.1:5000", "http://localhost:5000/",
        "http://[::1]:5000",     "http://a.localhost",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        autofree char *text =
            xasprintf("{\"registries\":{\"r\":{\"endpoints\":[\"%s\"]}}}", bad[i]);
        expect_refusal(text, "registries.r.endpoints", "");
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        autofree char *text =
            xasprintf("{\"registries\":{\"r\":{\"endpoints\":[\"%s\"]}}}", good[i]);
        settings_free(parsed(text));
    }
    /* plain_http counts wherever it stands in the entry. */
    settings_free(parsed("{\"registries\":{\"r\":{\"endpoints\":[\"http://r.example.com\"],"
                         "\"plain_http\":true}}}"));
    expect_refusal("{\"registries\":{\"r\":{\"endpoints\":[\"http://r.example.com\"],"
                   "\"plain_http\":false}}}",
                   "registries.r.endpoints", "needs plain_http");
    expect_refusal("{\"registries\":{\"r\":{\"endpoints\":[\"https://a\",\"b\"]}}}",
                   "registries.r.endpoints", "entry 2");
}

static void endpoints_are_counted(void **state)
{
    (void)state;
    for (unsigned count = 0; count <= 17; count++) {
        char list[512] = "";
        for (unsigned i = 0; i < count; i++)
            strcat(list, i ? ",\"https://r\"" : "\"https://r\"");
        autofree char *text = xasprintf("{\"registries\":{\"r\":{\"endpoints\":[%s]}}}", list);
        if (count == 0 || count == 17)
            expect_refusal(text, "registries.r.endpoints", "a list of 1 to 16 URLs");
        else
            settings_free(parsed(text));
    }
}

static void registry_hosts_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "https://r", "r/team", "r:",  "r:0", "r:65536",
                                      "user@r", "r r",       "[::1",   "::1", "r:5x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        autofree char *text = xasprintf("{\"registries\":{\"%s\":{}}}", bad[i]);
        autofree char *key = xasprintf("registries.%s", bad[i]);
        expect_refusal(text, key, "must ");
    }
    expect_refusal("{\"registries\":{\"r.x\":{},\"R.X\":{}}}", "registries.R.X", "same host");
    expect_refusal("{\"registries\":{\"docker.io\":{},\"index.docker.io\":{}}}",
                   "registries.index.docker.io", "same host");
}

static void registries_are_counted(void **state)
{
    (void)state;
    for (size_t count = SETTINGS_REGISTRIES_MAX - 1; count <= SETTINGS_REGISTRIES_MAX + 1;
         count++) {
        json_t *root = json_object();
        json_t *registries = json_object();
        json_object_set_new(root, "registries", registries);
        for (size_t i = 0; i < count; i++) {
            char host[32];
            snprintf(host, sizeof host, "r%zu", i);
            json_object_set_new(registries, host, json_object());
        }
        autofree char *text = json_compact(root);
        json_decref(root);
        if (count > SETTINGS_REGISTRIES_MAX)
            expect_refusal(text, "registries", "at most 1024 hosts");
        else
            settings_free(parsed(text));
    }
}

/* An entry of "registries" for r with a user and this password key. */
static char *with_password(const char *key, const char *value)
{
    return xasprintf("{\"registries\":{\"r\":{\"username\":\"u\",\"%s\":\"%s\"}}}", key, value);
}

static void expect_password(const char *text, const char *password)
{
    struct settings *settings = parsed(text);
    assert_string_equal(settings->registries[0].password.text, password);
    settings_free(settings);
}

static void passwords_come_from_files(void **state)
{
    (void)state;
    static const char *const content[][2] = {
        {"hunter2", "hunter2"}, {"hunter2\n", "hunter2"},     {"hunter2\n\n", "hunter2\n"},
        {" a b \n", " a b "},   {"hunter2\r\n", "hunter2\r"},
    };
    for (size_t i = 0; i < sizeof content / sizeof content[0]; i++) {
        autofree char *path = write_text("password", content[i][0]);
        autofree char *text = with_password("password_file", path);
        expect_password(text, content[i][1]);
    }
    autofree char *path = write_text("password", "\n");
    autofree char *text = with_password("password_file", path);
    expect_refusal(text, "registries.r.password_file", "is empty");
    free(write_bytes("password", "hunter2\0x", 9));
    expect_refusal(text, "registries.r.password_file", "NUL byte");
    unlink(path);
    expect_refusal(text, "registries.r.password_file", path);
    expect_refusal(text, "registries.r.password_file", "No such file");
}

static void password_files_are_limited(void **state)
{
    (void)state;
    const size_t limit = (size_t)64 * 1024;
    autofree char *data = xmalloc(limit + 1);
    memset(data, 'a', limit + 1);
    for (size_t size = limit - 1; size <= limit + 1; size++) {
        autofree char *path = write_bytes("password", data, size);
        autofree char *text = with_password("password_file", path);
        if (size > limit)
            expect_refusal(text, "registries.r.password_file", "limit 65536 bytes");
        else
            settings_free(parsed(text));
    }
}

static void passwords_come_from_the_environment(void **state)
{
    (void)state;
    autofree char *text = with_password("password_env", "SLIPWAY_TEST_PASSWORD");
    unsetenv("SLIPWAY_TEST_PASSWORD");
    expect_refusal(text, "registries.r.password_env", "SLIPWAY_TEST_PASSWORD is not set");
    setenv("SLIPWAY_TEST_PASSWORD", "", 1);
    expect_refusal(text, "registries.r.password_env", "SLIPWAY_TEST_PASSWORD is empty");
    setenv("SLIPWAY_TEST_PASSWORD", "hunter2", 1);
    expect_password(text, "hunter2");
    unsetenv("SLIPWAY_TEST_PASSWORD");
}

static void passwords_exclude_each_other(void **state)
{
    (void)state;
    autofree char *path = write_text("password", "hunter2");
    setenv("SLIPWAY_TEST_PASSWORD", "hunter2", 1);
    autofree char *a = xasprintf("{\"registries\":{\"r\":{\"username\":\"u\",\"password\":\"p\","
                                 "\"password_file\":\"%s\"}}}",
                                 path);
    expect_refusal(a, "registries.r.password_file", "at most one of");
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"u\",\"password\":\"p\","
                   "\"password_env\":\"SLIPWAY_TEST_PASSWORD\"}}}",
                   "registries.r.password_env", "at most one of");
    expect_refusal("{\"registries\":{\"r\":{\"password_env\":\"SLIPWAY_TEST_PASSWORD\","
                   "\"password\":\"p\"}}}",
                   "registries.r.password", "at most one of");
    unsetenv("SLIPWAY_TEST_PASSWORD");
}

static void user_and_password_come_together(void **state)
{
    (void)state;
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"u\"}}}", "registries.r.username",
                   "needs a password");
    expect_refusal("{\"registries\":{\"r\":{\"password\":\"hunter2\"}}}", "registries.r.password",
                   "needs a username");
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"u:v\",\"password\":\"p\"}}}",
                   "registries.r.username", "colon");
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"\",\"password\":\"p\"}}}",
                   "registries.r.username", "must have 1 to 1024 bytes");
    expect_refusal("{\"registries\":{\"r\":{\"username\":\"u\",\"password\":\"hunter2\\n\"}}}",
                   "registries.r.password", "control characters");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registry_entry_has_defaults),
        cmocka_unit_test(endpoints_are_urls),
        cmocka_unit_test(endpoints_are_counted),
        cmocka_unit_test(registry_hosts_are_checked),
        cmocka_unit_test(registries_are_counted),
        cmocka_unit_test(passwords_come_from_files),
        cmocka_unit_test(password_files_are_limited),
        cmocka_unit_test(passwords_come_from_the_environment),
        cmocka_unit_test(passwords_exclude_each_other),
        cmocka_unit_test(user_and_password_come_together),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
