#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "config/credentials.h"
#include "config/credentials_helper.h"
#include "config/password_command.h"
#include "config/program.h"
#include "tests/support/test_folder.h"
#include <setjmp.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char folder[TEST_FOLDER_MAX];
static char *path_before;

static void write_file(const char *name, const char *text, mode_t mode)
{
    autofree char *path = xasprintf("%s/%s", folder, name);
    struct error err = ERROR_INIT;
    unlink(path);
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, text, strlen(text), &err), ERR_OK);
}

/* A helper program whose body is shell. */
static void write_helper(const char *name, const char *body)
{
    autofree char *file = xasprintf("docker-credential-%s", name);
    autofree char *text = xasprintf("#!/bin/sh\n%s\n", body);
    write_file(file, text, 0700);
}

static void write_config(const char *text)
{
    write_file("config.json", text, 0600);
}

static void set_folder(const char *variable, const char *below)
{
    autofree char *path = xasprintf("%s%s", folder, below);
    assert_int_equal(setenv(variable, path, 1), 0);
}

static int make_folder(void **state)
{
    (void)state;
    test_folder_make(folder);
    path_before = xstrdup(getenv("PATH"));
    autofree char *path = xasprintf("%s:%s", folder, path_before);
    setenv("PATH", path, 1);
    autofree char *docker = xasprintf("%s/.docker", folder);
    autofree char *podman = xasprintf("%s/containers", folder);
    autofree char *config = xasprintf("%s/.config", folder);
    autofree char *home = xasprintf("%s/.config/containers", folder);
    return mkdir(docker, 0700) | mkdir(podman, 0700) | mkdir(config, 0700) | mkdir(home, 0700);
}

static int remove_folder(void **state)
{
    (void)state;
    setenv("PATH", path_before, 1);
    free(path_before);
    return test_folder_remove(folder);
}

static int fresh(void **state)
{
    (void)state;
    set_folder("DOCKER_CONFIG", "");
    set_folder("HOME", "");
    set_folder("XDG_RUNTIME_DIR", "");
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("XDG_CONFIG_HOME");
    const char *const names[] = {"config.json", ".docker/config.json", "containers/auth.json",
                                 ".config/containers/auth.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        autofree char *path = xasprintf("%s/%s", folder, names[i]);
        unlink(path);
    }
    program_set_limit(30 * 1000);
    return 0;
}

static void assert_text(const char *got, const char *wanted)
{
    if (wanted == NULL)
        assert_null(got);
    else {
        assert_non_null(got);
        assert_string_equal(got, wanted);
    }
}

static void expect(const char *host, const char *path, const char *username, const char *password)
{
    struct stored_credentials found = {0};
    struct error err = ERROR_INIT;
    if (credentials_find(host, path, &found, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_text(found.username, username);
    assert_text(found.password, password);
    assert_null(found.identity_token);
    assert_null(found.registry_token);
    credentials_clear(&found);
    assert_null(found.username);
}

static void expect_error(const char *host, const char *wanted)
{
    struct stored_credentials found = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(credentials_find(host, "app", &found, &err), ERR_CREDENTIALS);
    if (strstr(err.text, wanted) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, wanted);
    assert_null(strstr(err.text, "hunter2"));
    assert_null(found.username);
    assert_null(found.password);
}

static void no_file_is_no_credentials(void **state)
{
    (void)state;
    expect("r.example.com", "app", NULL, NULL);
    unsetenv("DOCKER_CONFIG");
    unsetenv("HOME");
    unsetenv("XDG_RUNTIME_DIR");
    expect("r.example.com", "app", NULL, NULL);
}

static void files_are_tried_in_their_order(void **state)
{
    (void)state;
#define LOGIN(user) "{\"auths\":{\"r.example.com\":{\"username\":\"" user "\",\"password\":\"p\"}}}"
    write_file(".docker/config.json", LOGIN("home"), 0600);
    /* DOCKER_CONFIG is set, so the home's file does not count. */
    expect("r.example.com", "app", NULL, NULL);
    unsetenv("DOCKER_CONFIG");
    expect("r.example.com", "app", "home", "p");
    set_folder("DOCKER_CONFIG", "");
    write_config(LOGIN("docker"));
    expect("r.example.com", "app", "docker", "p");
    write_file(".config/containers/auth.json", LOGIN("podman at home"), 0600);
    expect("r.example.com", "app", "podman at home", "p");
    write_file("containers/auth.json", LOGIN("podman"), 0600);
    expect("r.example.com", "app", "podman", "p");
    write_file("own.json", LOGIN("own"), 0600);
    set_folder("REGISTRY_AUTH_FILE", "/own.json");
    expect("r.example.com", "app", "own", "p");
    /* What knows nothing of the host leaves it to the next, what is broken does not. */
    write_file("own.json", "{\"auths\":{\"other\":{\"username\":\"u\",\"password\":\"p\"}}}", 0600);
    expect("r.example.com", "app", "podman", "p");
    write_file("containers/auth.json", "{\"auths\":{}}", 0600);
    write_file(".config/containers/auth.json", "{\"currentContext\":\"default\"}", 0600);
    expect("r.example.com", "app", "docker", "p");
    write_file("own.json", "{", 0600);
    expect_error("r.example.com", "own.json is not valid JSON");
    unsetenv("REGISTRY_AUTH_FILE");
}

static void auth_is_decoded(void **state)
{
    (void)state;
    /* "ci:hunter2:x", "ci:", ":hunter2", "ci:hunter2" and two NULs */
    write_config("{\"auths\":{\"a\":{\"auth\":\"Y2k6aHVudGVyMjp4\"},"
                 "\"b\":{\"auth\":\"Y2k6\",\"username\":\"no\",\"password\":\"no\"},"
                 "\"c\":{\"auth\":\"Omh1bnRlcjI=\"},\"d\":{\"auth\":\"Y2k6aHVudGVyMgAA\"},"
                 "\"e\":{},\"f\":{\"auth\":\"\",\"username\":\"u\",\"password\":\"p\"}}}");
    expect("a", "app", "ci", "hunter2:x");
    expect("b", "app", "ci", NULL);
    expect("c", "app", NULL, "hunter2");
    expect("d", "app", "ci", "hunter2");
    expect("e", "app", NULL, NULL);
    expect("f", "app", "u", "p");
    expect("g", "app", NULL, NULL);
}

static void tokens_are_handed_on(void **state)
{
    (void)state;
    write_config("{\"auths\":{\"r\":{\"auth\":\"MDA6\",\"identitytoken\":\"it\"},"
                 "\"s\":{\"registrytoken\":\"rt\"}}}");
    struct stored_credentials found = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(credentials_find("r", "app", &found, &err), ERR_OK);
    assert_text(found.username, "00");
    assert_text(found.password, NULL);
    assert_text(found.identity_token, "it");
    credentials_clear(&found);
    assert_int_equal(credentials_find("s", "app", &found, &err), ERR_OK);
    assert_text(found.username, NULL);
    assert_text(found.registry_token, "rt");
    credentials_clear(&found);
}

static void keys_have_many_forms(void **state)
{
    (void)state;
    write_config("{\"auths\":{"
                 "\"https://old.example.com/v1/\":{\"username\":\"old\",\"password\":\"p\"},"
                 "\"bare.example.com/v1/\":{\"username\":\"v1\",\"password\":\"p\"},"
                 "\"bare.example.com:5000/v2\":{\"username\":\"v2\",\"password\":\"p\"},"
                 "\"http://both.example.com:5000\":{\"username\":\"url\",\"password\":\"p\"},"
                 "\"both.example.com:5000\":{\"username\":\"host\",\"password\":\"p\"},"
                 "\"r.example.com\":{\"username\":\"all\",\"password\":\"p\"},"
                 "\"r.example.com/team\":{\"username\":\"team\",\"password\":\"p\"},"
                 "\"r.example.com/team/app/\":{\"username\":\"app\",\"password\":\"p\"},"
                 "\"https://index.docker.io/v1/\":{\"username\":\"hub\",\"password\":\"p\"}}}");
    expect("old.example.com", "app", "old", "p");
    expect("bare.example.com", "app", "v1", "p");
    expect("bare.example.com:5000", "team/app", "v2", "p");
    expect("both.example.com:5000", "app", "host", "p");
    expect("both.example.com", "app", NULL, NULL);
    expect("r.example.com", "x", "all", "p");
    expect("R.example.com", "x", "all", "p");
    expect("r.example.com", "teams/app", "all", "p");
    expect("r.example.com", "team", "team", "p");
    expect("r.example.com", "team/ap", "team", "p");
    expect("r.example.com", "team/app", "app", "p");
    expect("r.example.com", "team/app/web", "app", "p");
    expect("docker.io", "library/x", "hub", "p");
    expect("example.com", "x", NULL, NULL);
}

static void malformed_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *wanted;
    } cases[] = {
        {"", "not valid JSON"},
        {"{\"auths\":{\"r\":{\"auth\":\"hunter2\"", "not valid JSON"},
        {"hunter2", "not valid JSON"},
        {"[]", "must hold a JSON object"},
        {"{\"auths\":[]}", "auths must be an object"},
        {"{\"auths\":{\"r\":\"hunter2\"}}", "entry r: must be an object"},
        {"{\"auths\":{\"r\":{\"auth\":\"Y2k6aHVudGVyMg=\"}}}", "auth is not base64"},
        {"{\"auths\":{\"r\":{\"auth\":\"aHVudGVyMg==\"}}}", "auth is not user:password"},
        {"{\"auths\":{\"r\":{\"auth\":7}}}", "auth must be a string"},
        {"{\"auths\":{\"r\":{\"identitytoken\":{}}}}", "identitytoken must be a string"},
        {"{\"credHelpers\":[]}", "credHelpers must be an object"},
        {"{\"credHelpers\":{\"r\":1}}", "entry r: must be a string"},
        {"{\"credsStore\":1}", "credsStore must be a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_config(cases[i].text);
        expect_error("r", cases[i].wanted);
        expect_error("r", "/config.json");
    }
    /* Another host's mistake is another host's. */
    write_config("{\"auths\":{\"r\":{\"auth\":\"?\"}}}");
    expect("s", "app", NULL, NULL);
    write_config("{\"auths\":null,\"credHelpers\":null,\"credsStore\":null}");
    expect("s", "app", NULL, NULL);
}

static void file_size_is_limited(void **state)
{
    (void)state;
    const size_t limit = (size_t)1 << 20;
    autofree char *text = xmalloc(limit + 2);
    for (size_t size = limit - 1; size <= limit + 1; size++) {
        memset(text, ' ', size);
        memcpy(text, "{}", 2);
        text[size] = '\0';
        write_config(text);
        if (size <= limit)
            expect("r", "app", NULL, NULL);
        else
            expect_error("r", "limit 1048576 bytes");
    }
}

static void a_folder_in_its_place_is_an_error(void **state)
{
    (void)state;
    autofree char *path = xasprintf("%s/config.json", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_error("r", "config.json");
    assert_int_equal(rmdir(path), 0);
}

#define HELPER_ANSWER                                                                              \
    "printf '{\"ServerURL\":\"%s\",\"Username\":\"%s\",\"Secret\":\"s3\"}' \"$(cat)\" "

static void helpers_are_asked(void **state)
{
    (void)state;
    write_helper("host", HELPER_ANSWER "\"$1-host\"");
    write_helper("all", HELPER_ANSWER "all");
    write_config("{\"credHelpers\":{\"r.example.com\":\"host\",\"plain.example.com\":\"\"},"
                 "\"credsStore\":\"all\",\"auths\":{\"r.example.com\":{\"auth\":\"bm86bm8=\"},"
                 "\"plain.example.com\":{\"auth\":\"Y2k6cHc=\"}}}");
    expect("r.example.com", "app", "get-host", "s3");
    expect("s.example.com", "app", "all", "s3");
    expect("plain.example.com", "app", "ci", "pw");
}

static void the_server_goes_to_stdin(void **state)
{
    (void)state;
    write_helper("echo", "printf '{\"Username\":\"%s\",\"Secret\":\"x\"}' \"$(cat)\"");
    write_config("{\"credsStore\":\"echo\"}");
    expect("r.example.com:5000", "app", "r.example.com:5000", "x");
    expect("docker.io", "app", "https://index.docker.io/v1/", "x");
}

static void a_token_user_means_an_identity_token(void **state)
{
    (void)state;
    write_helper("token", "echo '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'");
    struct stored_credentials found = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(credentials_helper_get("token", "r", &found, &err), ERR_OK);
    assert_text(found.identity_token, "refresh");
    assert_null(found.username);
    assert_null(found.password);
    credentials_clear(&found);
}

static void not_found_means_none(void **state)
{
    (void)state;
    write_helper("none", "echo 'credentials not found in native keychain'; exit 1");
    write_config("{\"credsStore\":\"none\",\"auths\":{\"r\":{\"auth\":\"Y2k6cHc=\"}}}");
    expect("s", "app", NULL, NULL);
    expect("r", "app", "ci", "pw");
    write_helper("none", "echo 'credentials not found in native keychain or so'; exit 1");
    expect_error("s", "or so");
    /* The words of a failure are none of a success. */
    write_helper("none", "echo 'credentials not found in native keychain'");
    expect_error("s", "did not answer JSON");
}

static void failing_helpers_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *wanted;
    } cases[] = {
        {"echo 'the vault is sealed'; echo hunter2; exit 1", "failed: the vault is sealed"},
        {"exit 3", "it does not say why"},
        {"printf 'a\\033b'; exit 3", "failed: a?b"},
        {"echo hunter2", "did not answer JSON"},
        {"echo '[\"hunter2\"]'", "did not answer a Username and a Secret"},
        {"echo '{\"Username\":\"hunter2\"}'", "did not answer a Username and a Secret"},
        {"true", "did not answer JSON"},
        {"kill -TERM $$", "was ended by a signal"},
        {"head -c 300000 /dev/zero", "more than 256 KiB"},
    };
    write_config("{\"credsStore\":\"bad\"}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_helper("bad", cases[i].body);
        expect_error("r", cases[i].wanted);
        expect_error("r", "docker-credential-bad");
        expect_error("r", "/config.json");
    }
}

static void a_missing_helper_is_an_error(void **state)
{
    (void)state;
    write_config("{\"credsStore\":\"nowhere\"}");
    expect_error("r", "docker-credential-nowhere cannot be run: No such file or directory");
    write_file("docker-credential-plain", "not a program", 0600);
    write_config("{\"credsStore\":\"plain\"}");
    expect_error("r", "docker-credential-plain cannot be run");
}

static void helper_names_are_checked(void **state)
{
    (void)state;
    static const char *const refused[] = {"",     "a b",  "../x", "a/b",     "a;b",
                                          "$(x)", "a\nb", "a|b",  "\303\266"};
    struct stored_credentials found = {0};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(credentials_helper_get(refused[i], "r", &found, &err), ERR_CREDENTIALS);
        assert_non_null(strstr(err.text, "the name of a credential helper"));
    }
    char name[66];
    for (size_t size = 63; size <= 65; size++) {
        memset(name, 'a', size);
        name[size] = '\0';
        assert_int_equal(credentials_helper_get(name, "r", &found, &err), ERR_CREDENTIALS);
        bool by_name = strstr(err.text, "the name of a credential helper") != NULL;
        assert_int_equal(by_name, size > 64);
    }
}

static void server_names_are_limited(void **state)
{
    (void)state;
    write_helper("length", "printf '{\"Username\":\"%s\",\"Secret\":\"x\"}' $(wc -c)");
    char server[1026];
    for (size_t size = 1023; size <= 1025; size++) {
        struct stored_credentials found = {0};
        struct error err = ERROR_INIT;
        memset(server, 'a', size);
        server[size] = '\0';
        enum errc rc = credentials_helper_get("length", server, &found, &err);
        assert_int_equal(rc, size <= 1024 ? ERR_OK : ERR_CREDENTIALS);
        autofree char *wanted = xasprintf("%zu", size);
        assert_text(found.username, size <= 1024 ? wanted : NULL);
        credentials_clear(&found);
    }
}

static void a_hanging_helper_is_killed_and_reaped(void **state)
{
    (void)state;
    autofree char *pid_file = xasprintf("%s/pid", folder);
    autofree char *body = xasprintf("echo $$ >%s; exec sleep 60", pid_file);
    write_helper("hang", body);
    write_config("{\"credsStore\":\"hang\"}");
    program_set_limit(1000);
    int64_t begin = clock_ms();
    expect_error("r", "did not answer in time");
    int64_t took = clock_ms() - begin;
    assert_in_range(took, 1000, 20 * 1000);
    autofree char *text = NULL;
    size_t size;
    struct error err = ERROR_INIT;
    assert_int_equal(file_read_all(pid_file, 64, &text, &size, &err), ERR_OK);
    assert_int_equal(kill((pid_t)atoi(text), 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void a_helper_that_closes_its_stdout_is_still_limited(void **state)
{
    (void)state;
    write_helper("mute", "exec >&-; exec sleep 60");
    write_config("{\"credsStore\":\"mute\"}");
    program_set_limit(600);
    clock_t begin = clock();
    expect_error("r", "did not answer in time");
    /* It waits, it does not spin on the end of the stream. */
    assert_in_range(clock() - begin, 0, CLOCKS_PER_SEC / 10);
}

static void what_a_helper_leaves_behind_is_not_waited_for(void **state)
{
    (void)state;
    write_helper("agent", "sleep 3 & echo '{\"Username\":\"u\",\"Secret\":\"s\"}'");
    write_config("{\"credsStore\":\"agent\"}");
    int64_t begin = clock_ms();
    expect("r", "app", "u", "s");
    assert_in_range(clock_ms() - begin, 0, 2500);
}

static void a_helper_need_not_read(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    write_helper("deaf", "exec <&-; echo '{\"Username\":\"u\",\"Secret\":\"s\"}'");
    write_config("{\"credsStore\":\"deaf\"}");
    expect("r", "app", "u", "s");
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void nothing_leaks(void **state)
{
    (void)state;
    int before = open_descriptors();
    write_helper("bad", "exit 1");
    write_helper("good", "echo '{\"Username\":\"u\",\"Secret\":\"s\"}'");
    struct error err = ERROR_INIT;
    for (int i = 0; i < 3; i++) {
        struct stored_credentials found = {0};
        credentials_helper_get("bad", "r", &found, &err);
        credentials_helper_get("nowhere", "r", &found, &err);
        assert_int_equal(credentials_helper_get("good", "r", &found, &err), ERR_OK);
        credentials_clear(&found);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* The answer of a password command whose body is shell; NULL: `wanted` is in the error. */
static char *run_command(const char *body, const char *wanted)
{
    char shell[] = "sh", option[] = "-c", host[] = "r.example.com";
    autofree char *script = xstrdup(body);
    char *words[] = {shell, option, script};
    const struct registry_setting registry = {.host = host,
                                              .password_command = {.items = words, .count = 3}};
    struct error err = ERROR_INIT;
    char *password = NULL;
    enum errc code = password_command_run(&registry, &password, &err);
    assert_int_equal(code, wanted ? ERR_CREDENTIALS : ERR_OK);
    if (wanted && (strstr(err.text, wanted) == NULL || strstr(err.text, "r.example.com") == NULL))
        fail_msg("\"%s\" does not say \"%s\"", err.text, wanted);
    assert_null(strstr(err.text, "hunter2"));
    return password;
}

static void a_command_prints_the_password(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *password;
        const char *wanted;
    } cases[] = {
        {"echo hunter2", "hunter2", NULL},
        {"printf 'hunter2\\r\\nmore\\n'; echo noise >&2", "hunter2", NULL},
        {"printf 'a b:c'", "a b:c", NULL},
        {"head -c 65536 /dev/zero | tr '\\0' a | wc -c", "65536", NULL},
        {"head -c 65537 /dev/zero | tr '\\0' a", NULL, "more than 64 KiB"},
        {"echo; echo hunter2", NULL, "printed no password"},
        {"true", NULL, "printed no password"},
        {"printf 'hunter2\\033'", NULL, "a control character"},
        {"echo hunter2; echo hunter2 >&2; exit 3", NULL, "exit status 3"},
        {"kill -TERM $$", NULL, "signal 15"},
        {"yes hunter2", NULL, "more than 256 KiB"},
        {"yes hunter2 | head -c 100000 >&2; exit 4", NULL, "exit status 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *password = run_command(cases[i].body, cases[i].wanted);
        assert_text(password, cases[i].password);
    }
}

static void hidden_variables_are_no_programs_affair(void **state)
{
    (void)state;
    setenv("SLIPWAY_TEST_HIDDEN", "hunter2", 1);
    setenv("SLIPWAY_TEST_HIDDEN_NOT", "seen", 1);
    program_hide_variable("SLIPWAY_TEST_HIDDEN");
    autofree char *password =
        run_command("echo \"<$SLIPWAY_TEST_HIDDEN><$SLIPWAY_TEST_HIDDEN_NOT>\"", NULL);
    assert_text(password, "<><seen>");
    unsetenv("SLIPWAY_TEST_HIDDEN");
    unsetenv("SLIPWAY_TEST_HIDDEN_NOT");
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_file_is_no_credentials),
        TEST(files_are_tried_in_their_order),
        TEST(auth_is_decoded),
        TEST(tokens_are_handed_on),
        TEST(keys_have_many_forms),
        TEST(malformed_files_are_refused),
        TEST(file_size_is_limited),
        TEST(a_folder_in_its_place_is_an_error),
        TEST(helpers_are_asked),
        TEST(the_server_goes_to_stdin),
        TEST(a_token_user_means_an_identity_token),
        TEST(not_found_means_none),
        TEST(failing_helpers_are_errors),
        TEST(a_missing_helper_is_an_error),
        TEST(helper_names_are_checked),
        TEST(server_names_are_limited),
        TEST(a_hanging_helper_is_killed_and_reaped),
        TEST(a_helper_that_closes_its_stdout_is_still_limited),
        TEST(what_a_helper_leaves_behind_is_not_waited_for),
        TEST(a_helper_need_not_read),
        TEST(nothing_leaks),
        TEST(a_command_prints_the_password),
        TEST(hidden_variables_are_no_programs_affair),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
