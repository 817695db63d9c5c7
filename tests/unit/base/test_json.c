#include "base/json.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum errc parse(const char *text, json_t **out, struct error *err)
{
    return json_parse(text, strlen(text), 1000, "doc", out, err);
}

static void values_are_parsed(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autojson json_t *value = NULL;
    assert_int_equal(parse(" {\"z\": \"\\u00e4\", \"a\": [1, null], \"n\": 7} ", &value, &err),
                     ERR_OK);
    assert_string_equal(json_text(value, "z"), "\xc3\xa4");
    assert_null(json_text(value, "n"));
    assert_null(json_text(value, "absent"));
    assert_null(json_text(json_object_get(value, "a"), "z"));
    assert_null(json_text(NULL, "z"));
    autofree char *text = json_compact(value);
    assert_string_equal(text, "{\"z\":\"\xc3\xa4\",\"a\":[1,null],\"n\":7}");
    autofree char *word = json_compact(json_object_get(value, "z"));
    assert_string_equal(word, "\"\xc3\xa4\"");
}

static void bad_documents_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "line 1, column 0"},
        {"{\n\"a\":}", "line 2, column 5"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"a\":{\"b\":1,\"b\":2}}", "duplicate"},
        {"{} x", "end of file"},
        {"[1,]", "line 1"},
        {"[\"\\u0000\"]", "u0000"},
        {"[\"\xff\"]", "0xff"},
        {"[9223372036854775808]", "too big"},
        {"[1e999]", "overflow"},
        {"['a']", "invalid token"},
        {"[NaN]", "invalid token"},
        {"7", "'[' or '{'"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        json_t *value = NULL;
        if (parse(table[i].text, &value, &err) != ERR_JSON_INVALID ||
            strstr(err.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, err.text);
        assert_int_equal(strncmp(err.text, "doc is not valid JSON", 21), 0);
        assert_null(value);
    }
}

static void the_byte_limit_is_exact(void **state)
{
    (void)state;
    for (size_t limit = 1; limit <= 3; limit++) {
        struct error err = ERROR_INIT;
        autojson json_t *value = NULL;
        assert_int_equal(json_parse("[]", 2, limit, "doc", &value, &err),
                         limit < 2 ? ERR_JSON_TOO_LARGE : ERR_OK);
    }
}

/* [0,0,...] has one value more than entries. */
static enum errc parse_entries(size_t count, struct error *err)
{
    struct buf text autobuf = BUF_INIT((size_t)1 << 20);
    autojson json_t *value = NULL;
    buf_text(&text, "[0");
    for (size_t i = 1; i < count; i++)
        buf_text(&text, ",0");
    buf_text(&text, "]");
    enum errc rc = json_parse(buf_cstr(&text), text.size, text.size, "doc", &value, err);
    if (rc == ERR_OK)
        assert_int_equal(json_array_size(value), count);
    return rc;
}

static void the_number_of_values_is_limited(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(parse_entries(JSON_VALUES_MAX - 2, &err), ERR_OK);
    assert_int_equal(parse_entries(JSON_VALUES_MAX - 1, &err), ERR_OK);
    assert_int_equal(parse_entries(JSON_VALUES_MAX, &err), ERR_JSON_TOO_LARGE);
    assert_non_null(strstr(err.text, "140001"));
}

static void strings_may_hold_what_looks_like_values(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autojson json_t *value = NULL;
    size_t size = (size_t)JSON_VALUES_MAX * 2;
    autofree char *text = xmalloc(size);
    memset(text, ',', size);
    memcpy(text, "[\"\\\\\\\"", 6);
    memcpy(text + size - 2, "\"]", 2);
    assert_int_equal(json_parse(text, size, size, "doc", &value, &err), ERR_OK);
}

static enum errc parse_depth(size_t depth, struct error *err)
{
    autofree char *text = xmalloc(2 * depth);
    autojson json_t *value = NULL;
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return json_parse(text, 2 * depth, 2 * depth, "doc", &value, err);
}

static void nesting_is_limited(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(parse_depth(2047, &err), ERR_OK);
    assert_int_equal(parse_depth(2048, &err), ERR_OK);
    assert_int_equal(parse_depth(2049, &err), ERR_JSON_INVALID);
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_parsed),
        cmocka_unit_test(bad_documents_are_refused_with_their_place),
        cmocka_unit_test(the_byte_limit_is_exact),
        cmocka_unit_test(the_number_of_values_is_limited),
        cmocka_unit_test(strings_may_hold_what_looks_like_values),
        cmocka_unit_test(nesting_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
