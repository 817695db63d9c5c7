#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro fail(): ours is called (fail)(). */

static void a_failure_has_code_text_and_reason(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    err.status = 500;
    assert_int_equal((fail)(&err, ERR_LINK_INVALID, 0, "link %s", "a"), ERR_LINK_INVALID);
    assert_int_equal(err.code, ERR_LINK_INVALID);
    assert_int_equal(err.sys, 0);
    assert_int_equal(err.status, 0);
    assert_string_equal(err.text, "link a");

    assert_int_equal((fail)(&err, ERR_IO, ENOENT, "open %s", "b"), ERR_IO);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.text, "open b: No such file or directory");
}

static void full_disks_and_full_memory_have_their_own_codes(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal((fail)(&err, ERR_IO, ENOSPC, "write"), ERR_NO_SPACE);
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_int_equal((fail)(&err, ERR_IO, EDQUOT, "write"), ERR_NO_SPACE);
    assert_int_equal((fail)(&err, ERR_IO, ENOMEM, "mmap"), ERR_MEMORY);
    assert_int_equal((fail)(&err, ERR_STORE, ENOSPC, "commit"), ERR_STORE);
}

static void context_is_put_in_front(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    (fail)(&err, ERR_IO, EIO, "read");
    assert_int_equal(error_wrap(&err, "layer %d", 3), ERR_IO);
    assert_int_equal(error_wrap(&err, "image x"), ERR_IO);
    assert_string_equal(err.text, "image x: layer 3: read: Input/output error");
    assert_int_equal(err.sys, EIO);
    error_clear(&err);
    assert_int_equal(err.code, ERR_OK);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.text, "");
}

static void texts_are_cut_at_their_limit(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    char text[ERROR_TEXT_MAX + 1];
    memset(text, 'x', sizeof text);
    for (size_t size = ERROR_TEXT_MAX - 2; size <= ERROR_TEXT_MAX; size++) {
        text[size] = '\0';
        (fail)(&err, ERR_IO, EIO, "%s", text);
        assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
        error_wrap(&err, "more");
        assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
        assert_int_equal(strncmp(err.text, "more: xxx", 9), 0);
        error_wrap(&err, "%s", text);
        assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
        text[size] = 'x';
    }
}

static void texts_are_one_line_of_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *given, *text;
    } table[] = {
        {"a\nb\rc\td\x1b[31m\x7f", "a b c d [31m "},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xb3", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xb3"},
        {"\xff\xfe", "??"},
        {"\x80", "?"},
        {"\xc3", "?"},
        {"\xc3x", "?x"},
        {"\xe2\x82", "??"},
        {"\xf0\x9f\x90", "???"},
        {"\xc0\x80", "??"},                                /* overlong */
        {"\xc1\xbf", "??"},                                /* overlong */
        {"\xe0\x9f\xbf \xe0\xa0\x80", "??? \xe0\xa0\x80"}, /* overlong, the first of three */
        {"\xed\x9f\xbf \xed\xa0\x80", "\xed\x9f\xbf ???"}, /* the last before the surrogates */
        {"\xf0\x8f\xbf\xbf \xf0\x90\x80\x80", "???? \xf0\x90\x80\x80"},
        {"\xf4\x8f\xbf\xbf \xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf ????"}, /* U+10FFFF is the last */
        {"\xf5\x80\x80\x80", "????"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        (fail)(&err, ERR_INTERNAL, 0, "%s", table[i].given);
        assert_string_equal(err.text, table[i].text);
        error_wrap(&err, "%s", table[i].given);
        assert_int_equal(strncmp(err.text, table[i].text, strlen(table[i].text)), 0);
    }
}

static void a_cut_character_is_replaced(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    char text[ERROR_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text + ERROR_TEXT_MAX - 3, "\xe2\x82\xac", 4);
    (fail)(&err, ERR_INTERNAL, 0, "%s", text);
    assert_string_equal(err.text + ERROR_TEXT_MAX - 4, "x??");
}

/* The specification has one name for several refusals; then the statuses tell them apart, or whose
 * turn it is: a blob that nobody put here, or one that the gateway should have. */
static void names_are_shared_by_different_statuses_or_parties_only(void **state)
{
    (void)state;
    for (enum errc code = ERR_OK; code < ERR_COUNT_; code++) {
        enum errc first = error_by_name(error_name(code));
        assert_true(first <= code);
        assert_string_equal(error_name(first), error_name(code));
        for (enum errc other = ERR_OK; other < code; other++)
            if (strcmp(error_name(code), error_name(other)) == 0)
                assert_true(error_http_status(code) != error_http_status(other) ||
                            error_party(code) != error_party(other));
    }
    assert_int_equal(error_by_name("BLOB_UPLOAD_INVALID"), ERR_UPLOAD_INVALID);
    assert_int_equal(error_by_name("NAME_UNKNOWN"), ERR_NAME_UNKNOWN);
    assert_int_equal(error_by_name("SOMETHING_ELSE"), ERR_INTERNAL);
}

static void the_table_is_whole(void **state)
{
    (void)state;
    assert_string_equal(error_name(ERR_OK), "OK");
    assert_int_equal(error_http_status(ERR_OK), 200);
    for (enum errc code = ERR_OK + 1; code < ERR_COUNT_; code++) {
        assert_non_null(error_name(code));
        assert_true(strlen(error_name(code)) < 40);
        assert_in_range(error_http_status(code), 400, 599);
        assert_int_not_equal(error_party(code), PARTY_NONE);
        assert_true(strlen(party_name(error_party(code))) > 0);
    }
    assert_true(error_retriable(ERR_CONNECT));
    assert_false(error_retriable(ERR_UNAUTHORIZED));
    assert_string_equal(party_name(error_party(ERR_TLS)), "network");
    assert_string_equal(party_name(error_party(ERR_DENIED)), "registry");
    assert_string_equal(party_name(error_party(ERR_NO_SPACE)), "gateway");
    assert_string_equal(party_name(error_party(ERR_ARCHIVE_EMPTY)), "client");
    assert_string_equal(party_name(PARTY_NONE), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_has_code_text_and_reason),
        cmocka_unit_test(full_disks_and_full_memory_have_their_own_codes),
        cmocka_unit_test(context_is_put_in_front),
        cmocka_unit_test(texts_are_cut_at_their_limit),
        cmocka_unit_test(texts_are_one_line_of_utf8),
        cmocka_unit_test(a_cut_character_is_replaced),
        cmocka_unit_test(names_are_shared_by_different_statuses_or_parties_only),
        cmocka_unit_test(the_table_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
