#include "image/digest_map.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct digest nth(int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

static void each_digest_once(void **state)
{
    (void)state;
    struct digest_map map = {.first = NULL};
    struct digest one = nth(1);
    struct digest other = {.algorithm = DIGEST_SHA512};
    memcpy(other.bytes, one.bytes, sizeof one.bytes);
    assert_null(digest_map_find(&map, &one));
    struct digest_item *item = digest_map_add(&map, &one);
    assert_int_equal(item->number, 0);
    item->number = 7;
    assert_ptr_equal(digest_map_add(&map, &one), item);
    assert_int_equal(digest_map_find(&map, &one)->number, 7);
    assert_null(digest_map_find(&map, &other));
    assert_ptr_not_equal(digest_map_add(&map, &other), item);
    digest_map_deinit(&map);
    assert_null(digest_map_find(&map, &one));
}

/* Each item adds one more until there are enough. */
static void a_walk_sees_what_is_added_meanwhile(void **state)
{
    (void)state;
    struct digest_map map = {.first = NULL};
    struct digest digest = nth(0);
    int seen = 0;
    digest_map_add(&map, &digest);
    for (const struct digest_item *item = map.first; item; item = item->next, seen++) {
        digest = nth(seen);
        assert_true(digest_equal(&item->digest, &digest));
        digest = nth(seen < 999 ? seen + 1 : 0);
        digest_map_add(&map, &digest);
    }
    assert_int_equal(seen, 1000);
    digest_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_digest_once),
        cmocka_unit_test(a_walk_sees_what_is_added_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
