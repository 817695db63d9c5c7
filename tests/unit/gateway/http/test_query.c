#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/http/query.h"

#include <string.h>

static void parameters_are_names_and_values_in_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected; /* name, "=", value, ";" each */
    } rows[] = {
        {"", ""},
        {"a=1", "a=1;"},
        {"a=1&b=2&a=3", "a=1;b=2;a=3;"},
        {"a", "a=;"},
        {"a=", "a=;"},
        {"=1", "=1;"},
        {"&&a=1&", "a=1;"},
        {"a=b=c", "a=b=c;"},
        {"digest=sha256%3Aab", "digest=sha256:ab;"},
        {"from=team%2Fapp", "from=team/app;"},
        {"from=team%2fapp", "from=team/app;"},
        {"t=application/vnd.oci.image.manifest.v1+json",
         "t=application/vnd.oci.image.manifest.v1+json;"},
        {"a=1%2B2", "a=1+2;"},
        {"a=%20%26%3d", "a= &=;"},
        {"%61=%C3%A4", "a=\xc3\xa4;"},
        {"a=b?c", "a=b?c;"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query query;
        struct error err = ERROR_INIT;
        autobuf struct buf text = BUF_INIT(1000);
        print_message("%s\n", rows[i].text);
        assert_int_equal(query_parse(rows[i].text, &query, &err), ERR_OK);
        for (size_t k = 0; k < query.count; k++)
            buf_format(&text, "%s=%s;", query.items[k].name, query.items[k].value);
        assert_string_equal(buf_cstr(&text), rows[i].expected);
        query_deinit(&query);
    }
}

static void broken_escapes_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"a=%",   "a=%1",  "a=%1g", "a=%g1",   "%",
                                       "%4=1",  "a=%%",  "a=%00", "a=1%00b", "a%00=1",
                                       "a=%+1", "a=% 1", "a=%2",  "a=1&b=%"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct query query = {.count = 77};
        struct error err = ERROR_INIT;
        print_message("%s\n", rows[i]);
        assert_int_equal(query_parse(rows[i], &query, &err), ERR_BAD_REQUEST);
        assert_int_equal(query.count, 77);
    }
}

static enum errc parse_many(size_t count, struct query *query)
{
    struct error err = ERROR_INIT;
    autobuf struct buf text = BUF_INIT(100000);
    for (size_t i = 0; i < count; i++)
        buf_format(&text, "%sp%zu=%zu", i > 0 ? "&&" : "", i, i);
    return query_parse(buf_cstr(&text), query, &err);
}

static void the_number_of_parameters_is_limited(void **state)
{
    (void)state;
    for (size_t n = QUERY_PARAMETERS_MAX - 1; n <= QUERY_PARAMETERS_MAX; n++) {
        struct query query;
        assert_int_equal(parse_many(n, &query), ERR_OK);
        assert_int_equal(query.count, n);
        query_deinit(&query);
    }
    struct query query;
    assert_int_equal(parse_many(QUERY_PARAMETERS_MAX + 1, &query), ERR_BAD_REQUEST);
}

static void a_value_is_found_by_its_name(void **state)
{
    (void)state;
    struct query query;
    struct error err = ERROR_INIT;
    bool twice = true;
    assert_int_equal(query_parse("n=5&last=a&n=6&x", &query, &err), ERR_OK);
    assert_string_equal(query_value(&query, "last", &twice), "a");
    assert_false(twice);
    assert_string_equal(query_value(&query, "n", &twice), "5");
    assert_true(twice);
    assert_string_equal(query_value(&query, "n", NULL), "5");
    assert_string_equal(query_value(&query, "x", &twice), "");
    assert_false(twice);
    assert_null(query_value(&query, "N", &twice));
    assert_false(twice);
    query_deinit(&query);
}

static void a_segment_is_decoded_to_its_size(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree char *text = NULL;
    assert_int_equal(percent_decode("a%2Fb%2Fc", 5, &text, &err), ERR_OK);
    assert_string_equal(text, "a/b");
    char *none = NULL;
    assert_int_equal(percent_decode("a%2Fb", 3, &none, &err), ERR_BAD_REQUEST);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_names_and_values_in_their_order),
        cmocka_unit_test(broken_escapes_are_refused),
        cmocka_unit_test(the_number_of_parameters_is_limited),
        cmocka_unit_test(a_value_is_found_by_its_name),
        cmocka_unit_test(a_segment_is_decoded_to_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
