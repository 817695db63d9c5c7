#include "upstream/auth/location_hmac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char ci[] = "ci";
static char secret[] = "s3cret";
static char other[] = "0ther";

static struct known_location made(const char *blob, const char *source,
                                  const struct registry_credentials *credentials)
{
    struct known_location location = {.digest = digest_of(DIGEST_SHA256, blob, strlen(blob))};
    struct location_key key;
    strcpy(location.source, source);
    location_key_make(credentials, &key);
    location_sign(&location, &key);
    return location;
}

static bool matches(const struct known_location *location,
                    const struct registry_credentials *credentials)
{
    struct location_key key;
    location_key_make(credentials, &key);
    return location_matches(location, &key);
}

/* Worked out with python3: hashlib.sha256 over {"password":"s3cret","username":"ci"}, its text as
 * the key of hmac.new() over "sha256:<of abc>" "r.io/x". What is stored depends on it. */
static void the_form_is_pinned(void **state)
{
    (void)state;
    const struct registry_credentials credentials = {.username = ci, .password = secret};
    struct location_key key;
    location_key_make(&credentials, &key);
    assert_string_equal(key.text,
                        "sha256:5f2db6e1cb2d0313d566c70a90c42590c08503859bfd058e7fb423e1439001bc");
    struct known_location location = made("abc", "r.io/x", &credentials);
    assert_string_equal(location.hmac,
                        "53c4cee94ca57c2084161089da743ed70d39476ac3846dc33ce833d88b470f9f");
}

static void credentials_are_canonical_json(void **state)
{
    (void)state;
    static char odd[] = "a\"b\\c\n\x01\xc3\xa9";
    static char empty[] = "";
    const struct {
        struct registry_credentials credentials;
        const char *json;
    } rows[] = {
        {{.username = NULL}, "{}"},
        {{.username = ci}, "{\"username\":\"ci\"}"},
        {{.username = ci, .password = empty}, "{\"password\":\"\",\"username\":\"ci\"}"},
        {{.identity_token = secret}, "{\"identitytoken\":\"s3cret\"}"},
        {{.username = ci, .password = secret, .identity_token = other, .registry_token = odd},
         "{\"identitytoken\":\"0ther\",\"password\":\"s3cret\",\"registrytoken\":"
         "\"a\\u0022b\\u005cc\\u000a\\u0001\xc3\xa9\",\"username\":\"ci\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct digest want = digest_of(DIGEST_SHA256, rows[i].json, strlen(rows[i].json));
        struct digest got = registry_credentials_digest(&rows[i].credentials);
        if (!digest_equal(&want, &got))
            fail_msg("not %s", rows[i].json);
    }
}

static void only_the_same_credentials_match(void **state)
{
    (void)state;
    const struct registry_credentials anonymous = {.username = NULL};
    const struct registry_credentials mine = {.username = ci, .password = secret};
    const struct registry_credentials theirs[] = {
        {.username = ci, .password = other},
        {.username = secret, .password = ci},
        {.username = ci, .identity_token = secret},
        {.username = ci, .registry_token = secret},
        {.username = ci},
    };
    struct known_location location = made("a", "r.io/x", &mine);
    assert_int_equal(strlen(location.hmac), HMAC_HEX_SIZE);
    assert_true(matches(&location, &mine));
    assert_false(matches(&location, &anonymous));
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++) {
        struct known_location another = made("a", "r.io/x", &theirs[i]);
        assert_false(matches(&location, &theirs[i]));
        assert_false(matches(&another, &mine));
        assert_true(matches(&another, &theirs[i]));
    }
}

static void without_credentials_there_is_no_hmac(void **state)
{
    (void)state;
    const struct registry_credentials anonymous = {.username = NULL};
    const struct registry_credentials mine = {.username = ci, .password = secret};
    struct known_location location = made("a", "r.io/x", &anonymous);
    assert_string_equal(location.hmac, "");
    assert_true(matches(&location, &anonymous));
    assert_false(matches(&location, &mine));
}

static void it_is_of_this_digest_and_this_source(void **state)
{
    (void)state;
    const struct registry_credentials mine = {.username = ci, .password = secret};
    struct known_location location = made("a", "r.io/x", &mine);
    struct known_location moved = location;
    strcpy(moved.source, "r.io/y");
    assert_false(matches(&moved, &mine));
    struct known_location swapped = location;
    swapped.digest = digest_of(DIGEST_SHA256, "b", 1);
    assert_false(matches(&swapped, &mine));
    struct known_location changed = location;
    changed.hmac[HMAC_HEX_SIZE - 1] = changed.hmac[HMAC_HEX_SIZE - 1] == '0' ? '1' : '0';
    assert_false(matches(&changed, &mine));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_is_pinned),
        cmocka_unit_test(credentials_are_canonical_json),
        cmocka_unit_test(only_the_same_credentials_match),
        cmocka_unit_test(without_credentials_there_is_no_hmac),
        cmocka_unit_test(it_is_of_this_digest_and_this_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
