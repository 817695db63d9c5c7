#include "tests/unit/store/store_test.h"

#include "gateway/access/identity_sources.h"
#include "gateway/access/login_delays.h"
#include "gateway/access/robots.h"

/* The password is "x", as that of test_htpasswd.c. */
#define HASH "$2b$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e\n"
#define OTHER "$2a$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e\n"

struct fixture {
    struct store *store;
    struct settings settings;
    struct identity_sources *all;
    struct sources sources;
    struct net_address peer;
};

static void write_users(const struct fixture *fixture, const char *hash)
{
    FILE *file = fopen(fixture->settings.clients.htpasswd, "w");
    assert_non_null(file);
    fprintf(file, "bob:%s", hash);
    fclose(file);
}

static void reopen(struct fixture *fixture)
{
    struct error err = ERROR_INIT;
    identity_sources_close(fixture->all);
    assert_ok(identity_sources_open(&fixture->settings, fixture->store, NULL, &fixture->all, &err),
              &err);
    fixture->sources = identity_sources_interface(fixture->all);
}

static void begin(struct fixture *fixture, const char *folder)
{
    memset(fixture, 0, sizeof *fixture);
    atomic_init(&fixture->settings.references, 1);
    autofree char *data = xasprintf("%s/data", folder);
    fixture->settings.clients.htpasswd = xasprintf("%s/users", folder);
    fixture->peer = (struct net_address){.bytes = {0x20, 1, 0xd, 0xb8}};
    fixture->store = open_store(data);
    write_users(fixture, HASH);
    reopen(fixture);
}

static void end(struct fixture *fixture)
{
    identity_sources_close(fixture->all);
    store_close(fixture->store);
    free(fixture->settings.clients.htpasswd);
}

static enum errc password(struct fixture *fixture, const char *name, const char *secret,
                          struct login *out, struct error *err)
{
    error_clear(err);
    return fixture->sources.password(fixture->sources.self, name, secret, &fixture->peer, out, err);
}

static bool valid(struct fixture *fixture, const struct login *login)
{
    return fixture->sources.still_valid(fixture->sources.self, &login->identity,
                                        login->fingerprint);
}

static void a_user_stands_until_the_password_changes(void **state)
{
    struct fixture fixture;
    struct error err = ERROR_INIT;
    autologin struct login login = LOGIN_INIT;
    struct identity known = IDENTITY_INIT;
    begin(&fixture, *state);
    assert_false(identity_sources_known(fixture.all, "bob", "x", &known));
    assert_ok(password(&fixture, "bob", "x", &login, &err), &err);
    assert_int_equal(login.identity.kind, IDENTITY_USER);
    assert_string_equal(login.identity.name, "bob");
    assert_int_equal(login.ttl_s, 0);
    assert_true(identity_sources_known(fixture.all, "bob", "x", &known));
    assert_string_equal(known.name, "bob");
    identity_deinit(&known);
    assert_true(valid(&fixture, &login));
    reopen(&fixture); /* as after a restart */
    assert_true(valid(&fixture, &login));
    login.fingerprint[0] ^= 1;
    assert_false(valid(&fixture, &login));
    login.fingerprint[0] ^= 1;
    write_users(&fixture, OTHER);
    reopen(&fixture);
    assert_false(valid(&fixture, &login));
    end(&fixture);
}

static char *create(struct fixture *fixture)
{
    struct error err = ERROR_INIT;
    autojson json_t *body = json_pack("{s:s, s:s}", "name", "ci", "expires", "1h");
    json_t *answer = NULL;
    assert_ok(robots_do(fixture->store, ROBOT_CREATE, NULL, body, &answer, &err), &err);
    char *secret = xstrdup(json_text(answer, "secret"));
    json_decref(answer);
    return secret;
}

static void a_robot_goes_by_its_secret(void **state)
{
    static const char *const names[] = {"ci", "robot:ci"};
    struct fixture fixture;
    struct error err = ERROR_INIT;
    struct identity known = IDENTITY_INIT;
    json_t *answer = NULL;
    begin(&fixture, *state);
    autofree char *secret = create(&fixture);
    autofree char *divided = xasprintf("ci:%s", secret); /* curl -u robot:ci:SECRET */
    autologin struct login login = LOGIN_INIT;
    assert_ok(password(&fixture, "robot", divided, &login, &err), &err);
    assert_string_equal(login.identity.name, "robot:ci");
    assert_int_equal(login.identity.kind, IDENTITY_ROBOT);
    assert_in_range(login.ttl_s, 3000, 3600);
    assert_true(valid(&fixture, &login));
    for (size_t i = 0; i < 2; i++) {
        assert_true(identity_sources_known(fixture.all, names[i], secret, &known));
        assert_string_equal(known.name, "robot:ci");
        identity_deinit(&known);
    }
    autologin struct login none = LOGIN_INIT;
    assert_code(password(&fixture, "bob", secret, &none, &err), ERR_UNAUTHENTICATED, &err);
    assert_null(strstr(err.text, secret));
    assert_ok(
        robots_do(fixture.store, ROBOT_REMOVE, "ci", NULL, &answer, (error_clear(&err), &err)),
        &err);
    assert_false(valid(&fixture, &login));
    assert_false(identity_sources_known(fixture.all, "ci", secret, &known));
    autofree char *again = create(&fixture);
    assert_false(valid(&fixture, &login)); /* another robot of that name */
    assert_code(password(&fixture, "ci", secret, &none, &err), ERR_UNAUTHENTICATED, &err);
    assert_ok(password(&fixture, "ci", again, &none, &err), &err);
    end(&fixture);
}

static void failures_of_all_sources_slow_an_address_down(void **state)
{
    struct fixture fixture;
    struct error err = ERROR_INIT;
    struct login none = LOGIN_INIT;
    begin(&fixture, *state);
    autofree char *secret = create(&fixture);
    assert_code(password(&fixture, "oidc", "eyJ.x.y", &none, &err), ERR_UNAUTHENTICATED, &err);
    assert_code(password(&fixture, "bob", secret, &none, &err), ERR_UNAUTHENTICATED, &err);
    /* So that the delay is longer than this test. */
    for (int i = 2; i < LOGIN_FAILURES_FREE + 5; i++) {
        error_clear(&err);
        fixture.sources.jwt(fixture.sources.self, "eyJ.x.y", &fixture.peer, &none, &err);
        if (i < LOGIN_FAILURES_FREE)
            assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    }
    assert_code(password(&fixture, "oidc", "eyJ.x.y", &none, &err), ERR_TOO_MANY, &err);
    assert_true(fixture.sources.retry_after_s(fixture.sources.self, &fixture.peer) >= 1);
    fixture.peer.bytes[0]++;
    assert_ok(password(&fixture, "ci", secret, &none, &err), &err);
    login_deinit(&none);
    end(&fixture);
}

static void what_nobody_can_be_asked_about_does_not_stand(void **state)
{
    struct fixture fixture;
    struct error err = ERROR_INIT;
    struct login login = {.identity = {.kind = IDENTITY_CERTIFICATE, .name = "cert:CN=a"}};
    begin(&fixture, *state);
    assert_false(valid(&fixture, &login));
    login.identity = (struct identity){.kind = IDENTITY_ANONYMOUS};
    assert_false(valid(&fixture, &login));
    login.identity = (struct identity){.kind = IDENTITY_CI, .name = "ci-app", .issuer = "ci"};
    assert_false(valid(&fixture, &login));
    login.identity = (struct identity){.kind = IDENTITY_USER, .name = "bob"};
    assert_false(valid(&fixture, &login));
    assert_code(identity_sources_certificate(fixture.all, NULL, 0, &login.identity, &err),
                ERR_UNAUTHENTICATED, &err);
    end(&fixture);
    struct identity_sources *sources = NULL;
    struct settings settings = {.tls = {.client_ca = "/nowhere"}};
    assert_code(identity_sources_open(&settings, NULL, NULL, &sources, (error_clear(&err), &err)),
                ERR_SETTINGS, &err);
    assert_non_null(strstr(err.text, "tls.client_ca"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_user_stands_until_the_password_changes),
        folder_test(a_robot_goes_by_its_secret),
        folder_test(failures_of_all_sources_slow_an_address_down),
        folder_test(what_nobody_can_be_asked_about_does_not_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
