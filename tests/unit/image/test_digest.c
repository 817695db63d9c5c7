#include "image/digest.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_SHA512                                                                                 \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                             \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void texts_make_the_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = {"sha256:" ABC_SHA256, "sha512:" ABC_SHA512,
                                        "sha256:" EMPTY_SHA256};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error err = ERROR_INIT;
        struct digest digest;
        char text[DIGEST_TEXT_MAX];
        assert_int_equal(digest_parse(texts[i], &digest, &err), ERR_OK);
        assert_string_equal(digest_text(&digest, text), texts[i]);
        assert_string_equal(digest_hex(&digest, text), texts[i] + 7);
        char prefix[DIGEST_SHORT_MAX];
        assert_int_equal(strlen(digest_short(&digest, prefix)), 12);
        assert_memory_equal(prefix, texts[i] + 7, 12);
    }
}

static void the_unused_tail_is_zero(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest digest;
    static const uint8_t zeros[DIGEST_BYTES_MAX - 32];
    memset(&digest, 0xff, sizeof digest);
    assert_int_equal(digest_parse("sha256:" ABC_SHA256, &digest, &err), ERR_OK);
    assert_int_equal(digest.algorithm, DIGEST_SHA256);
    assert_memory_equal(digest.bytes + 32, zeros, sizeof zeros);
    digest = digest_of(DIGEST_SHA256, "abc", 3);
    assert_memory_equal(digest.bytes + 32, zeros, sizeof zeros);
}

static void malformed_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        NULL,
        "",
        ":",
        "sha256",
        "sha256:",
        ABC_SHA256,
        ":" ABC_SHA256,
        "sha256:" ABC_SHA256 "0",
        "sha256:" ABC_SHA256 " ",
        "sha256:a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/",
        "SHA256:" ABC_SHA256,
        " sha256:" ABC_SHA256,
        "sha256::" ABC_SHA256,
        "sha512:" ABC_SHA256,
        "sha256:" ABC_SHA512,
        "sha384:" ABC_SHA256,
        "none:",
        "sha25:" ABC_SHA256,
        "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/pass",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error err = ERROR_INIT;
        struct digest digest = {.algorithm = DIGEST_SHA512, .bytes = {7}};
        const struct digest before = digest;
        if (digest_parse(texts[i], &digest, &err) != ERR_DIGEST_INVALID)
            fail_msg("taken: %s", texts[i]);
        assert_memory_equal(&digest, &before, sizeof digest);
        assert_true(strlen(err.text) > 0 && strlen(err.text) < 400);
    }
}

static void an_endless_text_is_quoted_short(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest digest;
    autofree char *text = xmalloc(100001);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    assert_int_equal(digest_parse(text, &digest, &err), ERR_DIGEST_INVALID);
    assert_true(strlen(err.text) < 300);
    text[90000] = ':';
    assert_int_equal(digest_parse(text, &digest, &err), ERR_DIGEST_INVALID);
    assert_true(strlen(err.text) < 300);
    memcpy(text, "sha256:", 7);
    assert_int_equal(digest_parse(text, &digest, &err), ERR_DIGEST_INVALID);
    assert_true(strlen(err.text) < 300);
}

static void parts_are_a_whole(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest whole, parts;
    assert_int_equal(digest_parse("sha256:" ABC_SHA256, &whole, &err), ERR_OK);
    assert_int_equal(digest_parse_parts("sha256", ABC_SHA256, &parts, &err), ERR_OK);
    assert_true(digest_equal(&whole, &parts));
    assert_int_equal(digest_parse_parts("sha256", "", &parts, &err), ERR_DIGEST_INVALID);
    assert_int_equal(digest_parse_parts("", ABC_SHA256, &parts, &err), ERR_DIGEST_INVALID);
    assert_int_equal(digest_parse_parts("none", "", &parts, &err), ERR_DIGEST_INVALID);
    assert_int_equal(digest_parse_parts("sha256", ABC_SHA256 "/x", &parts, &err),
                     ERR_DIGEST_INVALID);
}

static void known_answers(void **state)
{
    (void)state;
    char text[DIGEST_TEXT_MAX];
    struct digest digest = digest_of(DIGEST_SHA256, "abc", 3);
    assert_string_equal(digest_text(&digest, text), "sha256:" ABC_SHA256);
    digest = digest_of(DIGEST_SHA512, "abc", 3);
    assert_string_equal(digest_text(&digest, text), "sha512:" ABC_SHA512);
    digest = digest_of(DIGEST_SHA256, "", 0);
    assert_string_equal(digest_text(&digest, text), "sha256:" EMPTY_SHA256);
}

static void pieces_hash_as_the_whole(void **state)
{
    (void)state;
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t piece = 1; piece <= sizeof data; piece = piece * 3 + 1) {
        struct digester *digester = digester_new(DIGEST_SHA256);
        for (size_t at = 0; at < sizeof data; at += piece)
            digester_update(digester, data + at,
                            sizeof data - at < piece ? sizeof data - at : piece);
        digester_update(digester, data, 0);
        struct digest got = digester_finish(digester);
        struct digest want = digest_of(DIGEST_SHA256, data, sizeof data);
        assert_true(digest_equal(&got, &want));
        digester_free(digester);
    }
    digester_free(digester_new(DIGEST_SHA512));
    digester_free(NULL);
}

/* Whatever the pieces of the two are, and where the others are hashed by themselves. */
static void two_hash_as_each_by_itself(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1, 55, 63, 64, 65, 128, 1000, 4096};
    enum { PIECES = sizeof pieces / sizeof pieces[0], ROUNDS = 3 * PIECES * PIECES };
    static uint8_t data[2][ROUNDS * 4096];
    size_t sizes[2] = {0, 0};
    struct digester *digesters[2];
    for (size_t i = 0; i < sizeof data; i++)
        data[i / sizeof data[0]][i % sizeof data[0]] = (uint8_t)(i * 2654435761U >> 24);
    for (size_t i = 0; i < 2; i++)
        digesters[i] = digester_new_pairable(DIGEST_SHA256);
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t of[2] = {pieces[round % PIECES], pieces[round / PIECES % PIECES]};
        digester_update_pair(digesters[0], data[0] + sizes[0], of[0], digesters[1],
                             data[1] + sizes[1], of[1]);
        sizes[0] += of[0];
        sizes[1] += of[1];
        digester_update(digesters[0], data[0] + sizes[0], round % 3);
        sizes[0] += round % 3;
    }
    for (size_t i = 0; i < 2; i++) {
        struct digest got = digester_finish(digesters[i]);
        struct digest want = digest_of(DIGEST_SHA256, data[i], sizes[i]);
        assert_true(digest_equal(&got, &want));
        digester_free(digesters[i]);
    }
}

/* One of them has no partner: another algorithm, or it was made without. */
static void others_hash_in_pairs_too(void **state)
{
    (void)state;
    uint8_t data[1000] = {7};
    const struct digest want = digest_of(DIGEST_SHA256, data, sizeof data);
    const struct digest long_want = digest_of(DIGEST_SHA512, data, sizeof data);
    struct digester *one = digester_new_pairable(DIGEST_SHA256);
    struct digester *plain = digester_new(DIGEST_SHA256);
    struct digester *longer = digester_new_pairable(DIGEST_SHA512);
    digester_update_pair(one, data, 500, plain, data, sizeof data);
    digester_update_pair(longer, data, sizeof data, one, data + 500, sizeof data - 500);
    struct digest got[] = {digester_finish(one), digester_finish(plain)};
    struct digest long_got = digester_finish(longer);
    assert_true(digest_equal(&got[0], &want) && digest_equal(&got[1], &want));
    assert_true(digest_equal(&long_got, &long_want));
    digester_free(one);
    digester_free(plain);
    digester_free(longer);
}

/* Over 2^32 bits, where the length of a stream goes on in its upper half. */
static void long_streams_know_their_length(void **state)
{
    (void)state;
    enum { MIB = 1 << 20, COUNT = 513 };
    uint8_t *zeros = xcalloc(1, MIB);
    struct digester *pair[2];
    struct digester *alone = digester_new(DIGEST_SHA256);
    for (size_t i = 0; i < 2; i++)
        pair[i] = digester_new_pairable(DIGEST_SHA256);
    for (size_t i = 0; i < COUNT; i++) {
        digester_update_pair(pair[0], zeros, MIB, pair[1], zeros, MIB);
        digester_update(alone, zeros, MIB);
    }
    const struct digest want = digester_finish(alone);
    for (size_t i = 0; i < 2; i++) {
        struct digest got = digester_finish(pair[i]);
        assert_true(digest_equal(&got, &want));
        digester_free(pair[i]);
    }
    digester_free(alone);
    free(zeros);
}

/* RFC 4231, test cases 2 and 6: a short key and one that is longer than a block. */
static void hmac_gives_the_known_answers(void **state)
{
    (void)state;
    char hex[HMAC_HEX_SIZE + 1];
    uint8_t key[131];
    memset(key, 0xaa, sizeof key);
    assert_string_equal(hmac_hex("Jefe", 4, "what do ya want for nothing?", hex),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_string_equal(
        hmac_hex(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", hex),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void order_is_total(void **state)
{
    (void)state;
    const struct digest none = {.algorithm = DIGEST_NONE};
    struct digest a = {.algorithm = DIGEST_SHA256};
    struct digest b = {.algorithm = DIGEST_SHA256};
    struct digest long_one = {.algorithm = DIGEST_SHA512};
    a.bytes[31] = 1;
    b.bytes[31] = 0x80;
    assert_true(digest_compare(&none, &a) < 0);
    assert_true(digest_compare(&a, &b) < 0);
    assert_true(digest_compare(&b, &a) > 0);
    assert_true(digest_compare(&b, &long_one) < 0);
    assert_int_equal(digest_compare(&a, &a), 0);
    assert_true(digest_equal(&none, &none));
    assert_false(digest_equal(&a, &b));
    long_one = (struct digest){.algorithm = DIGEST_SHA512};
    memcpy(long_one.bytes, a.bytes, 32);
    assert_false(digest_equal(&a, &long_one));
}

static void names_and_sizes(void **state)
{
    (void)state;
    assert_int_equal(digest_size(DIGEST_NONE), 0);
    assert_int_equal(digest_size(DIGEST_SHA256), 32);
    assert_int_equal(digest_size(DIGEST_SHA512), DIGEST_BYTES_MAX);
    assert_string_equal(digest_algorithm_name(DIGEST_SHA256), "sha256");
    assert_string_equal(digest_algorithm_name(DIGEST_SHA512), "sha512");
    /* Stored on disk. */
    assert_int_equal(DIGEST_SHA256, 1);
    assert_int_equal(DIGEST_SHA512, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_make_the_round_trip),
        cmocka_unit_test(the_unused_tail_is_zero),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(an_endless_text_is_quoted_short),
        cmocka_unit_test(parts_are_a_whole),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(pieces_hash_as_the_whole),
        cmocka_unit_test(two_hash_as_each_by_itself),
        cmocka_unit_test(others_hash_in_pairs_too),
        cmocka_unit_test(long_streams_know_their_length),
        cmocka_unit_test(hmac_gives_the_known_answers),
        cmocka_unit_test(order_is_total),
        cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
