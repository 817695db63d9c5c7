/*
 * What a check finds in a store that nobody else uses, each damage by itself, and what comes of it
 * when it is repaired.
 */
#include "tests/unit/store/repositories_test.h"

#include "store/check.h"
#include "store/local/blob_files.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/quarantine.h"
#include "tests/support/check_bench.h"

#include <dirent.h>

static size_t entries(const char *folder, const char *name)
{
    autofree char *path = xasprintf("%s/%s", folder, name);
    DIR *dir = opendir(path);
    size_t count = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static void a_whole_store_is_clean(void **state)
{
    struct store *store = open_boot(*state, "boot");
    check_bench_fill(store);
    autofree struct check_bench_report *report = check_bench_check(store, false);
    check_bench_print(report);
    assert_int_equal(report->count, 0);
    assert_int_equal(report->counts.blobs, 3);
    assert_true(report->counts.records > 20);
    assert_true(report->counts.bytes > strlen(CHECK_BENCH_LAYER) + strlen(CHECK_BENCH_CONFIG));
    store_close(store);
}

/* ---- damages ---- */

static void flip_manifest(const struct check_bench *bench)
{
    int fd = check_bench_open_blob(bench, &bench->manifest, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 3), 1);
    close(fd);
}

static void truncate_config(const struct check_bench *bench)
{
    int fd = check_bench_open_blob(bench, &bench->config, O_WRONLY);
    assert_int_equal(ftruncate(fd, 3), 0);
    close(fd);
}

static void delete_layer_file(const struct check_bench *bench)
{
    char path[BLOB_PATH_MAX];
    assert_int_equal(unlinkat(bench->store->blobs_fd, blob_path(&bench->layer, path), 0), 0);
}

static void delete_layer_record(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_BLOBS, blob_key(&bench->layer));
}

/* The folder may not be there. */
static void add_wrong_blob(const struct check_bench *bench)
{
    int fd = openat(bench->store->blobs_fd, "wrong", O_WRONLY | O_CREAT, 0600);
    struct digest digest = digest_of_text("another");
    struct error err = ERROR_INIT;
    assert_int_equal(write(fd, "wrong", 5), 5);
    close(fd);
    assert_ok(
        blob_file_replace(bench->store->blobs_fd, "wrong", bench->store->blobs_fd, &digest, &err),
        &err);
}

static void add_good_blob(const struct check_bench *bench)
{
    int fd = openat(bench->store->blobs_fd, "good", O_WRONLY | O_CREAT, 0600);
    struct digest digest = digest_of_text("good");
    struct error err = ERROR_INIT;
    assert_int_equal(write(fd, "good", 4), 4);
    close(fd);
    assert_ok(
        blob_file_replace(bench->store->blobs_fd, "good", bench->store->blobs_fd, &digest, &err),
        &err);
}

static void add_upload(const struct check_bench *bench)
{
    close(openat(bench->store->uploads_fd, "0123456789abcdef0123456789abcdef", O_WRONLY | O_CREAT,
                 0600));
}

static void delete_holder(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_HOLDERS, holder_key(&bench->layer, "app"));
}

static void delete_member(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_MEMBERS, repository_digest_key("app", &bench->layer));
}

static void delete_associated(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_ASSOCIATED, blob_key(&bench->layer));
}

static void delete_locations(const struct check_bench *bench)
{
    struct digest diff_id = digest_of_text("diffID");
    check_bench_delete(bench->store, KV_KNOWN_LOCATIONS, blob_key(&diff_id));
}

static void delete_open(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_OPEN_TARGETS, push_target_key(bench->push, 1));
}

static void add_open(const struct check_bench *bench)
{
    check_bench_put(bench->store, KV_OPEN_TARGETS, push_target_key(bench->push, 7), "\1", 1);
}

static void delete_target(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_PUSH_TARGETS, push_target_key(bench->push, 0));
}

static void delete_push(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_PUSHES, push_key(bench->push));
}

static void garble_push(const struct check_bench *bench)
{
    check_bench_put(bench->store, KV_PUSHES, push_key(bench->push), "garbage", 7);
}

static const struct damage {
    const char *name;
    void (*make)(const struct check_bench *bench);
    enum check_kind kind;
    const char *table;
    enum check_action action;
    bool promise_lives; /* the push still has what it needs */
} damages[] = {
    {"a byte flipped in a layer", check_bench_flip_layer, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED,
     false},
    {"a byte flipped in a manifest", flip_manifest, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED,
     false},
    {"a truncated config", truncate_config, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED, false},
    {"a deleted file", delete_layer_file, CHECK_LOST, "blobs", CHECK_DROPPED, false},
    {"a deleted record", delete_layer_record, CHECK_STRAY, "", CHECK_MENDED, true},
    {"a garbled record", check_bench_garble_layer, CHECK_UNREADABLE, "blobs", CHECK_QUARANTINED,
     true},
    {"a stray blob", add_good_blob, CHECK_STRAY, "", CHECK_MENDED, true},
    {"a stray blob with other bytes", add_wrong_blob, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a stray file", check_bench_add_file, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a stray upload", add_upload, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a holder that is missing", delete_holder, CHECK_DISAGREES, "members", CHECK_MENDED, true},
    {"a member that is missing", delete_member, CHECK_DISAGREES, "holders", CHECK_MENDED, true},
    {"a tag without its manifest", check_bench_delete_manifest, CHECK_DANGLING, "tags",
     CHECK_QUARANTINED, true},
    {"a location without its way back", delete_associated, CHECK_DISAGREES, "associations",
     CHECK_MENDED, true},
    {"a way back to nothing", delete_locations, CHECK_DISAGREES, "associated", CHECK_DROPPED, true},
    {"an open target that nobody lists", delete_open, CHECK_DISAGREES, "pushes", CHECK_MENDED,
     true},
    {"a listed target that there is not", add_open, CHECK_DISAGREES, "pushes", CHECK_MENDED, true},
    {"a target that is missing", delete_target, CHECK_UNREADABLE, "pushes", CHECK_MENDED, true},
    {"a garbled target", check_bench_garble_target, CHECK_UNREADABLE, "pushes", CHECK_MENDED, true},
    {"targets without their push", delete_push, CHECK_DANGLING, "push_targets", CHECK_QUARANTINED,
     true},
    {"a garbled push", garble_push, CHECK_UNREADABLE, "pushes", CHECK_QUARANTINED, true},
};

/* What is left then is a promise that the store alone cannot keep; nothing else. */
static void has_only_the_promise(struct store *store)
{
    autofree struct check_bench_report *report = check_bench_check(store, true);
    check_bench_print(report);
    assert_int_equal(report->count, 1);
    assert_int_equal(report->problems[0].kind, CHECK_INCOMPLETE);
    assert_string_equal(report->problems[0].table, "pushes");
}

static void try_damage(const char *folder, const struct damage *damage)
{
    struct store *store = open_boot(folder, "boot");
    struct check_bench bench = check_bench_fill(store);
    check_bench_is_clean(store);
    damage->make(&bench);
    for (unsigned i = 0; i < 2; i++) { /* looking changes nothing */
        autofree struct check_bench_report *seen = check_bench_check(store, false);
        const struct check_problem *problem = check_bench_find(seen, damage->kind, damage->table);
        if (problem == NULL) {
            check_bench_print(seen);
            fail_msg("%s was not found", damage->name);
        }
        assert_int_equal(problem->action, CHECK_LEFT);
        assert_int_equal(seen->counts.repaired, 0);
    }
    autofree struct check_bench_report *repaired = check_bench_check(store, true);
    const struct check_problem *problem = check_bench_find(repaired, damage->kind, damage->table);
    if (problem == NULL || problem->action != damage->action) {
        check_bench_print(repaired);
        fail_msg("%s was not repaired", damage->name);
    }
    bool tells = damage->action == CHECK_MENDED && strcmp(damage->table, "pushes") == 0;
    assert_string_equal(repaired->mended, tells ? bench.push : "");
    if (damage->promise_lives)
        check_bench_is_clean(store);
    else
        has_only_the_promise(store);
    assert_int_equal(entries(folder, "staging"), 0);
    store_close(store);
    store = open_boot(folder, "boot");
    if (damage->promise_lives)
        check_bench_is_clean(store);
    store_close(store);
}

static void each_damage_is_found_and_repaired(void **state)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        autofree char *folder = xasprintf("%s/%zu", (char *)*state, i);
        try_damage(folder, &damages[i]);
    }
}

/* A record of every table that nobody can read, by its key or by its value. */
static void garbage_in_each_table_is_found_and_moved(void **state)
{
    struct store *store = open_boot(*state, "boot");
    check_bench_fill(store);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++) {
        struct record_key key = {.size = KV_KEY_MAX};
        memset(key.bytes, table % 2 ? 0xff : 'k', sizeof key.bytes);
        check_bench_put(store, table, key, "garbage", 7);
    }
    autofree struct check_bench_report *seen = check_bench_check(store, false);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++)
        if (check_bench_find(seen, CHECK_UNREADABLE, kv_table_name(table)) == NULL)
            fail_msg("garbage in %s was not found", kv_table_name(table));
    uint64_t before = quarantine_count(store);
    autofree struct check_bench_report *repaired = check_bench_check(store, true);
    assert_int_equal(repaired->count, seen->count);
    assert_int_equal(repaired->counts.repaired, seen->count);
    assert_int_equal(quarantine_count(store) - before, seen->count);
    check_bench_is_clean(store);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_whole_store_is_clean),
        folder_test(each_damage_is_found_and_repaired),
        folder_test(garbage_in_each_table_is_found_and_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
