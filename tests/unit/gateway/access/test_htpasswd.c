#include "tests/unit/store/store_test.h"

#include "gateway/access/htpasswd.h"

#include <poll.h>

/* Made by htpasswd -niBC 4 and, for yescrypt and the other prefixes of bcrypt, by crypt(3); the
 * password of each is "secret", of bob and cid "x". */
#define ANN "ann:$2y$05$qR0WJrtqJuaUmODYubyFDuvg8gMEBDktatW/F5rkfhc264ryrv.2i\n"
#define BOB "bob:$2b$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e\n"
#define CID "cid:$2a$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e\n"
#define DAN "dan:$y$j5T$F5Jx5fExrKuPp53xLKQ..1$zm0L8O66rxHYJo0AzQsQPRAQUMf.w3ObDahKT8eLWYD\n"

static struct user_list *parse(const char *text)
{
    struct user_list *list = NULL;
    struct error err = ERROR_INIT;
    assert_ok(user_list_parse(text, strlen(text), "users", &list, &err), &err);
    return list;
}

static void real_hashes_are_verified(void **state)
{
    (void)state;
    struct user_list *list = parse("# who\n\n" BOB ANN "\r\n" CID DAN);
    assert_int_equal(user_list_count(list), 4);
    assert_true(user_list_verify(list, "ann", "secret"));
    assert_true(user_list_verify(list, "bob", "x"));
    assert_true(user_list_verify(list, "cid", "x"));
    assert_true(user_list_verify(list, "dan", "secret"));
    assert_false(user_list_verify(list, "ann", "x"));
    assert_false(user_list_verify(list, "bob", ""));
    assert_false(user_list_verify(list, "dan", "secret "));
    /* The password of whoever's hash stands in for an unknown name does not open it. */
    assert_false(user_list_verify(list, "eve", "secret"));
    assert_false(user_list_verify(list, "eve", "x"));
    assert_false(user_list_verify(list, "", "x"));
    assert_null(user_list_hash(list, "eve"));
    user_list_free(list);
}

static void passwords_have_a_limit(void **state)
{
    (void)state;
    char password[HTPASSWD_PASSWORD_MAX + 2];
    struct user_list *list = parse(BOB);
    memset(password, 'x', sizeof password);
    password[HTPASSWD_PASSWORD_MAX + 1] = '\0';
    assert_false(user_list_verify(list, "bob", password));
    user_list_free(list);
    list = parse("# nobody\n");
    assert_false(user_list_verify(list, "bob", "x"));
    user_list_free(list);
}

static void other_lines_are_refused(void **state)
{
    (void)state;
    /* The first of htpasswd -m, -s, -d, -p, -2, -5; then what is cut, costs too much, has no name.
     */
    static const struct {
        const char *line;
        const char *says;
    } cases[] = {
        {"ann:$apr1$zZtksKUy$GDOA76JkMNx2FK6d0jM9E/", "no bcrypt or yescrypt"},
        {"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "no bcrypt or yescrypt"},
        {"ann:7qGFG0mlgRELk", "htpasswd -B"},
        {"ann:topsecret", "no bcrypt or yescrypt"},
        {"ann:$5$Qw7isjKlcj0jpkiu$eWIRCR7ZQK4IpHsH9dtLQNpi/D4pAi9b91P8QwZ0Ec2", "htpasswd -B"},
        {"ann:$6$i9repyzX.KEmD6AG$YfF3cV84MA2LSIXQVFVz0xug0K1IPMtWEjbiA8PArNOQqhouOYMkn30M7u0S/"
         "VeLgkEKP.8FT8OzuYFYfBs8J/",
         "no bcrypt or yescrypt"},
        {"ann:$2y$05$qR0WJrtqJuaUmODYubyFDuvg8gMEBDktatW/F5rkfhc264ryrv.2", "cut"},
        {"ann:$2y$15$qR0WJrtqJuaUmODYubyFDuvg8gMEBDktatW/F5rkfhc264ryrv.2i", "4 to 14"},
        {"ann:$2y$03$qR0WJrtqJuaUmODYubyFDuvg8gMEBDktatW/F5rkfhc264ryrv.2i", "4 to 14"},
        {"ann:$y$jCT$F5Jx5fExrKuPp53xLKQ..1$zm0L8O66rxHYJo0AzQsQPRAQUMf.w3ObDahKT8eLWYD", "64 MiB"},
        {"ann:$y$j5U$F5Jx5fExrKuPp53xLKQ..1$zm0L8O66rxHYJo0AzQsQPRAQUMf.w3ObDahKT8eLWYD", "64 MiB"},
        {"ann:$y$j5T$F5Jx5fExrKuPp53xLKQ..1", "cut"},
        {"ann:", "no bcrypt or yescrypt"},
        {"ann", "there is no \":\""},
        {":$2y$05$qR0WJrtqJuaUmODYubyFDuvg8gMEBDktatW/F5rkfhc264ryrv.2i", "1 to 255"},
        {"anonymous:x", "a meaning of its own"},
        {"a\x01n:x", "control"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct user_list *list = NULL;
        struct error err = ERROR_INIT;
        autofree char *text = xasprintf("# one\n%s\n", cases[i].line);
        assert_code(user_list_parse(text, strlen(text), "users", &list, &err), ERR_SETTINGS, &err);
        assert_null(list);
        assert_non_null(strstr(err.text, "users, line 2"));
        assert_non_null(strstr(err.text, cases[i].says));
        assert_null(strstr(err.text, "topsecret"));
    }
    struct user_list *list = NULL;
    struct error err = ERROR_INIT;
    assert_code(user_list_parse(ANN BOB ANN, strlen(ANN BOB ANN), "users", &list, &err),
                ERR_SETTINGS, &err);
    assert_non_null(strstr(err.text, "lines 1 and 3"));
}

static void names_have_a_limit(void **state)
{
    (void)state;
    for (size_t size = 254; size <= 256; size++) {
        char name[257];
        struct user_list *list = NULL;
        struct error err = ERROR_INIT;
        memset(name, 'n', size);
        name[size] = '\0';
        autofree char *text = xasprintf("%s%s", name, strchr(BOB, ':'));
        assert_int_equal(user_list_parse(text, strlen(text), "users", &list, &err) == ERR_OK,
                         size <= 255);
        user_list_free(list);
    }
}

/* ---- the file ---- */

static char *path_in(const char *folder)
{
    return xasprintf("%s/users", folder);
}

static void write_users(const char *path, const char *text)
{
    autofree char *draft = xasprintf("%s.new", path);
    FILE *file = fopen(draft, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(draft, path), 0);
}

/* A look at the file is due once a second, so one that is late is waited for. */
static void refresh_until(struct htpasswd *file, uint64_t generation)
{
    int64_t fresh_ms = 0;
    for (int i = 0; i < 500 && htpasswd_generation(file, &fresh_ms) < generation; i++) {
        poll(NULL, 0, 20);
        htpasswd_refresh(file);
    }
    assert_int_equal(htpasswd_generation(file, &fresh_ms), generation);
}

static void a_changed_file_counts_a_broken_one_does_not(void **state)
{
    autofree char *path = path_in(*state);
    struct htpasswd *file = NULL;
    struct error err = ERROR_INIT;
    uint64_t generation = 9;
    write_users(path, BOB);
    assert_ok(htpasswd_open(path, &file, &err), &err);
    assert_true(htpasswd_verify(file, "bob", "x", &generation));
    assert_int_equal(generation, 0);
    write_users(path, CID);
    refresh_until(file, 1);
    assert_false(htpasswd_verify(file, "bob", "x", &generation));
    assert_true(htpasswd_verify(file, "cid", "x", &generation));
    assert_int_equal(generation, 1);
    autofree char *hash = htpasswd_hash(file, "cid");
    assert_true(strncmp(hash, "$2a$", 4) == 0);
    assert_null(htpasswd_hash(file, "bob"));
    write_users(path, "cid:x\n");
    int64_t before_ms = 0;
    int64_t fresh_ms = 0;
    htpasswd_generation(file, &before_ms);
    for (int i = 0; i < 500 && fresh_ms <= before_ms; i++) {
        poll(NULL, 0, 20);
        htpasswd_refresh(file);
        htpasswd_generation(file, &fresh_ms);
    }
    assert_true(fresh_ms > before_ms);
    assert_int_equal(htpasswd_generation(file, &fresh_ms), 1);
    assert_true(htpasswd_verify(file, "cid", "x", &generation));
    htpasswd_close(file);
}

static void a_file_that_cannot_be_used_stops_the_start(void **state)
{
    autofree char *path = path_in(*state);
    struct htpasswd *file = NULL;
    struct error err = ERROR_INIT;
    assert_code(htpasswd_open(path, &file, &err), ERR_SETTINGS, &err);
    assert_non_null(strstr(err.text, "clients.htpasswd"));
    assert_non_null(strstr(err.text, path));
    assert_null(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_hashes_are_verified),
        cmocka_unit_test(passwords_have_a_limit),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(names_have_a_limit),
        folder_test(a_changed_file_counts_a_broken_one_does_not),
        folder_test(a_file_that_cannot_be_used_stops_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
