#include "upstream/client/upload_ladder.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/store_local.h"

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

static struct upload_ladder ladder_with(enum upload_way wish, uint64_t chunk_bytes)
{
    struct upload_ladder ladder;
    upload_ladder_init(&ladder, HOST, NULL, wish, chunk_bytes);
    return ladder;
}

static void nothing_is_known(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, GIB);
    assert_int_equal(rung.way, UPLOAD_WAY_PUT);
    assert_false(rung.known);
    static const enum upload_way order[] = {UPLOAD_WAY_PATCH, UPLOAD_WAY_CHUNKED, UPLOAD_WAY_POST};
    for (size_t i = 0; i < 3; i++) {
        assert_true(upload_ladder_refused(&ladder, GIB, &rung));
        assert_int_equal(rung.way, order[i]);
    }
    assert_int_equal(rung.chunk_bytes, 95 * MIB);
    assert_false(upload_ladder_refused(&ladder, GIB, &rung));
    upload_ladder_deinit(&ladder);
}

static void what_worked_comes_first_and_the_others_after_it(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = {.way = UPLOAD_WAY_CHUNKED};
    upload_ladder_worked(&ladder, &rung);
    rung = upload_ladder_first(&ladder, 1);
    assert_int_equal(rung.way, UPLOAD_WAY_CHUNKED);
    assert_true(rung.known);
    assert_true(upload_ladder_refused(&ladder, 1, &rung));
    assert_int_equal(rung.way, UPLOAD_WAY_PUT);
    assert_false(rung.known);
    upload_ladder_deinit(&ladder);
}

/* Caps: the configured chunk first, then what people configure. */
static void a_limit_is_approached_from_above(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, GIB);
    static const uint64_t limits[] = {95, 47, 19, 9, 4, 1};
    uint64_t body = GIB;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        assert_true(upload_ladder_too_large(&ladder, body, 0, &rung));
        assert_int_equal(rung.way, UPLOAD_WAY_CHUNKED);
        assert_int_equal(rung.chunk_bytes, limits[i] * MIB);
        body = rung.chunk_bytes;
    }
    assert_true(upload_ladder_too_large(&ladder, body, MIB / 4, &rung));
    assert_int_equal(rung.chunk_bytes, MIB / 4);
    assert_false(upload_ladder_too_large(&ladder, rung.chunk_bytes, 0, &rung));
    upload_ladder_deinit(&ladder);
}

static void a_body_at_a_cap_goes_below_it(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, 9 * MIB + 1);
    assert_true(upload_ladder_too_large(&ladder, 9 * MIB + 1, 0, &rung));
    assert_int_equal(rung.chunk_bytes, 9 * MIB);
    rung = upload_ladder_first(&ladder, 9 * MIB);
    assert_true(upload_ladder_too_large(&ladder, 9 * MIB, 0, &rung));
    assert_int_equal(rung.chunk_bytes, 4 * MIB);
    /* The shortest chunk that the registry wants: met, and missed by one byte. */
    assert_true(upload_ladder_too_large(&ladder, 4 * MIB, MIB, &rung));
    assert_false(upload_ladder_too_large(&ladder, 4 * MIB, MIB + 1, &rung));
    upload_ladder_deinit(&ladder);
}

static void what_fits_goes_whole_and_the_rest_in_chunks(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, 10 * MIB);
    assert_true(upload_ladder_too_large(&ladder, 10 * MIB, 0, &rung));
    upload_ladder_worked(&ladder, &rung);
    rung = upload_ladder_first(&ladder, 9 * MIB);
    assert_int_equal(rung.way, UPLOAD_WAY_PUT);
    rung = upload_ladder_first(&ladder, 9 * MIB + 1);
    assert_int_equal(rung.way, UPLOAD_WAY_CHUNKED);
    assert_int_equal(rung.chunk_bytes, 9 * MIB);
    assert_true(rung.known);
    /* What was learned may have changed: when chunks are refused now, whole bodies are tried. */
    assert_true(upload_ladder_refused(&ladder, 9 * MIB + 1, &rung));
    assert_int_equal(rung.way, UPLOAD_WAY_PUT);
    /* But not chunks once more. */
    assert_false(upload_ladder_too_large(&ladder, 9 * MIB + 1, 0, &rung));
    upload_ladder_deinit(&ladder);
}

static void a_refused_way_is_not_tried_again_for_small_blobs(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, 10 * MIB);
    assert_true(upload_ladder_refused(&ladder, 10 * MIB, &rung));
    assert_int_equal(rung.way, UPLOAD_WAY_PATCH);
    assert_true(upload_ladder_too_large(&ladder, 10 * MIB, 0, &rung));
    upload_ladder_worked(&ladder, &rung);
    rung = upload_ladder_first(&ladder, 1);
    assert_int_equal(rung.way, UPLOAD_WAY_PATCH);
    upload_ladder_deinit(&ladder);
}

static void a_limit_never_grows(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_AUTO, 0);
    struct upload_rung small = {
        .way = UPLOAD_WAY_CHUNKED, .by_size = true, .whole = UPLOAD_WAY_PUT, .body_limit = MIB};
    struct upload_rung large = small;
    large.body_limit = 4 * MIB;
    upload_ladder_worked(&ladder, &small);
    upload_ladder_worked(&ladder, &large);
    assert_int_equal(upload_ladder_first(&ladder, GIB).chunk_bytes, MIB);
    upload_ladder_deinit(&ladder);
}

static void a_wish_is_kept(void **state)
{
    (void)state;
    struct upload_ladder ladder = ladder_with(UPLOAD_WAY_PUT, 0);
    struct upload_rung rung = upload_ladder_first(&ladder, GIB);
    assert_false(upload_ladder_too_large(&ladder, GIB, 0, &rung));
    assert_false(upload_ladder_refused(&ladder, GIB, &rung));
    upload_ladder_deinit(&ladder);

    /* Chunks may get smaller, and that is remembered; the way is not. */
    ladder = ladder_with(UPLOAD_WAY_CHUNKED, 3 * MIB);
    rung = upload_ladder_first(&ladder, GIB);
    assert_int_equal(rung.chunk_bytes, 3 * MIB);
    assert_true(upload_ladder_too_large(&ladder, 3 * MIB, 0, &rung));
    assert_int_equal(rung.chunk_bytes, MIB);
    upload_ladder_worked(&ladder, &rung);
    assert_int_equal(ladder.learned.way, UPLOAD_WAY_AUTO);
    assert_int_equal(upload_ladder_first(&ladder, GIB).chunk_bytes, MIB);
    upload_ladder_deinit(&ladder);
}

static void it_is_read_from_the_store(void **state)
{
    (void)state;
    char folder[] = "/tmp/slipway-ladder-XXXXXX";
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {.map_size_bytes = MIB};
    assert_int_equal(store_open_local(mkdtemp(folder), &options, &store, &err), ERR_OK);
    struct upload_ladder ladder;
    struct upload_rung rung = {
        .way = UPLOAD_WAY_CHUNKED, .by_size = true, .whole = UPLOAD_WAY_PATCH, .body_limit = MIB};
    upload_ladder_init(&ladder, HOST, store, UPLOAD_WAY_AUTO, 0);
    upload_ladder_worked(&ladder, &rung);
    upload_ladder_deinit(&ladder);

    upload_ladder_init(&ladder, HOST, store, UPLOAD_WAY_AUTO, 0);
    assert_int_equal(upload_ladder_first(&ladder, MIB).way, UPLOAD_WAY_PATCH);
    assert_int_equal(upload_ladder_first(&ladder, MIB + 1).way, UPLOAD_WAY_CHUNKED);
    upload_ladder_deinit(&ladder);
    upload_ladder_init(&ladder, "other.example.com", store, UPLOAD_WAY_AUTO, 0);
    assert_false(upload_ladder_first(&ladder, MIB + 1).known);
    upload_ladder_deinit(&ladder);

    store_close(store);
    autofd int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(file_remove_tree(tmp, folder + strlen("/tmp/"), &err), ERR_OK);
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
