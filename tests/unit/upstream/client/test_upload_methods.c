#include "upstream/client/upload_methods.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/store_local.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define HOST "r.example.com"

static struct host_capabilities learned;

static struct upload_methods ladder_with(enum upload_method selector, uint64_t chunk_bytes)
{
    struct upload_methods methods;
    host_capabilities_init(&learned, HOST, NULL);
    upload_methods_init(&methods, &learned, selector, chunk_bytes);
    return methods;
}

static void nothing_is_known(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = upload_methods_first(&methods, GIB);
    assert_int_equal(choice.way, UPLOAD_METHOD_PUT);
    assert_false(choice.known);
    static const enum upload_method order[] = {UPLOAD_METHOD_PATCH, UPLOAD_METHOD_CHUNKED,
                                               UPLOAD_METHOD_POST};
    for (size_t i = 0; i < 3; i++) {
        assert_true(upload_methods_refused(&methods, GIB, &choice));
        assert_int_equal(choice.way, order[i]);
    }
    assert_int_equal(choice.chunk_bytes, 95 * MIB);
    assert_false(upload_methods_refused(&methods, GIB, &choice));
    host_capabilities_deinit(&learned);
}

static void what_worked_comes_first_and_the_others_after_it(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = {.way = UPLOAD_METHOD_CHUNKED};
    upload_methods_worked(&methods, &choice);
    choice = upload_methods_first(&methods, 1);
    assert_int_equal(choice.way, UPLOAD_METHOD_CHUNKED);
    assert_true(choice.known);
    assert_true(upload_methods_refused(&methods, 1, &choice));
    assert_int_equal(choice.way, UPLOAD_METHOD_PUT);
    assert_false(choice.known);
    host_capabilities_deinit(&learned);
}

/* Caps: the configured chunk first, then what people configure. */
static void a_limit_is_approached_from_above(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = upload_methods_first(&methods, GIB);
    static const uint64_t limits[] = {95, 47, 19, 9, 4, 1};
    uint64_t body = GIB;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        assert_true(upload_methods_too_large(&methods, body, 0, &choice));
        assert_int_equal(choice.way, UPLOAD_METHOD_CHUNKED);
        assert_int_equal(choice.chunk_bytes, limits[i] * MIB);
        body = choice.chunk_bytes;
    }
    assert_true(upload_methods_too_large(&methods, body, MIB / 4, &choice));
    assert_int_equal(choice.chunk_bytes, MIB / 4);
    assert_false(upload_methods_too_large(&methods, choice.chunk_bytes, 0, &choice));
    host_capabilities_deinit(&learned);
}

static void a_body_at_a_cap_goes_below_it(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = upload_methods_first(&methods, 9 * MIB + 1);
    assert_true(upload_methods_too_large(&methods, 9 * MIB + 1, 0, &choice));
    assert_int_equal(choice.chunk_bytes, 9 * MIB);
    choice = upload_methods_first(&methods, 9 * MIB);
    assert_true(upload_methods_too_large(&methods, 9 * MIB, 0, &choice));
    assert_int_equal(choice.chunk_bytes, 4 * MIB);
    /* The shortest chunk that the registry wants: met, and missed by one byte. */
    assert_true(upload_methods_too_large(&methods, 4 * MIB, MIB, &choice));
    assert_false(upload_methods_too_large(&methods, 4 * MIB, MIB + 1, &choice));
    host_capabilities_deinit(&learned);
}

static void what_fits_goes_whole_and_the_rest_in_chunks(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = upload_methods_first(&methods, 10 * MIB);
    assert_true(upload_methods_too_large(&methods, 10 * MIB, 0, &choice));
    upload_methods_worked(&methods, &choice);
    choice = upload_methods_first(&methods, 9 * MIB);
    assert_int_equal(choice.way, UPLOAD_METHOD_PUT);
    choice = upload_methods_first(&methods, 9 * MIB + 1);
    assert_int_equal(choice.way, UPLOAD_METHOD_CHUNKED);
    assert_int_equal(choice.chunk_bytes, 9 * MIB);
    assert_true(choice.known);
    /* What was learned may have changed: when chunks are refused now, whole bodies are tried. */
    assert_true(upload_methods_refused(&methods, 9 * MIB + 1, &choice));
    assert_int_equal(choice.way, UPLOAD_METHOD_PUT);
    /* But not chunks once more. */
    assert_false(upload_methods_too_large(&methods, 9 * MIB + 1, 0, &choice));
    host_capabilities_deinit(&learned);
}

static void a_refused_way_is_not_tried_again_for_small_blobs(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice choice = upload_methods_first(&methods, 10 * MIB);
    assert_true(upload_methods_refused(&methods, 10 * MIB, &choice));
    assert_int_equal(choice.way, UPLOAD_METHOD_PATCH);
    assert_true(upload_methods_too_large(&methods, 10 * MIB, 0, &choice));
    upload_methods_worked(&methods, &choice);
    choice = upload_methods_first(&methods, 1);
    assert_int_equal(choice.way, UPLOAD_METHOD_PATCH);
    host_capabilities_deinit(&learned);
}

static void a_limit_never_grows(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_AUTO, 0);
    struct upload_choice small = {.way = UPLOAD_METHOD_CHUNKED,
                                  .by_size = true,
                                  .whole = UPLOAD_METHOD_PUT,
                                  .body_limit = MIB};
    struct upload_choice large = small;
    large.body_limit = 4 * MIB;
    upload_methods_worked(&methods, &small);
    upload_methods_worked(&methods, &large);
    assert_int_equal(upload_methods_first(&methods, GIB).chunk_bytes, MIB);
    host_capabilities_deinit(&learned);
}

static void a_wish_is_kept(void **state)
{
    (void)state;
    struct upload_methods methods = ladder_with(UPLOAD_METHOD_PUT, 0);
    struct upload_choice choice = upload_methods_first(&methods, GIB);
    assert_false(upload_methods_too_large(&methods, GIB, 0, &choice));
    assert_false(upload_methods_refused(&methods, GIB, &choice));
    host_capabilities_deinit(&learned);

    /* Chunks may get smaller, and that is remembered; the way is not. */
    methods = ladder_with(UPLOAD_METHOD_CHUNKED, 3 * MIB);
    choice = upload_methods_first(&methods, GIB);
    assert_int_equal(choice.chunk_bytes, 3 * MIB);
    assert_true(upload_methods_too_large(&methods, 3 * MIB, 0, &choice));
    assert_int_equal(choice.chunk_bytes, MIB);
    upload_methods_worked(&methods, &choice);
    assert_int_equal(host_capabilities_known(&learned).way, UPLOAD_METHOD_AUTO);
    assert_int_equal(upload_methods_first(&methods, GIB).chunk_bytes, MIB);
    host_capabilities_deinit(&learned);
}

static void it_is_read_from_the_store(void **state)
{
    (void)state;
    char folder[TEST_FOLDER_MAX];
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {.map_size_bytes = MIB};
    assert_int_equal(store_open_local(test_folder_make(folder), &options, &store, &err), ERR_OK);
    struct upload_methods methods;
    struct upload_choice choice = {.way = UPLOAD_METHOD_CHUNKED,
                                   .by_size = true,
                                   .whole = UPLOAD_METHOD_PATCH,
                                   .body_limit = MIB};
    host_capabilities_init(&learned, HOST, store);
    upload_methods_init(&methods, &learned, UPLOAD_METHOD_AUTO, 0);
    upload_methods_worked(&methods, &choice);
    host_capabilities_deinit(&learned);

    host_capabilities_init(&learned, HOST, store);
    upload_methods_init(&methods, &learned, UPLOAD_METHOD_AUTO, 0);
    assert_int_equal(upload_methods_first(&methods, MIB).way, UPLOAD_METHOD_PATCH);
    assert_int_equal(upload_methods_first(&methods, MIB + 1).way, UPLOAD_METHOD_CHUNKED);
    host_capabilities_deinit(&learned);
    host_capabilities_init(&learned, "other.example.com", store);
    upload_methods_init(&methods, &learned, UPLOAD_METHOD_AUTO, 0);
    assert_false(upload_methods_first(&methods, MIB + 1).known);
    host_capabilities_deinit(&learned);

    store_close(store);
    assert_int_equal(test_folder_remove(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known),
        cmocka_unit_test(what_worked_comes_first_and_the_others_after_it),
        cmocka_unit_test(a_limit_is_approached_from_above),
        cmocka_unit_test(a_body_at_a_cap_goes_below_it),
        cmocka_unit_test(what_fits_goes_whole_and_the_rest_in_chunks),
        cmocka_unit_test(a_refused_way_is_not_tried_again_for_small_blobs),
        cmocka_unit_test(a_limit_never_grows),
        cmocka_unit_test(a_wish_is_kept),
        cmocka_unit_test(it_is_read_from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
