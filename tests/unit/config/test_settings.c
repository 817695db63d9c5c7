#include "tests/unit/config/settings_cases.h"

static void defaults_hold_without_a_file(void **state)
{
    (void)state;
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(settings_load(NULL, &settings, &err), ERR_OK);
    assert_string_equal(settings->listen, "127.0.0.1:5000");
    assert_null(settings->tls.certificate);
    assert_true(settings->limits.archive_bytes == UINT64_C(200) << 30);
    assert_int_equal(settings->limits.uploads, 16);
    assert_int_equal(settings->limits.pushes_per_registry, 5);
    assert_int_equal(settings->limits.transfers, 128);
    assert_int_equal(settings->limits.pushes, 64);
    assert_int_equal(settings->compression.codec, SETTING_CODEC_GZIP);
    assert_int_equal(settings->compression.effort, SETTING_EFFORT_FAST);
    assert_int_equal(settings->registry_count, 0);
    assert_false(settings->clients.anonymous);
    assert_int_equal(settings->log.level, LOG_INFO);
    assert_int_equal(settings->log.format, LOG_TEXT);
    assert_int_equal(settings_check(settings, &err), ERR_OK);
    settings_free(settings);
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct settings *settings = parsed(
        "{\"listen\":\"[::1]:0\",\"data\":\"/d\","
        "\"tls\":{\"certificate\":\"/c\",\"key\":\"/k\"},"
        "\"limits\":{\"archive\":\"1GB\",\"uploads\":1,\"pushes_per_registry\":2,\"transfers\":4,"
        "\"requests_per_registry\":9,\"pushes\":3},"
        "\"compression\":{\"codec\":\"zstd\",\"effort\":\"best\"},\"clients\":{\"anonymous\":true,"
        "\"trusted_proxies\":[\"10.0.0.0/8\",\"2001:db8::7\"]},\"ops\":{\"listen\":\"0.0.0.0:9\"},"
        "\"registries\":{\"R.Example.com:5000\":{\"endpoints\":[\"https://a/x//\",\"http://b\"],"
        "\"username\":\"u\",\"password\":\"p\",\"ca\":\"/ca\",\"plain_http\":true,"
        "\"upload\":\"chunked\",\"chunk\":1048576,\"retry_wait\":\"1500ms\",\"schema1\":"
        "\"fallback\"}}"
        ","
        "\"log\":{\"level\":\"debug\",\"format\":\"json\"}}");
    assert_string_equal(settings->listen, "[::1]:0");
    assert_string_equal(settings->data, "/d");
    assert_string_equal(settings->tls.certificate, "/c");
    assert_string_equal(settings->tls.key, "/k");
    assert_int_equal(settings->limits.archive_bytes, 1000000000);
    assert_int_equal(settings->limits.uploads, 1);
    assert_int_equal(settings->limits.pushes_per_registry, 2);
    assert_int_equal(settings->limits.requests_per_registry, 9);
    assert_int_equal(settings->limits.transfers, 4);
    assert_int_equal(settings->limits.pushes, 3);
    assert_int_equal(settings->compression.codec, SETTING_CODEC_ZSTD);
    assert_int_equal(settings->compression.effort, SETTING_EFFORT_BEST);
    assert_true(settings->clients.anonymous);
    assert_int_equal(settings->clients.trusted_proxies.count, 2);
    assert_string_equal(settings->clients.trusted_proxies.items[0], "10.0.0.0/8");
    assert_string_equal(settings->clients.trusted_proxies.items[1], "2001:db8::7");
    assert_string_equal(settings->ops.listen, "0.0.0.0:9");
    assert_int_equal(settings->log.level, LOG_DEBUG);
    assert_int_equal(settings->log.format, LOG_JSON);
    assert_int_equal(settings->registry_count, 1);
    const struct registry_setting *entry = settings_registry(settings, "r.example.COM:5000");
    assert_non_null(entry);
    assert_string_equal(entry->host, "r.example.com:5000");
    assert_int_equal(entry->endpoints.count, 2);
    assert_string_equal(entry->endpoints.items[0], "https://a/x");
    assert_string_equal(entry->endpoints.items[1], "http://b");
    assert_string_equal(entry->username, "u");
    assert_string_equal(entry->password.text, "p");
    assert_string_equal(entry->ca, "/ca");
    assert_true(entry->plain_http);
    assert_int_equal(entry->upload, UPLOAD_CHUNKED);
    assert_int_equal(entry->chunk_bytes, 1048576);
    assert_int_equal(entry->retry_wait_ms, 1500);
    assert_int_equal(entry->schema1, SCHEMA1_FALLBACK);
    assert_null(settings_registry(settings, "r.example.com"));
    settings_free(settings);
}

static void choices_are_their_enums(void **state)
{
    (void)state;
    static const char *const uploads[] = {"auto", "put", "patch", "chunked", "post"};
    static const char *const codecs[] = {"keep", "gzip", "zstd", "none"};
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < 5; i++) {
        autofree char *text = xasprintf("{\"registries\":{\"r\":{\"upload\":\"%s\"}},"
                                        "\"compression\":{\"codec\":\"%s\"},"
                                        "\"log\":{\"level\":\"%s\"}}",
                                        uploads[i], codecs[i % 4], levels[i % 4]);
        struct settings *settings = parsed(text);
        assert_int_equal(settings->registries[0].upload, i);
        assert_int_equal(settings->compression.codec, i % 4);
        assert_int_equal(settings->log.level, i % 4);
        settings_free(settings);
    }
    assert_int_equal(UPLOAD_POST, 4);
    assert_int_equal(SETTING_CODEC_NONE, 3);
    assert_int_equal(LOG_DEBUG, 3);
}

static void unknown_keys_are_refused(void **state)
{
    (void)state;
    expect_refusal("{\"mirror\":[]}", "mirror", "unknown key");
    expect_refusal("{\"Listen\":\"127.0.0.1:1\"}", "Listen", "unknown key");
    expect_refusal("{\"limits\":{\"upload\":1}}", "limits.upload", "unknown key");
    expect_refusal("{\"limits.uploads\":1}", "limits.uploads", "unknown key");
    expect_refusal("{\"limit\":{}}", "limit", "unknown key");
    expect_refusal("{\"log\":{\"registries\":{}}}", "log.registries", "unknown key");
    expect_refusal("{\"registries\":{\"r\":{\"user\":1}}}", "registries.r.user", "unknown key");
    expect_refusal("{\"registries\":{\"r\":{\"listen\":1}}}", "registries.r.listen", "unknown key");
    expect_refusal("{\"\":1}", "", "unknown key");
    expect_refusal("{\"a\\nb\":1}", "a?b", "unknown key");
}

static void long_keys_are_cut_in_messages(void **state)
{
    (void)state;
    char key[2000];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    autofree char *text = xasprintf("{\"limits\":{\"%s\":1}}", key);
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(parse(text, &settings, &err), ERR_SETTINGS);
    assert_non_null(strstr(err.text, "unknown key"));
    assert_true(strlen(err.text) < 500);
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    static const char *const keys[][3] = {
        {"{\"listen\":%s}", "listen", "s"},
        {"{\"data\":%s}", "data", "s"},
        {"{\"tls\":{\"key\":%s}}", "tls.key", "s"},
        {"{\"limits\":{\"archive\":%s}}", "limits.archive", "ns"},
        {"{\"limits\":{\"uploads\":%s}}", "limits.uploads", "n"},
        {"{\"clients\":{\"anonymous\":%s}}", "clients.anonymous", "b"},
        {"{\"clients\":{\"trusted_proxies\":[%s]}}", "clients.trusted_proxies", "-"},
        {"{\"ops\":{\"listen\":%s}}", "ops.listen", "s"},
        {"{\"log\":{\"level\":%s}}", "log.level", "s"},
        {"{\"registries\":{\"r\":{\"endpoints\":%s}}}", "registries.r.endpoints", "l"},
        {"{\"registries\":{\"r\":{\"endpoints\":[%s]}}}", "registries.r.endpoints", "s"},
        {"{\"registries\":{\"r\":{\"username\":%s}}}", "registries.r.username", "s"},
        {"{\"registries\":{\"r\":{\"password\":%s}}}", "registries.r.password", "s"},
        {"{\"registries\":{\"r\":{\"password_file\":%s}}}", "registries.r.password_file", "s"},
        {"{\"registries\":{\"r\":{\"password_env\":%s}}}", "registries.r.password_env", "s"},
        {"{\"registries\":{\"r\":%s}}", "registries.r", "o"},
        {"{\"registries\":%s}", "registries", "o"},
        {"{\"limits\":%s}", "limits", "o"},
    };
    static const char *const values[][2] = {{"7", "n"},       {"true", "b"}, {"null", "-"},
                                            {"[\"7\"]", "l"}, {"{}", "o"},   {"1.5", "f"},
                                            {"\"7\"", "s"}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            const char *at = strstr(keys[i][0], "%s");
            if (strstr(keys[i][2], values[j][1]) != NULL)
                continue;
            autofree char *text =
                xasprintf("%.*s%s%s", (int)(at - keys[i][0]), keys[i][0], values[j][0], at + 2);
            expect_refusal(text, keys[i][1], "must be ");
        }
}

static void no_settings_are_no_settings(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "[]", "1", "null", "{", "{} {}", "{\"log\":{\"level\":\"info\",\"level\":1}}",
        "{\"a\":1e}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct settings *settings = NULL;
        struct error err = ERROR_INIT;
        assert_int_equal(parse(bad[i], &settings, &err), ERR_SETTINGS);
        assert_int_equal(err.code, ERR_SETTINGS);
        assert_int_equal(strncmp(err.text, NAME, strlen(NAME)), 0);
    }
}

static void numbers_have_limits(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        unsigned least;
        unsigned most;
    } cases[] = {{"uploads", 1, 1024},
                 {"pushes_per_registry", 1, 256},
                 {"requests_per_registry", 1, 256},
                 {"transfers", 1, 4096},
                 {"pushes", 1, 1024}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const unsigned values[] = {cases[i].least - 1, cases[i].least, cases[i].least + 1,
                                   cases[i].most - 1,  cases[i].most,  cases[i].most + 1};
        autofree char *path = xasprintf("limits.%s", cases[i].key);
        for (size_t j = 0; j < 6; j++) {
            autofree char *text = xasprintf("{\"limits\":{\"%s\":%u}}", cases[i].key, values[j]);
            if (values[j] < cases[i].least || values[j] > cases[i].most)
                expect_refusal(text, path, "must be a whole number from 1 to");
            else
                settings_free(parsed(text));
        }
    }
    expect_refusal("{\"limits\":{\"uploads\":-1}}", "limits.uploads", "from 1 to 1024");
    expect_refusal("{\"limits\":{\"uploads\":4294967297}}", "limits.uploads", "from 1 to 1024");
}

static void times_have_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool taken;
    } cases[] = {
        {"\"9ms\"", false},     {"\"10ms\"", true}, {"\"11ms\"", true},
        {"\"599999ms\"", true}, {"\"600s\"", true}, {"\"600001ms\"", false},
        {"\"10m\"", true},      {"\"11m\"", false}, {"\"0s\"", false},
        {"5", false},           {"\"5\"", false},   {"\"5 s\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text =
            xasprintf("{\"registries\":{\"r\":{\"retry_wait\":%s}}}", cases[i].text);
        if (cases[i].taken)
            settings_free(parsed(text));
        else
            expect_refusal(text, "registries.r.retry_wait", "must be ");
    }
    expect_refusal("{\"registries\":{\"r\":{\"retry_wait\":\"11m\"}}}", "registries.r.retry_wait",
                   "from 10ms to 10m");
}

static void sizes_have_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool taken;
    } cases[] = {{"65535", false},      {"65536", true},      {"65537", true},
                 {"5368709119", true},  {"5368709120", true}, {"5368709121", false},
                 {"\"64KiB\"", true},   {"\"5GiB\"", true},   {"\"5.1GiB\"", false},
                 {"\"6GiB\"", false},   {"-65536", false},    {"\"\"", false},
                 {"\"64 KiB\"", false}, {"\"65536B\"", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *text = xasprintf("{\"registries\":{\"r\":{\"chunk\":%s}}}", cases[i].text);
        if (cases[i].taken)
            settings_free(parsed(text));
        else
            expect_refusal(text, "registries.r.chunk", "must be ");
    }
    expect_refusal("{\"limits\":{\"archive\":1023}}", "limits.archive", "from 1KiB to 1024TiB");
    settings_free(parsed("{\"limits\":{\"archive\":1024}}"));
    settings_free(parsed("{\"limits\":{\"archive\":\"1024TiB\"}}"));
    expect_refusal("{\"limits\":{\"archive\":1125899906842625}}", "limits.archive", "to 1024TiB");
}

static void paths_start_at_the_file(void **state)
{
    (void)state;
    free(write_text("password", "hunter2\n"));
    autofree char *path =
        write_text("slipway.json", "{\"data\":\"here\",\"tls\":{\"key\":\"/k\"},\"registries\":"
                                   "{\"r\":{\"ca\":\"../ca.pem\",\"username\":\"u\","
                                   "\"password_file\":\"password\"}}}");
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(settings_load(path, &settings, &err), ERR_OK);
    autofree char *data = xasprintf("%s/here", folder);
    autofree char *ca = xasprintf("%s/../ca.pem", folder);
    assert_string_equal(settings->data, data);
    assert_string_equal(settings->tls.key, "/k");
    assert_string_equal(settings->registries[0].ca, ca);
    assert_string_equal(settings->registries[0].password.text, "hunter2");
    assert_int_equal(settings_override(settings, "data", "there", "--data", &err), ERR_OK);
    autofree char *here = getcwd(NULL, 0);
    autofree char *there = xasprintf("%s/there", here);
    assert_string_equal(settings->data, there);
    settings_free(settings);
}

static void unreadable_files_are_refused(void **state)
{
    (void)state;
    autofree char *path = xasprintf("%s/nowhere.json", folder);
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(settings_load(path, &settings, &err), ERR_SETTINGS);
    assert_int_equal(err.code, ERR_SETTINGS);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(settings_load(folder, &settings, &err), ERR_SETTINGS);
    assert_null(settings);
}

static void file_size_is_limited(void **state)
{
    (void)state;
    autofree char *text = xmalloc(SETTINGS_FILE_LIMIT + 1);
    memset(text, ' ', SETTINGS_FILE_LIMIT + 1);
    memcpy(text, "{}", 2);
    for (size_t size = SETTINGS_FILE_LIMIT - 1; size <= SETTINGS_FILE_LIMIT + 1; size++) {
        autofree char *path = write_bytes("large.json", text, size);
        struct settings *settings = NULL;
        struct error err = ERROR_INIT;
        enum errc wanted = size > SETTINGS_FILE_LIMIT ? ERR_SETTINGS : ERR_OK;
        assert_int_equal(settings_load(path, &settings, &err), wanted);
        settings_free(settings);
        settings = NULL;
        assert_int_equal(settings_parse(text, size, NAME, &settings, &err), wanted);
        settings_free(settings);
    }
}

static void overrides_are_checked_alike(void **state)
{
    (void)state;
    struct settings *settings = parsed("{}");
    struct error err = ERROR_INIT;
    static const char *const good[][2] = {
        {"listen", "127.0.0.1:0"},     {"limits.uploads", "7"},       {"limits.archive", "1GiB"},
        {"clients.anonymous", "true"}, {"compression.codec", "none"}, {"data", "\377"}};
    static const char *const bad[][2] = {{"listen", "localhost"},
                                         {"limits.uploads", "0"},
                                         {"limits.uploads", "x"},
                                         {"limits.uploads", "1KiB"},
                                         {"limits.uploads", ""},
                                         {"limits.archive", "1"},
                                         {"clients.anonymous", "yes"},
                                         {"compression.codec", ""},
                                         {"data", ""},
                                         {"registries.r.chunk", "1MiB"},
                                         {"registries", "{}"},
                                         {"limits", "1"},
                                         {"nothing", "1"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(settings_override(settings, good[i][0], good[i][1], "--x", &err), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (settings_override(settings, bad[i][0], bad[i][1], "--x", &err) != ERR_SETTINGS)
            fail_msg("%s = %s was taken", bad[i][0], bad[i][1]);
        autofree char *begin = xasprintf("--x: %s: ", bad[i][0]);
        assert_int_equal(strncmp(err.text, begin, strlen(begin)), 0);
    }
    assert_string_equal(settings->listen, "127.0.0.1:0");
    assert_int_equal(settings->limits.uploads, 7);
    assert_int_equal(settings->limits.archive_bytes, 1 << 30);
    assert_true(settings->clients.anonymous);
    assert_int_equal(settings->compression.codec, SETTING_CODEC_NONE);
    assert_string_equal(strrchr(settings->data, '/'), "/\377");
    settings_free(settings);
}

static void proxies_are_addresses_and_networks(void **state)
{
    (void)state;
    static const char *const bad[] = {"10.0.0.0/33", "proxy.example.com", "10.0.0.1:80", "[::1]",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        autofree char *text =
            xasprintf("{\"clients\":{\"trusted_proxies\":[\"::1\",\"%s\"]}}", bad[i]);
        expect_refusal(text, "clients.trusted_proxies", "entry 2");
    }
    expect_refusal("{\"clients\":{\"trusted_proxies\":[]}}", "clients.trusted_proxies",
                   "must be a list of 1 to 64 addresses and networks");
}

#define ANYBODY "\"policy\":[{\"who\":[\"anonymous\"],\"may\":[\"*\"],\"repositories\":[\"**\"]}]"

static void listening_beyond_loopback_needs_words(void **state)
{
    (void)state;
    static const char *const near[] = {"127.0.0.1:1", "127.255.0.1:1", "[::1]:1",
                                       "[::ffff:127.0.0.1]:1"};
    static const char *const far[] = {"0.0.0.0:1",       "192.0.2.1:1",          "[::]:1",
                                      "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1", "128.0.0.1:1"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        autofree char *text = xasprintf("{\"listen\":\"%s\",\"data\":\"/d\"}", near[i]);
        expect_checked(text, NULL);
    }
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        autofree char *closed = xasprintf("{\"listen\":\"%s\",\"data\":\"/d\"}", far[i]);
        expect_checked(closed, "set policy");
        autofree char *clear = xasprintf(
            "{\"listen\":\"%s\",\"data\":\"/d\",\"clients\":{\"anonymous\":true}," ANYBODY "}",
            far[i]);
        expect_checked(clear, "set tls.certificate and tls.key, or clients.plain_http");
        autofree char *open =
            xasprintf("{\"listen\":\"%s\",\"data\":\"/d\",\"clients\":{\"anonymous\":true,"
                      "\"plain_http\":true}," ANYBODY "}",
                      far[i]);
        expect_checked(open, NULL);
    }
}

static void tls_keys_come_together(void **state)
{
    (void)state;
    autofree char *pem = write_text("a.pem", "pem");
    autofree char *both = xasprintf("{\"data\":\"/d\",\"tls\":{\"certificate\":\"%s\","
                                    "\"key\":\"%s\"}}",
                                    pem, pem);
    expect_checked(both, "tls.certificate: /");
    expect_checked("{\"data\":\"/d\",\"tls\":{\"certificate\":\"/c\"}}",
                   "tls.certificate needs tls.key");
    expect_checked("{\"data\":\"/d\",\"tls\":{\"key\":\"/c\"}}", "tls.key needs tls.certificate");
}

static void named_files_must_be_there(void **state)
{
    (void)state;
    autofree char *pem = write_text("a.pem", "pem");
    autofree char *missing = xasprintf("{\"data\":\"/d\",\"tls\":{\"certificate\":\"%s\","
                                       "\"key\":\"%s.not\"}}",
                                       pem, pem);
    expect_checked(missing, "tls.key: open /");
    autofree char *ca = xasprintf("{\"data\":\"/d\",\"registries\":{\"r\":{\"ca\":\"%s\"}}}", pem);
    expect_checked(ca, "registries.r.ca: /");
    autofree char *pair = xasprintf("{\"data\":\"/d\",\"registries\":{\"r\":{"
                                    "\"client_certificate\":\"%s\",\"client_key\":\"%s\"}}}",
                                    pem, pem);
    expect_checked(pair, "registries.r.client_certificate: /");
    autofree char *nowhere =
        xasprintf("{\"data\":\"/d\",\"registries\":{\"r\":{\"ca\":\"%s\"}}}", folder);
    expect_checked(nowhere, "registries.r.ca: /");
}

static void data_follows_the_user(void **state)
{
    (void)state;
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    setenv("XDG_DATA_HOME", "/xdg", 1);
    setenv("HOME", "/home/me", 1);
    settings_load(NULL, &settings, &err);
    assert_string_equal(settings->data, geteuid() == 0 ? "/var/lib/slipway" : "/xdg/slipway");
    settings_free(settings);
    if (geteuid() == 0 && seteuid(65534) != 0)
        skip();
    settings_load(NULL, &settings, &err);
    assert_string_equal(settings->data, "/xdg/slipway");
    settings_free(settings);
    setenv("XDG_DATA_HOME", "relative", 1);
    settings_load(NULL, &settings, &err);
    assert_string_equal(settings->data, "/home/me/.local/share/slipway");
    settings_free(settings);
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    settings_load(NULL, &settings, &err);
    assert_null(settings->data);
    assert_int_equal(settings_check(settings, &err), ERR_SETTINGS);
    assert_non_null(strstr(err.text, "data"));
    settings_free(settings);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

static void printing_hides_secrets(void **state)
{
    (void)state;
    struct settings *settings =
        parsed("{\"data\":\"/d\",\"registries\":{\"r\":{\"username\":\"u\",\"password\":"
               "\"hunter2\",\"endpoints\":[\"https://r\"],\"chunk\":1000000}}}");
    autojson json_t *value = settings_print(settings);
    autofree char *text = json_compact(value);
    settings_free(settings);
    assert_string_equal(
        text,
        "{\"listen\":\"127.0.0.1:5000\",\"data\":\"/d\",\"limits\":{\"archive\":\"200GiB\","
        "\"uploads\":16,\"blobs\":64,\"pushes_per_registry\":5,\"requests_per_registry\":16,"
        "\"transfers\":128,\"pushes\":64,\"push_time\":\"24h\",\"push_copies\":\"20GiB\",\"upload_"
        "session\":\"1h\","
        "\"upload_sessions\":8192,\"upload_sessions_per_repository\":2048,"
        "\"upload_sessions_per_client\":512},"
        "\"store\":{\"map\":\"32GiB\"},"
        "\"queue\":{\"keep_trying\":\"168h\",\"history_count\":10000,"
        "\"history_age\":\"720h\",\"reconcile\":\"off\"},"
        "\"keep\":{\"grace\":\"24h\",\"untagged\":\"forever\",\"cache_age\":\"720h\","
        "\"every\":\"1h\",\"rules\":[]},"
        "\"compression\":{\"codec\":\"gzip\",\"effort\":\"fast\"},"
        "\"clients\":{\"token_ttl\":\"1h\",\"anonymous\":false,\"plain_http\":false},\"log\":{"
        "\"level\":\"info\",\"format\":\"text\"},"
        "\"registries\":{\"r\":{\"endpoints\":[\"https://r\"],\"username\":\"u\","
        "\"password\":\"(redacted)\",\"plain_http\":false,\"upload\":\"auto\","
        "\"chunk\":\"1000000B\",\"retry_wait\":\"5s\",\"schema1\":\"never\"}},"
        "\"mirrors\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_without_a_file),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(choices_are_their_enums),
        cmocka_unit_test(unknown_keys_are_refused),
        cmocka_unit_test(long_keys_are_cut_in_messages),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(no_settings_are_no_settings),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(times_have_limits),
        cmocka_unit_test(paths_start_at_the_file),
        cmocka_unit_test(unreadable_files_are_refused),
        cmocka_unit_test(file_size_is_limited),
        cmocka_unit_test(overrides_are_checked_alike),
        cmocka_unit_test(proxies_are_addresses_and_networks),
        cmocka_unit_test(listening_beyond_loopback_needs_words),
        cmocka_unit_test(tls_keys_come_together),
        cmocka_unit_test(named_files_must_be_there),
        cmocka_unit_test(data_follows_the_user),
        cmocka_unit_test(printing_hides_secrets),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
