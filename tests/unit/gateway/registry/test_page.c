#include "gateway/registry/page.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct name_list list_of(const char *text)
{
    struct name_list list = {.names = xcalloc(strlen(text) + 1, sizeof(char *))};
    autofree char *copy = xstrdup(text);
    char *rest = NULL;
    for (char *at = strtok_r(copy, " ", &rest); at; at = strtok_r(NULL, " ", &rest))
        list.names[list.count++] = xstrdup(at);
    return list;
}

static void take(const struct v2_page *page, const char *text, struct name_list *out)
{
    struct name_list some = list_of(text);
    v2_page_of_tags(page, &some, out);
    assert_int_equal(some.count, 0);
}

static void assert_list(const struct name_list *list, const char *text)
{
    char joined[1000] = "";
    for (size_t i = 0; i < list->count; i++) {
        strcat(joined, i > 0 ? " " : "");
        strcat(joined, list->names[i]);
    }
    assert_string_equal(joined, text);
}

/* ---- n and last ---- */

static enum errc parse(const char *text, struct v2_page *page, struct query *query)
{
    struct error err = ERROR_INIT;
    assert_int_equal(query_parse(text, query, &err), ERR_OK);
    return v2_page_parse(query, page, &err);
}

static void assert_limit(const char *text, size_t limit)
{
    struct query query = {.count = 0};
    struct v2_page page;
    assert_int_equal(parse(text, &page, &query), ERR_OK);
    assert_int_equal(page.limit, limit);
    query_deinit(&query);
}

static void assert_refused(const char *text)
{
    struct query query = {.count = 0};
    struct v2_page page;
    assert_int_equal(parse(text, &page, &query), ERR_BAD_REQUEST);
    query_deinit(&query);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_limit("", V2_PAGE_MAX);
    assert_limit("n=0", 0);
    assert_limit("n=1", 1);
    assert_limit("n=007", 7);
    assert_limit("n=9999", V2_PAGE_MAX - 1);
    assert_limit("n=10000", V2_PAGE_MAX);
    assert_limit("n=10001", V2_PAGE_MAX);
    assert_limit("n=18446744073709551617", V2_PAGE_MAX);
    assert_limit("n=000000000000000000000000000000000001", 1);
}

static void test_what_is_no_number(void **state)
{
    (void)state;
    const char *bad[] = {"n=",   "n=-1",   "n=+1",    "n=1.5",         "n=x",
                         "n=1x", "n=%201", "n=1&n=2", "last=a&last=b", "n=0x1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i]);
}

static void test_last(void **state)
{
    (void)state;
    struct query query = {.count = 0};
    struct v2_page page;
    assert_int_equal(parse("last=v1.0%2b1&n=2", &page, &query), ERR_OK);
    assert_string_equal(page.last, "v1.0+1");
    query_deinit(&query);
    assert_int_equal(parse("last=", &page, &query), ERR_OK);
    assert_null(page.last);
    query_deinit(&query);
}

/* ---- the order of tags, and pages of them ---- */

static void test_order_is_without_case(void **state)
{
    (void)state;
    const struct v2_page page = {.limit = 10};
    struct name_list out = {.count = 0};
    take(&page, "b C a1 A a A10 _x 1", &out);
    assert_list(&out, "1 _x A a a1 A10 b C");
    assert_false(out.more);
    name_list_deinit(&out);
}

static void test_page_limits(void **state)
{
    (void)state;
    const char *shown[] = {"", "a", "a B", "a B c", "a B c"};
    for (size_t limit = 0; limit <= 4; limit++) {
        const struct v2_page page = {.limit = limit};
        struct name_list out = {.count = 0};
        take(&page, "B c a", &out);
        assert_list(&out, shown[limit]);
        assert_int_equal(out.more, limit < 3);
        name_list_deinit(&out);
    }
}

static void test_last_is_left_out(void **state)
{
    (void)state;
    const struct {
        const char *last, *shown;
        bool more;
    } cases[] = {{"a", "B c", true},   {"B", "c d", false}, {"b", "c d", false},
                 {"bb", "c d", false}, {"d", "", false},    {"zz", "", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct v2_page page = {.limit = 2, .last = cases[i].last};
        struct name_list out = {.count = 0};
        take(&page, "B a c d", &out);
        assert_list(&out, cases[i].shown);
        assert_int_equal(out.more, cases[i].more);
        name_list_deinit(&out);
    }
}

/* Whatever comes in how many parts: the page is the same. */
static void test_tags_in_parts(void **state)
{
    (void)state;
    const struct v2_page page = {.limit = 3, .last = "c"};
    struct name_list out = {.count = 0};
    take(&page, "A B E z", &out);
    take(&page, "", &out);
    take(&page, "a c d f", &out);
    take(&page, "y", &out);
    assert_list(&out, "d E f");
    assert_true(out.more);
    name_list_deinit(&out);
}

static void test_no_tags(void **state)
{
    (void)state;
    const struct v2_page page = {.limit = 3};
    struct name_list out = {.count = 0};
    take(&page, "", &out);
    assert_int_equal(out.count, 0);
    assert_false(out.more);
    name_list_deinit(&out);
}

/* ---- Link ---- */

static void assert_link(const char *path, size_t limit, const char *filter, const char *last,
                        const char *expected)
{
    autofree char *link = v2_page_link(path, limit, filter, last);
    assert_string_equal(link, expected);
}

static void test_link(void **state)
{
    (void)state;
    assert_link("/v2/team/app/tags/list", 2, NULL, "v1.0",
                "</v2/team/app/tags/list?n=2&last=v1.0>; rel=\"next\"");
    assert_link("/v2/_catalog", 1, NULL, "localhost:5000/a",
                "</v2/_catalog?n=1&last=localhost%3A5000%2Fa>; rel=\"next\"");
    assert_link("/v2/a/referrers/sha256:00", 0, "application/x+json", "sha256:ff",
                "</v2/a/referrers/sha256:00?artifactType=application%2Fx%2Bjson&last=sha256%3Aff>; "
                "rel=\"next\"");
    assert_link("/v2/_catalog", 1, NULL, ">; \r\n\"",
                "</v2/_catalog?n=1&last=%3E%3B%20%0D%0A%22>; rel=\"next\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_what_is_no_number),
        cmocka_unit_test(test_last),          cmocka_unit_test(test_order_is_without_case),
        cmocka_unit_test(test_page_limits),   cmocka_unit_test(test_last_is_left_out),
        cmocka_unit_test(test_tags_in_parts), cmocka_unit_test(test_no_tags),
        cmocka_unit_test(test_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
