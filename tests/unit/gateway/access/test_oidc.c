#include "tests/support/http_double.h"
#include "tests/unit/store/store_test.h"

#include "base/base64.h"
#include "base/clock.h"
#include "gateway/access/claims.h"
#include "gateway/access/jwt.h"
#include "gateway/access/oidc.h"

#include <openssl/evp.h>
#include <poll.h>

/* ---- claims ---- */

static void globs_match_whole_texts(void **state)
{
    (void)state;
    assert_true(claim_matches("refs/heads/main", "refs/heads/main"));
    assert_false(claim_matches("refs/heads/main", "refs/heads/main2"));
    assert_false(claim_matches("refs/heads/main", "refs/heads/mai"));
    assert_true(claim_matches("repo:team/*:ref:refs/heads/*", "repo:team/a/b:ref:refs/heads/x/y"));
    assert_false(claim_matches("repo:team/*:ref:refs/heads/*", "repo:teams/a:ref:refs/heads/x"));
    assert_true(claim_matches("*", ""));
    assert_true(claim_matches("a*b*c", "a-b-b-c"));
    assert_false(claim_matches("a*b*c", "a-b-b-"));
    assert_true(claim_matches("", ""));
    assert_false(claim_matches("", "a"));
    assert_true(claim_matches("**a", "aa"));
    assert_false(claim_matches("a?", "ab"));
}

#define LIST(...)                                                                                  \
    {                                                                                              \
        .items = (char *[]){__VA_ARGS__},                                                          \
        .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)                                  \
    }

static struct setting_named_list main_claims[] = {
    {"repository_id", LIST("1234")},
    {"ref", LIST("refs/heads/main", "refs/tags/v*")},
};
static struct setting_named_list protected_claims[] = {{"protected", LIST("true")}};
static struct setting_named_list group_claims[] = {{"groups", LIST("ops")}};
static struct mapping_setting mappings[] = {
    {.claims = {main_claims, 2},
     .identity = "ci-app",
     .groups = LIST("team-a", "team-b"),
     .ttl_ms = 3600000},
    {.claims = {protected_claims, 1}, .identity = "ci-protected", .ttl_ms = 60000},
    {.claims = {group_claims, 1}, .identity = "ci-ops", .ttl_ms = 60000},
};

static char *audiences[] = {"gateway.example.com"};

static struct oidc_setting setting_of(char *issuer, char *jwks_file)
{
    return (struct oidc_setting){.name = "ci",
                                 .issuer = issuer,
                                 .audiences = {.items = audiences, .count = 1},
                                 .jwks_file = jwks_file,
                                 .algorithms = 1u << SETTING_EDDSA,
                                 .mappings = mappings,
                                 .mapping_count = 3};
}

static const char *identity_of(const char *claims)
{
    const struct oidc_setting setting = setting_of("https://ci.example.com", NULL);
    struct error err = ERROR_INIT;
    autojson json_t *value = NULL;
    assert_ok(json_parse(claims, strlen(claims), 4096, "claims", &value, &err), &err);
    const struct mapping_setting *mapping = claims_mapping(&setting, value);
    return mapping ? mapping->identity : "";
}

static void the_first_mapping_that_is_met_counts(void **state)
{
    (void)state;
    assert_string_equal(identity_of("{\"repository_id\":\"1234\",\"ref\":\"refs/tags/v1\"}"),
                        "ci-app");
    assert_string_equal(identity_of("{\"repository_id\":1234,\"ref\":\"refs/heads/main\","
                                    "\"protected\":true}"),
                        "ci-app");
    assert_string_equal(identity_of("{\"repository_id\":\"1234\",\"ref\":\"refs/heads/x\"}"), "");
    assert_string_equal(identity_of("{\"repository_id\":\"1234\"}"), "");
    assert_string_equal(identity_of("{\"protected\":true}"), "ci-protected");
    assert_string_equal(identity_of("{\"protected\":\"true\"}"), "ci-protected");
    assert_string_equal(identity_of("{\"protected\":false}"), "");
    assert_string_equal(identity_of("{\"protected\":null}"), "");
    assert_string_equal(identity_of("{\"protected\":{\"true\":true}}"), "");
    assert_string_equal(identity_of("{\"groups\":[\"dev\",\"ops\"]}"), "ci-ops");
    assert_string_equal(identity_of("{\"groups\":[\"dev\",[\"ops\"]]}"), "");
    assert_string_equal(identity_of("{\"groups\":[]}"), "");
    assert_string_equal(identity_of("{}"), "");
}

/* ---- tokens ---- */

struct signer {
    char kid[8];
    EVP_PKEY *key;
};

static struct signer signer_new(const char *kid)
{
    struct signer signer = {.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    snprintf(signer.kid, sizeof signer.kid, "%s", kid);
    assert_non_null(signer.key);
    return signer;
}

static char *key_set(const struct signer *signer)
{
    uint8_t raw[32];
    size_t size = sizeof raw;
    assert_int_equal(EVP_PKEY_get_raw_public_key(signer->key, raw, &size), 1);
    autofree char *x = base64url_encode(raw, size);
    return xasprintf(
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%s\"}]}",
        signer->kid, x);
}

static char *token_of(const struct signer *signer, const char *issuer, const char *audience)
{
    int64_t now_s = clock_wall_s();
    autojson json_t *claims =
        json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:s}", "iss", issuer, "aud", audience, "iat",
                  (json_int_t)now_s, "exp", (json_int_t)now_s + 300, "repository_id", "1234", "ref",
                  "refs/heads/main", "actor", "ann");
    char *token = jwt_sign("JWT", signer->kid, signer->key, claims);
    assert_non_null(token);
    return token;
}

static void write_text(const char *path, const char *text)
{
    autofree char *draft = xasprintf("%s.new", path);
    FILE *file = fopen(draft, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(draft, path), 0);
}

static enum errc login(struct oidc *oidc, const char *token, struct error *err)
{
    autologin struct login who = LOGIN_INIT;
    error_clear(err);
    return oidc_login(oidc, token, &who, err);
}

static void a_token_becomes_an_identity(void **state)
{
    autofree char *path = xasprintf("%s/jwks.json", (char *)*state);
    struct oidc_setting setting = setting_of("https://ci.example.com", path);
    struct signer one = signer_new("one");
    autofree char *keys = key_set(&one);
    struct error err = ERROR_INIT;
    struct oidc *oidc = NULL;
    assert_code(oidc_open(&setting, 1, &oidc, &err), ERR_SETTINGS, &err);
    assert_non_null(strstr(err.text, "jwks_file"));
    error_clear(&err);
    write_text(path, keys);
    assert_ok(oidc_open(&setting, 1, &oidc, &err), &err);
    autofree char *token = token_of(&one, setting.issuer, "gateway.example.com");
    autologin struct login who = LOGIN_INIT;
    assert_ok(oidc_login(oidc, token, &who, &err), &err);
    assert_int_equal(who.identity.kind, IDENTITY_CI);
    assert_string_equal(who.identity.name, "ci-app");
    assert_string_equal(who.identity.issuer, "ci");
    assert_int_equal(who.identity.group_count, 2);
    assert_string_equal(who.identity.groups[1], "team-b");
    assert_string_equal(who.identity.claims,
                        "{\"repository_id\":\"1234\",\"ref\":\"refs/heads/main\"}");
    assert_int_equal(who.ttl_s, 3600);
    assert_true(oidc_stands(oidc, &who.identity, who.fingerprint));
    assert_false(oidc_stands(oidc, &who.identity, ""));
    mappings[0].ttl_ms++;
    assert_false(oidc_stands(oidc, &who.identity, who.fingerprint));
    mappings[0].ttl_ms--;

    autofree char *elsewhere = token_of(&one, setting.issuer, "other.example.com");
    assert_code(login(oidc, elsewhere, &err), ERR_UNAUTHENTICATED, &err);
    autofree char *stranger = token_of(&one, "https://ci.example.com/", "gateway.example.com");
    assert_code(login(oidc, stranger, &err), ERR_UNAUTHENTICATED, &err);
    assert_non_null(strstr(err.text, "clients.oidc"));
    assert_code(login(oidc, "slw_x", &err), ERR_UNAUTHENTICATED, &err);
    oidc_close(oidc);
    EVP_PKEY_free(one.key);
}

static void keys_of_a_file_are_rotated(void **state)
{
    autofree char *path = xasprintf("%s/jwks.json", (char *)*state);
    struct oidc_setting setting = setting_of("https://ci.example.com", path);
    struct signer one = signer_new("one");
    struct signer two = signer_new("two");
    autofree char *first = key_set(&one);
    autofree char *second = key_set(&two);
    struct error err = ERROR_INIT;
    struct oidc *oidc = NULL;
    write_text(path, first);
    assert_ok(oidc_open(&setting, 1, &oidc, &err), &err);
    autofree char *old = token_of(&one, setting.issuer, "gateway.example.com");
    autofree char *new = token_of(&two, setting.issuer, "gateway.example.com");
    assert_ok(login(oidc, old, &err), &err);
    assert_code(login(oidc, new, &err), ERR_UNAUTHENTICATED, &err);
    write_text(path, second);
    for (int i = 0; i < 500 && login(oidc, new, &err) != ERR_OK; i++)
        poll(NULL, 0, 20);
    assert_ok(err.code, &err);
    assert_code(login(oidc, old, &err), ERR_UNAUTHENTICATED, &err);
    oidc_close(oidc);
    EVP_PKEY_free(one.key);
    EVP_PKEY_free(two.key);
}

/* ---- an issuer that is asked ---- */

struct provider {
    struct http_double *server;
    char *issuer;
    const char *named; /* as "issuer" in its document */
    char *keys;
    int status;
};

static void answer(void *self, const struct double_request *request, struct double_answer *out)
{
    const struct provider *provider = self;
    out->status = provider->status;
    if (strcmp(request->path, "/.well-known/openid-configuration") == 0)
        snprintf(out->body, sizeof out->body, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s/keys\"}",
                 provider->named, provider->issuer);
    else
        snprintf(out->body, sizeof out->body, "%s", provider->keys);
}

static void an_issuer_is_asked_once(void **state)
{
    (void)state;
    struct signer one = signer_new("one");
    struct signer two = signer_new("two");
    struct provider provider = {.status = 200, .keys = key_set(&one)};
    struct error err = ERROR_INIT;
    struct oidc *oidc = NULL;
    provider.server = http_double_start(answer, &provider);
    provider.issuer = xasprintf("http://127.0.0.1:%u", http_double_port(provider.server));
    provider.named = provider.issuer;
    struct oidc_setting setting = setting_of(provider.issuer, NULL);
    assert_ok(oidc_open(&setting, 1, &oidc, &err), &err);
    assert_int_equal(http_double_count(provider.server, "GET"), 0);
    autofree char *good = token_of(&one, setting.issuer, "gateway.example.com");
    autofree char *unknown = token_of(&two, setting.issuer, "gateway.example.com");
    assert_ok(login(oidc, good, &err), &err);
    for (int i = 0; i < 5; i++)
        assert_code(login(oidc, unknown, &err), ERR_UNAUTHENTICATED, &err);
    assert_ok(login(oidc, good, &err), &err);
    assert_int_equal(http_double_count(provider.server, "GET /keys"), 1);
    assert_int_equal(http_double_count(provider.server, "GET"), 2);
    oidc_close(oidc);

    provider.named = "https://ci.example.com";
    assert_ok(oidc_open(&setting, 1, &oidc, &err), &err);
    assert_code(login(oidc, good, &err), ERR_REGISTRY_ANSWER, &err);
    assert_non_null(strstr(err.text, "does not name"));
    oidc_close(oidc);

    provider.status = 302;
    assert_ok(oidc_open(&setting, 1, &oidc, (error_clear(&err), &err)), &err);
    assert_code(login(oidc, good, &err), ERR_REGISTRY_ANSWER, &err);
    /* Not asked again, and the reason stays. */
    assert_code(login(oidc, good, &err), ERR_REGISTRY_ANSWER, &err);
    assert_int_equal(http_double_count(provider.server, "GET"), 4);
    oidc_close(oidc);
    http_double_stop(provider.server);

    assert_ok(oidc_open(&setting, 1, &oidc, (error_clear(&err), &err)), &err);
    assert_code(login(oidc, good, &err), ERR_CONNECT, &err);
    oidc_close(oidc);
    free(provider.issuer);
    free(provider.keys);
    EVP_PKEY_free(one.key);
    EVP_PKEY_free(two.key);
}

static void a_private_issuer_is_not_asked(void **state)
{
    (void)state;
    struct signer one = signer_new("one");
    struct oidc_setting setting = setting_of("https://127.0.0.1:9", NULL);
    struct error err = ERROR_INIT;
    struct oidc *oidc = NULL;
    autofree char *token = token_of(&one, setting.issuer, "gateway.example.com");
    assert_ok(oidc_open(&setting, 1, &oidc, &err), &err);
    assert_code(login(oidc, token, &err), ERR_ADDRESS_REFUSED, &err);
    oidc_close(oidc);
    setting.private = true;
    assert_ok(oidc_open(&setting, 1, &oidc, (error_clear(&err), &err)), &err);
    assert_code(login(oidc, token, &err), ERR_CONNECT, &err);
    oidc_close(oidc);
    EVP_PKEY_free(one.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_whole_texts),
        cmocka_unit_test(the_first_mapping_that_is_met_counts),
        folder_test(a_token_becomes_an_identity),
        folder_test(keys_of_a_file_are_rotated),
        cmocka_unit_test(an_issuer_is_asked_once),
        cmocka_unit_test(a_private_issuer_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
