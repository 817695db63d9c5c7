/*
 * What a collection keeps because something needs it, and what goes, however much that is.
 */
#include "tests/unit/store/repositories_test.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/backup.h"
#include "store/collect.h"
#include "store/health.h"
#include "store/local/blob_files.h"
#include "store/pushes.h"
#include "tests/support/collect_bench.h"

/* ---- what is needed ---- */

static void what_an_image_needs_stays(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest other = collect_bench_member(store, "app", "other");
    struct digest loose = collect_bench_member(store, "app", "loose");
    struct digest first = collect_bench_image(store, "app", "1", &layer);
    struct digest second = collect_bench_image(store, "app", NULL, &other);
    bool found = false;
    struct collect_report report;
    collect_bench_run_with(store, &collect_bench_usual, &report);
    assert_int_equal(report.gone.blobs, 1);
    assert_int_equal(report.gone.bytes, strlen("loose"));
    assert_int_equal(report.needed.blobs, 4);
    assert_int_equal(report.held.blobs, 5);
    assert_int_equal(report.members, 1);
    collect_report_deinit(&report);
    assert_false(collect_bench_held(store, &loose));
    assert_false(has_blob(store, "app", &loose));
    assert_true(collect_bench_held(store, &layer) && collect_bench_held(store, &other) &&
                collect_bench_held(store, &first));
    assert_true(has_manifest(store, "app", &second));

    assert_ok(repository_remove_manifest(store, "app", &first, &found, &err), &err);
    collect_bench_age(store, &layer);
    collect_bench_age(store, &first);
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &first) || collect_bench_held(store, &layer));
    assert_true(collect_bench_held(store, &second) && collect_bench_held(store, &other));
    assert_int_equal(collect_bench_count(store, KV_TOMBS), 0);
    assert_int_equal(collect_bench_count(store, KV_MEMBERS), 1);
    assert_int_equal(collect_bench_count(store, KV_HOLDERS), 1);
    store_close(store);
}

static void liveness_is_over_all_repositories(void **state)
{
    struct store *store = open_store(*state);
    struct digest layer = collect_bench_member(store, "one", "layer");
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_member(batch, "two", &layer);
    commit(batch);
    collect_bench_image(store, "two", "1", &layer);
    collect_bench_age(store, &layer);
    collect_bench_age_member(store, "two", &layer);
    collect_bench_run(store);
    assert_true(collect_bench_held(store, &layer));
    assert_false(has_blob(store, "one", &layer));
    assert_true(has_blob(store, "two", &layer));
    store_close(store);
}

static void an_index_needs_its_members(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    char text[DIGEST_TEXT_MAX];
    bool found = false;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest child = collect_bench_image(store, "app", NULL, &layer);
    autofree char *index = xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                                     "\",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                     "\",\"size\":7,\"digest\":\"%s\"}]}",
                                     digest_text(&child, text));
    struct digest whole = put_manifest(store, "app", "1", index);
    collect_bench_age_manifest(store, "app", &whole, COLLECT_BENCH_LONG_AGO);
    options.untagged_s = COLLECT_BENCH_GRACE_S;
    collect_bench_run_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &whole) && collect_bench_held(store, &layer));
    assert_true(has_manifest(store, "app", &child));
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    collect_bench_age(store, &child); /* it was asked for */
    assert_ok(store_write_leases(store, &err), &err);
    collect_bench_age(store, &child);
    collect_bench_run_with(store, &options, &report);
    assert_int_equal(report.manifests, 2);
    assert_int_equal(report.gone.blobs, 3);
    collect_report_deinit(&report);
    assert_false(collect_bench_held(store, &whole) || collect_bench_held(store, &child) ||
                 collect_bench_held(store, &layer));
    assert_int_equal(collect_bench_count(store, KV_MANIFESTS), 0);
    store_close(store);
}

static void referrers_live_and_go_with_their_subject(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    bool found = false;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest whole = collect_bench_image(store, "app", "1", &layer);
    struct digest unknown = digest_of_text("not there");
    autofree char *one = collect_bench_image_text(&layer, ",\"x\":1");
    autofree char *two = collect_bench_image_text(&layer, ",\"x\":2");
    autofree char *three = collect_bench_image_text(&layer, ",\"x\":3");
    struct digest signature = put_referrer(store, "app", one, &whole, "{}");
    struct digest of_it = put_referrer(store, "app", two, &signature, "{}");
    struct digest lonely = put_referrer(store, "app", three, &unknown, "{}");
    collect_bench_age_manifest(store, "app", &signature, COLLECT_BENCH_LONG_AGO);
    collect_bench_age_manifest(store, "app", &of_it, COLLECT_BENCH_LONG_AGO);
    collect_bench_run(store); /* the lonely one is young */
    assert_true(collect_bench_held(store, &lonely) && collect_bench_held(store, &of_it));
    collect_bench_age_manifest(store, "app", &lonely, COLLECT_BENCH_LONG_AGO);
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &lonely));
    assert_true(collect_bench_held(store, &signature) && collect_bench_held(store, &of_it));
    assert_int_equal(collect_bench_count(store, KV_REFERRERS), 2);
    assert_ok(repository_remove_manifest(store, "app", &whole, &found, &err), &err);
    collect_bench_age(store, &whole);
    collect_bench_run(store);
    assert_int_equal(collect_bench_count(store, KV_BLOBS), 0);
    assert_int_equal(collect_bench_count(store, KV_MANIFESTS), 0);
    assert_int_equal(collect_bench_count(store, KV_REFERRERS), 0);
    store_close(store);
}

static void what_only_a_digest_names_stays_as_long_as_is_said(void **state)
{
    struct store *store = open_store(*state);
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest pinned = collect_bench_image(store, "app", NULL, &layer);
    collect_bench_run(store);
    assert_true(collect_bench_held(store, &pinned));
    options.untagged_s = (int64_t)clock_wall_s() - COLLECT_BENCH_LONG_AGO + 1000;
    collect_bench_run_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &pinned));
    options.untagged_s = COLLECT_BENCH_GRACE_S;
    collect_bench_run_with(store, &options, &report);
    assert_int_equal(report.manifests, 1);
    collect_report_deinit(&report);
    assert_false(collect_bench_held(store, &pinned) || collect_bench_held(store, &layer));
    store_close(store);
}

static void what_is_promised_stays(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct reference target = {.host = "r.example.com", .path = "app", .tag = "1"};
    struct digest layer = collect_bench_member(store, "app", "layer");
    autofree char *text = collect_bench_image_text(&layer, "");
    struct push push = {.manifest = {.size = 2, .media_type = MEDIA_OCI_MANIFEST}};
    struct batch *batch = begin(store, BATCH_DURABLE);
    push.manifest.digest = bring(batch, text);
    assert_ok(push_add_target(&push, &target, false, true, &err), &err);
    batch_put_push(batch, &push);
    commit(batch);
    collect_bench_age(store, &push.manifest.digest);
    collect_bench_run(store);
    assert_true(collect_bench_held(store, &layer) &&
                collect_bench_held(store, &push.manifest.digest));
    push.targets[0].state = PUSH_PUSHED;
    assert_ok(pushes_put(store, &push, true, &err), &err);
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &layer) ||
                 collect_bench_held(store, &push.manifest.digest));
    push_deinit(&push);
    store_close(store);
}

static void what_is_held_stays_with_what_it_needs(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    bool found = false;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest whole = collect_bench_image(store, "app", "1", &layer);
    store_hold(store, &whole);
    assert_ok(repository_remove_manifest(store, "app", &whole, &found, &err), &err);
    collect_bench_run(store);
    assert_true(collect_bench_held(store, &layer) && collect_bench_held(store, &whole));
    store_let_go(store, &whole);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    assert_ok(batch_hold_blob(batch, &layer, &err), &err);
    collect_bench_run(store);
    assert_true(collect_bench_held(store, &layer));
    assert_false(collect_bench_held(store, &whole));
    batch_abort(batch);
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &layer));
    store_close(store);
}

static void a_repository_with_an_unreadable_manifest_keeps_all(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    char path[BLOB_PATH_MAX];
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest loose = collect_bench_member(store, "app", "loose");
    struct digest elsewhere = collect_bench_member(store, "other", "elsewhere");
    struct digest whole = collect_bench_image(store, "app", "1", &layer);
    int fd = openat(store->blobs_fd, blob_path(&whole, path), O_WRONLY);
    assert_int_equal(pwrite(fd, "[", 1, 0), 1);
    close(fd);
    collect_bench_run_with(store, &collect_bench_usual, &report);
    assert_int_equal(report.unreadable, 1);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &layer) && collect_bench_held(store, &loose));
    assert_false(collect_bench_held(store, &elsewhere));
    store_close(store);
}

/* ---- what goes ---- */

/* A folder in its place is not removed as a file is. */
static void a_file_that_stays_keeps_no_other(void **state)
{
    struct error err = ERROR_INIT;
    struct collect_report report;
    char path[BLOB_PATH_MAX];
    struct store *store = open_store(*state);
    struct digest loose[] = {collect_bench_member(store, "app", "one"),
                             collect_bench_member(store, "app", "two"),
                             collect_bench_member(store, "app", "three")};
    assert_int_equal(unlinkat(store->blobs_fd, blob_path(&loose[1], path), 0), 0);
    assert_int_equal(mkdirat(store->blobs_fd, path, 0700), 0);
    assert_code(store_collect(store, &collect_bench_usual, &report, &err), ERR_IO, &err);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(report.gone.blobs, 2);
    collect_report_deinit(&report);
    assert_int_equal(unlinkat(store->blobs_fd, path, AT_REMOVEDIR), 0);
    for (size_t i = 0; i < 3; i++)
        assert_false(collect_bench_held(store, &loose[i]));
    assert_int_equal(collect_bench_count(store, KV_MEMBERS), 0);
    collect_bench_run(store);
    store_close(store);
}

/* More than one step, and more than are condemned at once. */
static void many_go_in_steps(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    for (unsigned i = 0; i < 600; i++) {
        char text[16];
        snprintf(text, sizeof text, "blob %u", i);
        collect_bench_member(store, i % 2 ? "odd" : "even", text);
    }
    collect_bench_run_with(store, &collect_bench_usual, &report);
    assert_int_equal(report.gone.blobs, 600);
    assert_int_equal(report.members, 600);
    collect_report_deinit(&report);
    assert_int_equal(collect_bench_count(store, KV_BLOBS), 0);
    assert_int_equal(collect_bench_count(store, KV_MEMBERS), 0);
    assert_int_equal(collect_bench_count(store, KV_HOLDERS), 0);
    store_close(store);
}

/* All that may be put is put, and nobody needs it: marks of all of it have no room in what is kept
 * back. The store is low before, and well again. */
static void metadata_full_of_what_nobody_needs_are_collected(void **state)
{
    enum { AT_ONCE = 64 };
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct collect_report report;
    const struct store_options options = {.map_size_bytes = (uint64_t)2 << 20,
                                          .leave_volatile = true};
    assert_ok(store_open_local(*state, &options, &store, &err), &err);
    const struct blob_record record = {
        .state = BLOB_DURABLE, .size = 1, .last_use_s = COLLECT_BENCH_LONG_AGO};
    struct record_value value = blob_value(&record);
    size_t put = 0;
    log_setup(LOG_WARN, LOG_TEXT); /* not a line for each */
    while (err.code == ERR_OK) {
        autochange struct change change;
        change_init(&change);
        for (int i = 0; i < AT_ONCE; i++) {
            struct digest digest = digest_of_text("ascending");
            digest.bytes[0] = (uint8_t)((put + (size_t)i) >> 8);
            digest.bytes[1] = (uint8_t)(put + (size_t)i);
            struct record_key key = blob_key(&digest);
            change_put(&change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
        }
        if (writer_submit(store->writer, &change, &err) == ERR_OK)
            put += AT_ONCE;
    }
    assert_code(err.code, ERR_STORE_FULL, &err);
    assert_non_null(strstr(err.text, "store.map"));
    error_clear(&err);
    assert_code(store_check_room(store, &err), ERR_STORE_FULL, &err);
    error_clear(&err);
    assert_int_equal(store_probe(store, &err), ERR_STORE_FULL);
    assert_int_equal(store_health(store, NULL), STORE_REFUSING);
    collect_bench_run_with(store, &collect_bench_usual, &report);
    log_setup(LOG_INFO, LOG_TEXT);
    assert_int_equal(report.gone.blobs, put);
    collect_report_deinit(&report);
    assert_int_equal(collect_bench_count(store, KV_BLOBS), 0);
    error_clear(&err);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    store_close(store);
}

static void collect_again(void *self, const char *point)
{
    struct error err = ERROR_INIT;
    struct collect_report report;
    struct backup_report backup;
    if (strcmp(point, "begun") != 0)
        return;
    assert_code(store_collect(self, &collect_bench_usual, &report, &err), ERR_COLLECTING, &err);
    error_clear(&err);
    assert_code(store_backup(self, NULL, &backup, &err), ERR_COLLECTING, &err);
}

static void one_runs_at_a_time(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct cancel cancel;
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    struct digest loose = collect_bench_member(store, "app", "loose");
    store->collect_hook = collect_again;
    store->collect_hook_self = store;
    cancel_init(&cancel);
    cancel_request(&cancel);
    options.cancel = &cancel;
    assert_code(store_collect(store, &options, &report, &err), ERR_CANCELLED, &err);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &loose));
    collect_bench_run(store);
    assert_false(collect_bench_held(store, &loose));
    cancel_deinit(&cancel);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_an_image_needs_stays),
        folder_test(liveness_is_over_all_repositories),
        folder_test(an_index_needs_its_members),
        folder_test(referrers_live_and_go_with_their_subject),
        folder_test(what_only_a_digest_names_stays_as_long_as_is_said),
        folder_test(what_is_promised_stays),
        folder_test(what_is_held_stays_with_what_it_needs),
        folder_test(a_repository_with_an_unreadable_manifest_keeps_all),
        folder_test(a_file_that_stays_keeps_no_other),
        folder_test(many_go_in_steps),
        folder_test(metadata_full_of_what_nobody_needs_are_collected),
        folder_test(one_runs_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
