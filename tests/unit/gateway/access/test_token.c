#include "tests/unit/store/store_test.h"

#include "gateway/access/token.h"

#define NOW ((int64_t)1700000000)

static struct token_issuer open_issuer(struct store *store)
{
    struct error err = ERROR_INIT;
    struct token_issuer issuer = {.issuer = "slipway:1", .service = "gateway"};
    assert_ok(token_keys_open(store, TOKEN_KEYS_PERIOD_S, TOKEN_LOGIN_S, NOW, &issuer.keys, &err),
              &err);
    return issuer;
}

/* ---- scopes ---- */

/* What the texts come to, as scopes_text() writes it. */
static void expect(const char *first, const char *second, const char *wanted)
{
    struct scopes scopes = {.count = 0};
    struct error err = ERROR_INIT;
    assert_ok(scopes_add(&scopes, first, &err), &err);
    assert_ok(scopes_add(&scopes, second, &err), &err);
    autofree char *text = scopes_text(&scopes);
    assert_string_equal(text, wanted);
    scopes_deinit(&scopes);
}

static void every_form_of_scopes_is_a_union(void **state)
{
    (void)state;
    expect("", "", "");
    expect("repository:a:pull", "", "repository:a:pull");
    expect("repository:a:push,pull", "repository:a:pull", "repository:a:pull,push");
    expect("repository:a:pull", "repository:a:push", "repository:a:pull,push");
    expect("repository:a:pull repository:b:pull", "  repository:a:delete ",
           "repository:a:pull,delete repository:b:pull");
    expect("repository:localhost:5000/team/app:pull", "repository:r.example.com/a/b:push",
           "repository:localhost:5000/team/app:pull repository:r.example.com/a/b:push");
    expect("repository(plugin):a/b:pull", "repository:a/b:push", "repository:a/b:pull,push");
    expect("repository:a:*", "", "repository:a:pull,push,delete");
    expect("registry:catalog:*", "registry:catalog:*", "registry:catalog:*");
    /* What is granted nothing, and what of it is. */
    expect("registry:catalog:pull registry:other:*", "registry:catalog:", "");
    expect("user:a:pull repository", "repository: :repository:: ::: repository:a", "");
    expect("repository:A:pull repository:a//b:pull", "repository:../a:pull repository::pull", "");
    expect("repository:a:", "repository:a:fly,,pull,", "repository:a:pull");
    expect("repository(plugin:a:pull", "repositoryx:a:pull repositor:a:pull", "");
    expect("repository:a\r\nX: y:pull", "repository:a\":pull", "");
}

static void scopes_have_limits(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct scopes scopes = {.count = 0};
    for (int i = 0; i < SCOPES_MAX; i++) {
        autofree char *text = xasprintf("repository:a%d:pull", i);
        assert_ok(scopes_add(&scopes, text, &err), &err);
    }
    assert_ok(scopes_add(&scopes, "repository:a0:push", &err), &err);
    assert_code(scopes_add(&scopes, "repository:b:pull", &err), ERR_BAD_REQUEST, &err);
    scopes_deinit(&scopes);

    autofree char *blanks = xcalloc(1, SCOPES_SIZE_MAX + 1);
    memset(blanks, ' ', SCOPES_SIZE_MAX);
    scopes = (struct scopes){.count = 0};
    error_clear(&err);
    assert_ok(scopes_add(&scopes, blanks, &err), &err);
    assert_code(scopes_add(&scopes, "x", &err), ERR_BAD_REQUEST, &err);
}

/* Ann may all but delete in a, and nothing else. */
static bool may(void *self, const struct identity *who, enum operation operation,
                const char *repository)
{
    (void)self;
    return who->kind == IDENTITY_USER && operation != OPERATION_DELETE &&
           (repository == NULL || strcmp(repository, "a") == 0);
}

static void what_is_not_allowed_is_left_out(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct scopes scopes = {.count = 0};
    char name[] = "ann";
    const struct rights rights = {.may = may};
    const struct identity ann = {.kind = IDENTITY_USER, .name = name};
    const struct identity nobody = IDENTITY_INIT;
    assert_ok(scopes_add(&scopes, "repository:b:pull repository:a:* registry:catalog:*", &err),
              &err);
    scopes_limit(&scopes, &rights, &ann);
    autofree char *text = scopes_text(&scopes);
    assert_string_equal(text, "repository:a:pull,push registry:catalog:*");
    assert_int_equal(scopes_actions(&scopes, "a"), SCOPE_PULL | SCOPE_PUSH);
    assert_int_equal(scopes_actions(&scopes, "b"), 0);
    assert_int_equal(scopes_actions(&scopes, NULL), SCOPE_ALL);
    scopes_limit(&scopes, &rights, &nobody);
    assert_int_equal(scopes.count, 0);
    assert_int_equal(scopes_actions(&scopes, NULL), 0);
    scopes_deinit(&scopes);
}

/* ---- tokens ---- */

static struct token token_of_ci(enum token_kind kind)
{
    struct token token = {.kind = kind, .issued_s = NOW, .expires_s = NOW + TOKEN_TTL_S};
    struct error err = ERROR_INIT;
    token.identity = (struct identity){.kind = IDENTITY_CI,
                                       .name = xstrdup("ci-app"),
                                       .issuer = xstrdup("github"),
                                       .claims = xstrdup("{\"ref\":\"refs/heads/main\"}"),
                                       .groups = xcalloc(2, sizeof(char *)),
                                       .group_count = 2};
    token.identity.groups[0] = xstrdup("team-a");
    token.identity.groups[1] = xstrdup("team-b");
    strcpy(token.fingerprint, kind == TOKEN_REFRESH ? "abc_-1" : "");
    if (kind == TOKEN_ACCESS)
        assert_ok(scopes_add(&token.scopes, "repository:a:pull,push registry:catalog:*", &err),
                  &err);
    return token;
}

static void check_same(const struct token *token, const struct token *read)
{
    autofree char *scopes = scopes_text(&token->scopes);
    autofree char *scopes_read = scopes_text(&read->scopes);
    assert_string_equal(scopes, scopes_read);
    assert_int_equal(read->identity.kind, IDENTITY_CI);
    assert_string_equal(read->identity.name, "ci-app");
    assert_string_equal(read->identity.issuer, "github");
    assert_string_equal(read->identity.claims, token->identity.claims);
    assert_int_equal(read->identity.group_count, 2);
    assert_string_equal(read->identity.groups[1], "team-b");
    assert_string_equal(read->fingerprint, token->fingerprint);
    assert_int_equal(read->expires_s, token->expires_s);
    assert_int_equal(read->issued_s, NOW);
    assert_string_equal(read->id, token->id);
    assert_true(strlen(read->id) >= 20);
}

static void a_token_comes_back_as_it_was_made(void **state)
{
    struct store *store = open_store(*state);
    struct token_issuer issuer = open_issuer(store);
    for (enum token_kind kind = TOKEN_ACCESS; kind <= TOKEN_REFRESH; kind++) {
        struct error err = ERROR_INIT;
        autotoken struct token token = token_of_ci(kind);
        autotoken struct token read = {.kind = kind};
        autofree char *text = NULL;
        autofree char *another = NULL;
        assert_ok(token_make(&issuer, &token, &text, &err), &err);
        assert_ok(token_read(&issuer, kind, text, NOW, &read, &err), &err);
        check_same(&token, &read);
        assert_ok(token_make(&issuer, &token, &another, &err), &err);
        assert_string_not_equal(text, another);
    }
    token_keys_close(issuer.keys);
    store_close(store);
}

static void expect_refused(const struct token_issuer *issuer, enum token_kind kind,
                           const char *text, int64_t now_s, const char *why)
{
    struct error err = ERROR_INIT;
    struct token read;
    assert_code(token_read(issuer, kind, text, now_s, &read, &err), ERR_UNAUTHENTICATED, &err);
    assert_non_null(strstr(err.text, why));
}

static void a_token_counts_here_and_now_and_for_one_thing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct token_issuer issuer = open_issuer(store);
    struct token_issuer other = issuer;
    autotoken struct token token = token_of_ci(TOKEN_ACCESS);
    autotoken struct token refresh = token_of_ci(TOKEN_REFRESH);
    autofree char *text = NULL;
    autofree char *refresh_text = NULL;
    assert_ok(token_make(&issuer, &token, &text, &err), &err);
    assert_ok(token_make(&issuer, &refresh, &refresh_text, &err), &err);
    expect_refused(&issuer, TOKEN_REFRESH, text, NOW, "typ");
    expect_refused(&issuer, TOKEN_ACCESS, refresh_text, NOW, "typ");
    expect_refused(&issuer, TOKEN_ACCESS, text, NOW + TOKEN_TTL_S + TOKEN_LEEWAY_S, "exp");
    expect_refused(&issuer, TOKEN_ACCESS, text, NOW - TOKEN_LEEWAY_S - 1, "nbf");
    other.issuer = "slipway:2";
    expect_refused(&other, TOKEN_ACCESS, text, NOW, "iss");
    other = issuer;
    other.service = "other";
    expect_refused(&other, TOKEN_ACCESS, text, NOW, "aud");
    token_keys_close(issuer.keys);
    store_close(store);
}

/* Signed with the right key, but of nobody that a token may be of. */
static void nobody_is_an_operator_by_a_token(void **state)
{
    static const enum identity_kind kinds[] = {IDENTITY_OPERATOR, IDENTITY_USER};
    struct store *store = open_store(*state);
    struct token_issuer issuer = open_issuer(store);
    for (size_t i = 0; i < 2; i++) {
        struct error err = ERROR_INIT;
        autofree char *text = NULL;
        struct token token = {.identity = {.kind = kinds[i]},
                              .issued_s = NOW,
                              .expires_s = NOW + 1}; /* a user without a name */
        assert_ok(token_make(&issuer, &token, &text, &err), &err);
        expect_refused(&issuer, TOKEN_ACCESS, text, NOW, "names nobody");
    }
    token_keys_close(issuer.keys);
    store_close(store);
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_scopes_is_a_union),
        cmocka_unit_test(scopes_have_limits),
        cmocka_unit_test(what_is_not_allowed_is_left_out),
        folder_test(a_token_comes_back_as_it_was_made),
        folder_test(a_token_counts_here_and_now_and_for_one_thing),
        folder_test(nobody_is_an_operator_by_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
