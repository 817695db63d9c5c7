/*
 * What is in the quarantine, and how records that cannot be read come there when nobody checks.
 */
#include "tests/unit/store/repositories_test.h"

#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/quarantine.h"
#include "tests/support/check_bench.h"
#include "tests/support/recorded_pushes.h"

static void what_is_moved_is_listed_with_its_bytes(void **state)
{
    struct error err = ERROR_INIT;
    struct quarantine_item items[4];
    size_t count = 0;
    bool more = true;
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    check_bench_flip_layer(&bench);
    check_bench_put(store, KV_TAGS, tag_key("app", "2"), "garbage", 7);
    free(check_bench_check(store, true));
    store_close(store);
    store = open_boot(*state, "boot");
    uint64_t there = quarantine_count(store);
    assert_true(there >= 3); /* the blob, the tag, and the manifest that lacks the blob */
    assert_ok(quarantine_list(store, "", items, 1, &count, &more, &err), &err);
    assert_int_equal(count, 1);
    assert_true(more);
    assert_string_equal(items[0].what, "blob");
    assert_int_equal(items[0].size, strlen(CHECK_BENCH_LAYER));
    char after[QUARANTINE_ID_MAX];
    memcpy(after, items[0].id, sizeof after);
    bool tag = false;
    while (more) {
        assert_ok(quarantine_list(store, after, items, 4, &count, &more, &err), &err);
        for (size_t i = 0; i < count; i++) {
            tag |= strcmp(items[i].name, "app:2") == 0 && strcmp(items[i].table, "tags") == 0;
            memcpy(after, items[i].id, sizeof after);
        }
    }
    assert_true(tag);
    autofree char *path = xasprintf("%s/quarantine/%s", (char *)*state, "ffffffffffff.json");
    FILE *file = fopen(path, "w");
    fputs("{\"what\":", file);
    fclose(file);
    assert_ok(quarantine_list(store, after, items, 4, &count, &more, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(items[0].id, "ffffffffffff");
    assert_true(items[0].reason[0] != '\0');
    store_close(store);
}

/* ---- records that cannot be read, when nobody checks ---- */

static void count_open(void *self, const struct open_target *open)
{
    (void)open;
    ++*(size_t *)self;
}

static size_t open_targets(struct store *store)
{
    struct error err = ERROR_INIT;
    size_t count = 0;
    assert_ok(pushes_each_open(store, count_open, &count, &err), &err);
    return count;
}

/* The other target of that push, and other pushes, go on. */
static void a_garbled_target_stops_nobody(void **state)
{
    struct error err = ERROR_INIT;
    struct push *pushes = NULL;
    struct push push;
    struct push_target targets[2];
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    struct batch *batch = begin(store, BATCH_DURABLE);
    check_bench_put_push(batch, &push, targets, &bench.manifest);
    commit(batch);
    check_bench_garble_target(&bench);
    size_t count = recorded_pushes(store, &pushes); /* it is left out */
    assert_int_equal(count, 1);
    recorded_pushes_free(pushes, count);
    assert_int_equal(open_targets(store), 3);
    assert_ok(pushes_get(store, bench.push, &push, &(bool){false}, &err), &err);
    assert_int_equal(push.target_count, 1);
    assert_string_equal(push.targets[0].reference.tag, "t1");
    push_deinit(&push);
    assert_int_equal(quarantine_count(store), 1);
    check_bench_is_clean(store);
    store_close(store);
}

/* The queue knows it by the numbers of its targets, so it is mended when it starts again. */
static void a_push_under_way_is_mended_at_the_next_start(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    assert_int_equal(open_targets(store), 2);
    check_bench_garble_target(&bench);
    struct push *pushes = NULL;
    assert_int_equal(recorded_pushes(store, &pushes), 0);
    recorded_pushes_free(pushes, 0);
    assert_ok(quarantine_unreadable(store, NULL, &err), &err);
    assert_int_equal(quarantine_count(store), 0);
    store_close(store);
    store = open_boot(*state, "boot");
    assert_int_equal(open_targets(store), 1);
    assert_int_equal(quarantine_count(store), 1);
    store_close(store);
}

static void many_garbled_pushes_stop_nobody(void **state)
{
    struct store *store = open_boot(*state, "boot");
    check_bench_fill(store);
    for (unsigned i = 0; i < 70; i++) {
        char id[PUSH_ID_MAX];
        snprintf(id, sizeof id, "%04ugarbled", i);
        check_bench_put(store, KV_PUSHES, push_key(id), "?", 1);
        check_bench_put(store, KV_OPEN_TARGETS, push_target_key(id, 0), "\1", 1);
    }
    assert_int_equal(open_targets(store), 2);
    assert_int_equal(quarantine_count(store), 70);
    check_bench_is_clean(store);
    store_close(store);
}

/* After a crash of the machine each record is looked at, and none of these stops the start. */
static void garbage_does_not_stop_a_recovery(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct check_bench bench = check_bench_fill(store);
    struct digest gone = put_blob(store, "app", "volatile");
    check_bench_garble_layer(&bench);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++) {
        struct record_key key = {.size = 3, .bytes = "abc"};
        check_bench_put(store, table, key, "garbage", 7);
    }
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_false(any_has_blob(store, &gone));
    assert_true(has_blob(store, "app", &bench.config));
    assert_false(has_blob(store, "app", &bench.layer));
    free(check_bench_check(store, true));
    check_bench_is_clean(store);
    store_close(store);
}

static void a_list_leaves_out_what_it_cannot_read(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    check_bench_put(store, KV_TAGS, tag_key("app", "0"), "garbage", 7);
    assert_string_equal(tags_of(store, "app", NULL, 10), "1 ");
    assert_int_equal(quarantine_count(store), 0);
    size_t moved = 0;
    assert_ok(quarantine_unreadable(store, &moved, &err), &err);
    assert_int_equal(moved, 1);
    assert_int_equal(quarantine_count(store), 1);
    assert_true(tag_is(store, "app", "0", NULL));
    assert_true(tag_is(store, "app", "1", &bench.manifest));
    store_close(store);
}

/* A record that was written anew since a reader met it is not moved. */
static void a_record_that_was_mended_meanwhile_stays(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    check_bench_put(store, KV_TAGS, tag_key("app", "1"), "garbage", 7);
    assert_string_equal(tags_of(store, "app", NULL, 10), "");
    struct record_value value = tag_value(&bench.manifest);
    check_bench_put(store, KV_TAGS, tag_key("app", "1"), value.bytes, value.size);
    assert_ok(quarantine_unreadable(store, NULL, &err), &err);
    assert_true(tag_is(store, "app", "1", &bench.manifest));
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_is_moved_is_listed_with_its_bytes),
        folder_test(a_garbled_target_stops_nobody),
        folder_test(a_push_under_way_is_mended_at_the_next_start),
        folder_test(many_garbled_pushes_stop_nobody),
        folder_test(garbage_does_not_stop_a_recovery),
        folder_test(a_list_leaves_out_what_it_cannot_read),
        folder_test(a_record_that_was_mended_meanwhile_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
