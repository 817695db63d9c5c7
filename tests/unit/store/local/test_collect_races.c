/*
 * What comes while a collection is under way, at each of its points, and crashes there.
 */
#include "tests/unit/store/repositories_test.h"

#include "base/clock.h"
#include "store/collect.h"
#include "store/local/blob_files.h"
#include "store/local/leases.h"
#include "tests/support/collect_bench.h"

/* ---- races ---- */

struct race {
    struct store *store;
    const char *point;
    struct digest blob;
    struct digest put;
    enum { ASKS, PUTS } way;
    bool told;
    bool met;
    bool traced;
};

static void use(void *self, const char *point)
{
    struct race *race = self;
    if (strcmp(point, race->point) != 0 || race->met)
        return;
    race->met = true;
    if (race->way == ASKS) {
        race->told = any_has_blob(race->store, &race->blob);
        return;
    }
    struct batch *batch = begin(race->store, BATCH_DURABLE);
    batch_put_member(batch, "late", &race->blob);
    commit(batch);
    race->told = true;
}

static void a_use_at_any_moment_is_seen(void **state)
{
    static const char *const points[] = {
        "begun",           "traced", "before a mark", "before condemning", "before a deletion",
        "before an unlink"};
    struct store *store = open_store(*state);
    for (int way = ASKS; way <= PUTS; way++)
        for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
            if (way == PUTS && i >= 4) /* it waits for the end of the step */
                continue;
            struct error err = ERROR_INIT;
            struct race race = {.store = store, .point = points[i], .way = (int)way};
            assert_ok(store_write_leases(store, &err), &err);
            race.blob = collect_bench_member(store, "app", "blob");
            /* Known to no repository of the collection's first parts. */
            struct batch *batch = begin(store, BATCH_DURABLE);
            batch_put_member(batch, "zoo", &race.blob);
            commit(batch);
            collect_bench_age(store, &race.blob);
            store->collect_hook = use;
            store->collect_hook_self = &race;
            collect_bench_run(store);
            store->collect_hook = NULL;
            assert_true(race.met);
            assert_int_equal(collect_bench_held(store, &race.blob), race.told);
            assert_int_equal(race.told, i < 4);
            assert_int_equal(collect_bench_count(store, KV_TOMBS), 0);
        }
    store_close(store);
}

static void put_and_ask(void *self, const char *point)
{
    struct race *race = self;
    race->traced |= strcmp(point, "traced") == 0;
    if (strcmp(point, race->point) == 0 && race->traced && !race->met) {
        race->met = true;
        struct batch *batch = begin(race->store, BATCH_DURABLE);
        batch_put_member(batch, "app", &race->blob);
        commit(batch);
    }
    if (strcmp(point, "before a deletion") == 0)
        race->told = has_blob(race->store, "app", &race->blob);
}

/* Its deletion would come to nothing; but nobody may be told meanwhile that it is not there. */
static void what_was_put_since_it_was_looked_at_is_not_condemned(void **state)
{
    struct store *store = open_store(*state);
    struct race race = {.store = store,
                        .point = "before condemning",
                        .blob = collect_bench_member(store, "app", "blob")};
    store->collect_hook = put_and_ask;
    store->collect_hook_self = &race;
    collect_bench_run(store);
    store->collect_hook = NULL;
    assert_true(race.told);
    assert_true(has_blob(store, "app", &race.blob));
    store_close(store);
}

static void a_tag_that_is_used_at_the_last_moment_stays_whole(void **state)
{
    struct store *store = open_store(*state);
    const struct keep_rule rule = {.match = "*", .tags = "v*"};
    struct collect_options options = collect_bench_usual;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct race race = {.store = store, .point = "before names go"};
    struct collect_report report;
    collect_bench_image(store, "app", "1", &layer);
    options.rules = &rule;
    options.rule_count = 1;
    race.blob = collect_bench_image(store, "app", "1", &layer);
    store_hold(store, &layer); /* its note would do, too */
    store_let_go(store, &layer);
    collect_bench_run_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(tag_is(store, "app", "1", NULL));

    layer = collect_bench_member(store, "app", "layer");
    race.blob = collect_bench_image(store, "app", "1", &layer);
    leases_note(store->leases, "app", &race.blob, (uint64_t)clock_wall_s());
    collect_bench_run_with(store, &options, &report);
    assert_int_equal(report.tags, 0);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &layer));
    assert_true(tag_is(store, "app", "1", &race.blob));
    store_close(store);
}

static void put_late(void *self, const char *point)
{
    struct race *race = self;
    if (race->met || strcmp(point, race->point) != 0)
        return;
    race->met = true;
    race->told = has_blob(race->store, "app", &race->blob);
    autofree char *text = collect_bench_image_text(&race->blob, "");
    race->put = put_manifest(race->store, "app", "late", text);
}

/* What was traced before it came does not know it. Its layer was looked at then, too. */
static void a_manifest_put_while_names_are_looked_at_stays_whole(void **state)
{
    struct store *store = open_store(*state);
    struct digest first = collect_bench_member(store, "app", "first");
    collect_bench_image(store, "app", "1", &first);
    struct race race = {.store = store,
                        .point = "before names go",
                        .blob = collect_bench_member(store, "app", "layer")};
    store->collect_hook = put_late;
    store->collect_hook_self = &race;
    collect_bench_run(store);
    store->collect_hook = NULL;
    assert_true(race.told);
    assert_true(tag_is(store, "app", "late", &race.put));
    assert_true(collect_bench_held(store, &race.blob));
    assert_true(has_blob(store, "app", &race.blob));
    store_close(store);
}

/* ---- crashes ---- */

static const char *const crash_points[] = {
    "begun",           "traced", "before a mark", "before condemning", "before a deletion",
    "before an unlink"};

static void crash(void *self, const char *point)
{
    if (strcmp(point, self) == 0)
        _exit(7);
}

static int collect_and_crash(const char *point, const char *folder)
{
    struct store *store = open_store(folder);
    store->collect_hook = crash;
    store->collect_hook_self = (void *)(uintptr_t)point;
    collect_bench_run(store);
    return 1;
}

static void a_crash_leaves_no_record_without_its_bytes(void **state)
{
    for (size_t i = 0; i < sizeof crash_points / sizeof crash_points[0]; i++) {
        struct error err = ERROR_INIT;
        struct store *store = open_store(*state);
        struct digest loose = collect_bench_member(store, "app", "loose");
        struct digest layer = collect_bench_member(store, "app", "layer");
        collect_bench_image(store, "app", "1", &layer);
        store_close(store);
        assert_int_equal(WEXITSTATUS(run_again(crash_points[i], *state)), 7);
        store = open_store(*state);
        struct blob_record record;
        bool found = false;
        assert_ok(blob_find(store, &loose, &found, &record, &err), &err);
        if (found)
            assert_true(blob_file_is_there(store->blobs_fd, &loose, record.size));
        assert_int_equal(found, i < 5);
        collect_bench_run(store);
        assert_ok(blob_find(store, &loose, &found, &record, &err), &err);
        assert_false(found);
        assert_int_equal(collect_bench_count(store, KV_TOMBS), 0);
        assert_true(collect_bench_held(store, &layer));
        store_close(store);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3)
        _exit(collect_and_crash(argv[1], argv[2]));
    const struct CMUnitTest tests[] = {
        folder_test(a_use_at_any_moment_is_seen),
        folder_test(what_was_put_since_it_was_looked_at_is_not_condemned),
        folder_test(a_tag_that_is_used_at_the_last_moment_stays_whole),
        folder_test(a_manifest_put_while_names_are_looked_at_stays_whole),
        folder_test(a_crash_leaves_no_record_without_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
