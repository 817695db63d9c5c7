/*
 * Collections and leases: whoever is told of something may count on it for a while.
 */
#include "tests/unit/store/repositories_test.h"

#include "base/clock.h"
#include "store/collect.h"
#include "store/layers.h"
#include "store/local/leases.h"
#include "store/references.h"
#include "tests/support/collect_bench.h"

static void whoever_is_told_has_a_lease(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct digest blob = collect_bench_member(store, "app", "blob");
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest whole = collect_bench_image(store, "app", "1", &layer);
    struct digest form_of = digest_of_text("raw");
    struct layer_form form = {.codec = CODEC_GZIP, .digest = blob, .size = 4, .raw_size = 9};
    struct reference name = {.host = "localhost", .path = "x", .tag = "1"};
    struct named_manifest named;
    struct batch *batch = begin(store, BATCH_VOLATILE);
    bool found = false;
    batch_put_layer(batch, &form_of, &form);
    batch_put_reference(batch, &name, &whole, MEDIA_OCI_MANIFEST);
    commit(batch);
    for (unsigned way = 0; way < 5; way++) {
        struct blob_record record;
        const struct digest *leased = way < 3 ? &blob : &whole;
        collect_bench_age(store, leased);
        if (way == 0)
            assert_true(has_blob(store, "app", &blob));
        else if (way == 1)
            assert_true(any_has_blob(store, &blob));
        else if (way == 2)
            assert_ok(layer_find(store, &form_of, CODEC_GZIP, form.effort, &found, &form, &err),
                      &err);
        else if (way == 3)
            assert_true(has_manifest(store, "app", &whole));
        else
            assert_ok(references_get(store, &name, &found, &named, &err), &err);
        assert_true(leases_has(store->leases, NULL, leased));
        assert_ok(store_write_leases(store, &err), &err);
        assert_false(leases_has(store->leases, NULL, leased));
        assert_ok(blob_find(store, leased, &found, &record, &err), &err);
        assert_true(record.last_use_s > COLLECT_BENCH_LONG_AGO);
        collect_bench_run(store);
        assert_true(collect_bench_held(store, leased));
    }
    collect_bench_age(store, &blob);
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &blob));
    assert_int_equal(collect_bench_count(store, KV_LAYERS), 0);
    store_close(store);
}

/* Asking for what is not there takes no room. */
static void what_is_not_there_is_not_leased(void **state)
{
    struct store *store = open_store(*state);
    struct digest blob = collect_bench_member(store, "app", "blob");
    struct digest unknown = digest_of_text("unknown");
    assert_false(has_blob(store, "app", &unknown));
    assert_false(has_blob(store, "other", &blob));
    assert_false(any_has_blob(store, &unknown));
    assert_false(leases_has(store->leases, NULL, &unknown));
    assert_false(leases_has(store->leases, NULL, &blob));
    store_close(store);
}

static struct store *open_leased(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {
        .map_size_bytes = (uint64_t)16 << 20, .has_leases = true, .leave_volatile = true};
    assert_ok(store_open_local(folder, &options, &store, &err), &err);
    return store;
}

static void leases_outlive_an_orderly_end(void **state)
{
    struct store *store = open_leased(*state);
    struct collect_report report;
    struct digest blob = collect_bench_member(store, "app", "blob");
    struct digest loose = collect_bench_member(store, "app", "loose");
    assert_true(has_blob(store, "app", &blob));
    store_close(store);
    store = open_leased(*state);
    collect_bench_run_with(store, &collect_bench_usual, &report);
    assert_false(report.waits);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &blob));
    assert_false(collect_bench_held(store, &loose));
    store_close(store);
}

static int lose_leases(const char *folder)
{
    struct store *store = open_leased(folder);
    collect_bench_member(store, "app", "blob");
    return 0;
}

/* Whoever opens it next knows, be it a command, and whoever opens it after that. */
static void after_a_crash_all_stays_for_the_grace(void **state)
{
    struct collect_report report;
    struct digest blob = digest_of_text("blob");
    assert_int_equal(run_again("lose-leases", *state), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct store *store = open_store(*state);
        collect_bench_run_with(store, &collect_bench_usual, &report);
        assert_true(report.waits);
        assert_true(report.waits_until_s > (uint64_t)clock_wall_s() + COLLECT_BENCH_GRACE_S / 2);
        assert_int_equal(report.leased.blobs, 1);
        collect_report_deinit(&report);
        assert_true(collect_bench_held(store, &blob));
        store_close(store);
    }
}

static void a_flood_of_leases_keeps_all(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    struct digest loose = collect_bench_member(store, "app", "loose");
    struct digest digest = digest_of_text("0");
    for (unsigned i = 0; i <= LEASES_MAX; i++) {
        memcpy(digest.bytes, &i, sizeof i);
        assert_true(leases_note(store->leases, "", &digest, (uint64_t)clock_wall_s()));
    }
    collect_bench_run_with(store, &collect_bench_usual, &report);
    assert_true(report.waits);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &loose));
    store_close(store);
}

/* Notes that found no room while a collection runs are not in what it reads at its start. */
static void a_flood_of_leases_ends_what_is_under_way(void **state)
{
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("0");
    struct digest other = digest_of_text("other");
    leases_watch(store->leases);
    for (unsigned i = 0; i <= LEASES_MAX; i++) {
        assert_false(leases_has(store->leases, NULL, &other));
        memcpy(digest.bytes, &i, sizeof i);
        leases_note(store->leases, "", &digest, (uint64_t)clock_wall_s());
    }
    assert_true(leases_has(store->leases, NULL, &other));
    leases_unwatch(store->leases);
    assert_false(leases_has(store->leases, NULL, &other));
    store_close(store);
}

/* What a blob's record says of its use is from before the step. */
static void a_clock_that_is_set_forward_makes_nothing_old(void **state)
{
    struct store *store = open_store(*state);
    struct digest loose = collect_bench_member(store, "app", "loose");
    uint64_t now_s = (uint64_t)clock_wall_s();
    leases_see_clocks(store->leases, now_s - 3600, clock_ms());
    leases_see_clocks(store->leases, now_s - 3600 + LEASES_STEP_S, clock_ms());
    assert_int_equal(leases_all_s(store->leases), 0);
    collect_bench_run(
        store); /* which sees the clock of now: an hour later, and no time has passed */
    assert_true(collect_bench_held(store, &loose));
    assert_true(leases_all_s(store->leases) >= now_s);
    leases_see_clocks(store->leases, now_s - 7200, clock_ms());
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "lose-leases") == 0)
        _exit(lose_leases(argv[2]));
    const struct CMUnitTest tests[] = {
        folder_test(whoever_is_told_has_a_lease),
        folder_test(what_is_not_there_is_not_leased),
        folder_test(leases_outlive_an_orderly_end),
        folder_test(after_a_crash_all_stays_for_the_grace),
        folder_test(a_flood_of_leases_keeps_all),
        folder_test(a_clock_that_is_set_forward_makes_nothing_old),
        folder_test(a_flood_of_leases_ends_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
