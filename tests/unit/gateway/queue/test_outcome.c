/*
 * What each error means for a push after the answer: none of them is left to chance.
 */
#include "gateway/queue/outcome.h"

#include "upstream/auth/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    enum errc code;
    enum outcome wanted;
} cases[] = {
    {ERR_CANCELLED, OUTCOME_STOPPED},
    {ERR_UNAUTHORIZED, OUTCOME_CREDENTIAL},
    {ERR_CREDENTIALS, OUTCOME_CREDENTIAL},
    {ERR_LOOP, OUTCOME_REFUSED},
    {ERR_TAG_DRIFTED, OUTCOME_REFUSED},
    {ERR_TAG_IMMUTABLE, OUTCOME_REFUSED},
    {ERR_TOO_MANY_REQUESTS, OUTCOME_HOST},
    {ERR_REGISTRY_FAULT, OUTCOME_HOST},
    {ERR_NO_ANSWER, OUTCOME_HOST},
    {ERR_NOT_A_REGISTRY, OUTCOME_HOST},
    {ERR_HOST_UNKNOWN, OUTCOME_HOST},
    {ERR_CONNECT, OUTCOME_HOST},
    {ERR_CONNECTION_LOST, OUTCOME_HOST},
    {ERR_TIMEOUT, OUTCOME_HOST},
    {ERR_PROXY, OUTCOME_HOST},
    {ERR_TLS, OUTCOME_HOST},
    {ERR_CERTIFICATE, OUTCOME_HOST},
    {ERR_ADDRESS_REFUSED, OUTCOME_HOST},
    {ERR_IO, OUTCOME_TARGET},
    {ERR_NO_SPACE, OUTCOME_TARGET},
    {ERR_STORE, OUTCOME_TARGET},
    {ERR_STORE_FULL, OUTCOME_TARGET},
    {ERR_BUSY, OUTCOME_TARGET},
    {ERR_BLOB_CORRUPT, OUTCOME_TARGET},
    {ERR_BLOB_UNKNOWN, OUTCOME_TARGET},
    {ERR_SETTINGS, OUTCOME_TARGET},
    {ERR_BLOB_NOT_THERE, OUTCOME_TARGET},
    {ERR_UPLOAD_UNKNOWN, OUTCOME_TARGET},
    {ERR_REGISTRY_ANSWER, OUTCOME_TARGET},
    {ERR_DENIED, OUTCOME_REFUSED},
    {ERR_NAME_UNKNOWN, OUTCOME_REFUSED},
    {ERR_REGISTRY_REFUSED, OUTCOME_REFUSED},
    {ERR_REGISTRY_UNSUPPORTED, OUTCOME_REFUSED},
    {ERR_MANIFEST_REFUSED, OUTCOME_REFUSED},
    {ERR_MANIFEST_UNKNOWN, OUTCOME_REFUSED},
    {ERR_PUSHED_DIGEST, OUTCOME_REFUSED},
    {ERR_UNSUPPORTED, OUTCOME_REFUSED},
    {ERR_NO_TAG, OUTCOME_REFUSED},
};

static void errors_mean_what_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct error error = {.code = cases[i].code};
        if (outcome_of(&error) != cases[i].wanted)
            fail_msg("%s is %d", error_name(cases[i].code), (int)outcome_of(&error));
    }
}

/* A 403 is the repository's, unless the registry lets nobody in with these credentials. */
static void who_may_nothing_there_waits(void **state)
{
    (void)state;
    const struct error here = {.code = ERR_DENIED, .status = 403};
    const struct error anywhere = {.code = ERR_DENIED, .status = 403, .hints = HINT_LOGIN};
    assert_int_equal(outcome_of(&here), OUTCOME_REFUSED);
    assert_int_equal(outcome_of(&anywhere), OUTCOME_CREDENTIAL);
}

/* What a registry, the way there or the gateway itself says has a row here. */
static void none_is_forgotten(void **state)
{
    (void)state;
    for (int code = ERR_OK + 1; code < ERR_COUNT_; code++) {
        enum party party = error_party((enum errc)code);
        size_t i = 0;
        while (i < sizeof cases / sizeof cases[0] && (int)cases[i].code != code)
            i++;
        if ((party == PARTY_REGISTRY || party == PARTY_NETWORK) &&
            i == sizeof cases / sizeof cases[0] && code != ERR_PUSH_TIME)
            fail_msg("%s has no row", error_name((enum errc)code));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_mean_what_they_are),
        cmocka_unit_test(who_may_nothing_there_waits),
        cmocka_unit_test(none_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
