/*
 * A check of a store that is in use: what comes and goes is nothing wrong, and it takes its time.
 */
#include "tests/unit/store/repositories_test.h"

#include "store/check.h"
#include "store/local/blob_files.h"
#include "store/local/check_internal.h"
#include "store/local/records_repositories.h"
#include "tests/support/check_bench.h"

#include <pthread.h>
#include <stdatomic.h>

struct user {
    struct store *store;
    atomic_bool stop;
    atomic_uint rounds;
};

static void remove_blob(struct store *store, const struct digest *digest)
{
    char path[BLOB_PATH_MAX];
    check_bench_delete(store, KV_BLOBS, blob_key(digest));
    unlinkat(store->blobs_fd, blob_path(digest, path), 0);
}

/* Comes and goes all the time, as with clients and a collection. */
static void *use(void *arg)
{
    struct user *user = arg;
    struct error err = ERROR_INIT;
    bool found = false;
    for (unsigned i = 0; !atomic_load(&user->stop); i++, user->rounds++) {
        autofree char *content = xasprintf("blob %u", i);
        autofree char *repository = xasprintf("r%u", i % 7);
        struct digest digest = put_blob(user->store, repository, content);
        struct digest manifest = put_manifest(user->store, repository, "x", content);
        assert_ok(repository_remove_manifest(user->store, repository, &manifest, &found, &err),
                  &err);
        assert_ok(repository_remove_blob(user->store, repository, &digest, &found, &err), &err);
        remove_blob(user->store, &digest);
    }
    return NULL;
}

static void a_store_in_use_has_nothing_wrong(void **state)
{
    struct store *store = open_boot(*state, "boot");
    struct user user = {.store = store};
    pthread_t thread;
    check_bench_fill(store);
    assert_int_equal(pthread_create(&thread, NULL, use, &user), 0);
    autofree struct check_bench_report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = true, .shared = true, .again_ms = 500, .found = check_bench_note, .self = report};
    while (atomic_load(&user.rounds) < 40)
        check_bench_run(store, &options, report);
    atomic_store(&user.stop, true);
    pthread_join(thread, NULL);
    check_bench_print(report);
    assert_int_equal(report->count, 0);
    check_bench_is_clean(store);
    store_close(store);
}

/* ---- what comes back while it is repaired ---- */

static struct record_key key_in(const struct check_bench *bench, enum kv_table table)
{
    const struct digest diff_id = digest_of_text("diffID");
    switch (table) {
    case KV_TAGS:
        return tag_key("app", "1");
    case KV_MANIFESTS:
        return repository_digest_key("app", &bench->manifest);
    case KV_MEMBERS:
        return repository_digest_key("app", &bench->layer);
    default:
        return blob_key(table == KV_KNOWN_LOCATIONS ? &diff_id : &bench->layer);
    }
}

static void read_in(const struct check_bench *bench, enum kv_table table, uint8_t *bytes,
                    size_t *size)
{
    struct error err = ERROR_INIT;
    struct record_key key = key_in(bench, table);
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(bench->store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, record_key_slice(&key), &value, &found, &err), &err);
    assert_true(found && value.size < 1000);
    memcpy(bytes, value.data, value.size);
    *size = value.size;
}

/* A record of `wrong` is judged while one of `lost` is away, and repaired when that is back. */
static void try_comeback(const struct check_bench *bench, enum kv_table wrong, enum kv_table lost,
                         bool garbled)
{
    const struct check_options options = {.repair = true, .shared = true};
    struct check *check = check_new(bench->store, &options);
    struct error err = ERROR_INIT;
    struct finding finding = {.table = wrong, .key = key_in(bench, wrong)};
    enum check_action action = CHECK_LEFT;
    uint8_t bytes[1000];
    size_t size = 0;
    read_in(bench, lost, bytes, &size);
    if (garbled)
        check_bench_put(bench->store, lost, key_in(bench, lost), "garbage", 7);
    else
        check_bench_delete(bench->store, lost, key_in(bench, lost));
    assert_ok(check_look_record(check, &finding, &err), &err);
    assert_int_not_equal(finding.kind, CHECK_WELL);
    check_bench_put(bench->store, lost, key_in(bench, lost), bytes, size);
    assert_ok(check_repair(check, &finding, &action, &err), &err);
    if (action != CHECK_LEFT)
        fail_msg("%s was repaired for %s", kv_table_name(wrong), kv_table_name(lost));
    check_free(check);
}

static void what_is_right_again_is_not_repaired(void **state)
{
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    try_comeback(&bench, KV_TAGS, KV_TAGS, true);
    try_comeback(&bench, KV_MANIFESTS, KV_MANIFESTS, true);
    try_comeback(&bench, KV_TAGS, KV_MANIFESTS, false);
    try_comeback(&bench, KV_MANIFESTS, KV_BLOBS, false);
    try_comeback(&bench, KV_MEMBERS, KV_BLOBS, false);
    try_comeback(&bench, KV_ASSOCIATED, KV_KNOWN_LOCATIONS, false);
    check_bench_is_clean(store);
    store_close(store);
}

/* What is wrong for good is found there, too. */
static void a_damage_is_found_while_the_store_is_in_use(void **state)
{
    struct store *store = open_boot(*state, "boot");
    struct check_bench bench = check_bench_fill(store);
    check_bench_flip_layer(&bench);
    check_bench_delete_manifest(&bench);
    check_bench_add_file(&bench); /* too young to be called stray */
    autofree struct check_bench_report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = true, .shared = true, .again_ms = 50, .found = check_bench_note, .self = report};
    check_bench_run(store, &options, report);
    assert_non_null(check_bench_find(report, CHECK_CORRUPT, "blobs"));
    assert_non_null(check_bench_find(report, CHECK_DANGLING, "tags"));
    store_close(store);
}

/* So many bytes in so long. */
static void the_rate_of_hashing_is_bounded(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    autofree char *content = letters((size_t)9 << 20);
    put_blob(store, "app", content);
    struct check_bench_report report = {.count = 0};
    const struct check_options options = {
        .bytes_per_s = (uint64_t)1 << 20, .found = check_bench_note, .self = &report};
    struct check *slow = check_new(store, &options);
    int64_t waits_ms = 0;
    for (bool more = true; more;) {
        int64_t wait_ms = 0;
        uint64_t before = check_counts(slow).bytes;
        assert_ok(check_step(slow, &more, &wait_ms, &err), &err);
        assert_true(check_counts(slow).bytes - before <= CHECK_STEP_BYTES);
        waits_ms += wait_ms;
    }
    assert_in_range(waits_ms, 7000, 9000);
    check_free(slow);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_store_in_use_has_nothing_wrong),
        folder_test(what_is_right_again_is_not_repaired),
        folder_test(a_damage_is_found_while_the_store_is_in_use),
        folder_test(the_rate_of_hashing_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
