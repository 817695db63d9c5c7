#include "tests/support/check_bench.h"

#include "store/blob_upload.h"
#include "store/capabilities.h"
#include "store/known_locations.h"
#include "store/local/blob_files.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/open_uploads.h"
#include "store/pushed_tags.h"
#include "store/targets.h"
#include "tests/unit/store/repositories_test.h"

/* ---- a store with something in every table ---- */

static void describe(char *out, size_t room, const char *media_type, const struct digest *digest,
                     size_t size)
{
    char text[DIGEST_TEXT_MAX];
    snprintf(out, room, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu}", media_type,
             digest_text(digest, text), size);
}

static char *image_of(const struct digest *config, const struct digest *layer)
{
    char first[300];
    char second[300];
    describe(first, sizeof first, MEDIA_OCI_CONFIG, config, strlen(CHECK_BENCH_CONFIG));
    describe(second, sizeof second, MEDIA_OCI_LAYER_GZIP, layer, strlen(CHECK_BENCH_LAYER));
    return xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}", first, second);
}

void check_bench_put_push(struct batch *batch, struct push *push, struct push_target targets[2],
                          const struct digest *manifest)
{
    for (size_t i = 0; i < 2; i++) {
        targets[i] = (struct push_target){.reference = {.host = "r.example.com", .path = "app"},
                                          .stored = true,
                                          .state = PUSH_QUEUED};
        snprintf(targets[i].reference.tag, sizeof targets[i].reference.tag, "t%zu", i);
    }
    *push = (struct push){.manifest = {.digest = *manifest, .size = 7, .media_type = "a/b"},
                          .targets = targets,
                          .target_count = 2};
    batch_put_push(batch, push);
}

static void learn(struct store *store, const struct digest *layer)
{
    struct error err = ERROR_INIT;
    struct known_location location = {.digest = *layer, .source = "r.example.com/app"};
    struct digest diff_id = digest_of_text("diffID");
    const struct capabilities capabilities = {.way = UPLOAD_METHOD_PUT};
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    assert_ok(known_locations_add(store, &diff_id, &location, &err), &err);
    assert_ok(capabilities_put(store, "r.example.com", &capabilities, &err), &err);
    assert_ok(blob_upload_begin(store, "app", "", DIGEST_NONE, id, &err), &err);
    struct open_upload upload = {.digest = *layer,
                                 .source = "r.example.com/app",
                                 .endpoint = "https://r.example.com",
                                 .location = "https://r.example.com/v2/app/blobs/uploads/1"};
    const struct target_record target = {
        .name = "far", .paused_s = 1, .failure_s = 2, .failure = {.code = ERR_CONNECT}};
    const struct reference pushed = {.host = "r.example.com", .path = "app", .tag = "1"};
    assert_ok(open_uploads_write(store, &upload, 1, &err), &err);
    assert_ok(targets_put(store, &target, 1, true, &err), &err);
    assert_ok(pushed_tags_put(store, &pushed, layer, &err), &err);
}

struct check_bench check_bench_fill(struct store *store)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct check_bench bench = {.store = store};
    bench.layer = bring(batch, CHECK_BENCH_LAYER);
    bench.config = bring(batch, CHECK_BENCH_CONFIG);
    autofree char *image = image_of(&bench.config, &bench.layer);
    bench.manifest = bring(batch, image);
    struct layer_form form = {
        .codec = CODEC_GZIP, .digest = bench.layer, .size = strlen(CHECK_BENCH_LAYER)};
    struct digest diff_id = digest_of_text("diffID");
    struct digest start = digest_of_text("start");
    struct reference name = {.host = "r.example.com", .path = "app", .tag = "1"};
    struct manifest_entry entry = entry_of("app", "1", &bench.manifest);
    struct push push;
    struct push_target targets[2];
    entry.subject = &bench.config;
    entry.descriptor = "{}";
    batch_put_layer(batch, &diff_id, &form);
    batch_put_start(batch, &start, &diff_id);
    batch_put_reference(batch, &name, &bench.manifest, MEDIA_OCI_MANIFEST);
    batch_put_member(batch, "app", &bench.layer);
    batch_put_member(batch, "app", &bench.config);
    batch_put_manifest(batch, &entry);
    check_bench_put_push(batch, &push, targets, &bench.manifest);
    commit(batch);
    memcpy(bench.push, push.id, sizeof bench.push);
    learn(store, &bench.layer);
    return bench;
}

/* ---- checking ---- */

void check_bench_note(void *self, const struct check_problem *problem)
{
    struct check_bench_report *report = self;
    if (report->count < CHECK_BENCH_PROBLEMS_MAX)
        report->problems[report->count] = *problem;
    report->count++;
}

static void note_mended(void *self, const char *push)
{
    struct check_bench_report *report = self;
    snprintf(report->mended, sizeof report->mended, "%s", push);
}

void check_bench_run(struct store *store, const struct check_options *options,
                     struct check_bench_report *report)
{
    struct error err = ERROR_INIT;
    struct check *check = check_new(store, options);
    bool more = true;
    while (more) {
        int64_t wait_ms = 0;
        assert_ok(check_step(check, &more, &wait_ms, &err), &err);
        if (wait_ms > 0)
            usleep((useconds_t)wait_ms * 1000);
    }
    report->counts = check_counts(check);
    check_free(check);
    assert_int_equal(report->counts.problems, report->count);
}

struct check_bench_report *check_bench_check(struct store *store, bool repair)
{
    struct check_bench_report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = repair, .found = check_bench_note, .mended = note_mended, .self = report};
    check_bench_run(store, &options, report);
    return report;
}

const struct check_problem *check_bench_find(const struct check_bench_report *report,
                                             enum check_kind kind, const char *table)
{
    for (size_t i = 0; i < report->count && i < CHECK_BENCH_PROBLEMS_MAX; i++)
        if (report->problems[i].kind == kind && strcmp(report->problems[i].table, table) == 0)
            return &report->problems[i];
    return NULL;
}

void check_bench_print(const struct check_bench_report *report)
{
    for (size_t i = 0; i < report->count && i < CHECK_BENCH_PROBLEMS_MAX; i++) {
        const struct check_problem *problem = &report->problems[i];
        print_message("%s %s %s: %s (%s)\n", check_kind_name(problem->kind), problem->table,
                      problem->name, problem->text, check_action_name(problem->action));
    }
}

void check_bench_is_clean(struct store *store)
{
    autofree struct check_bench_report *report = check_bench_check(store, false);
    check_bench_print(report);
    assert_int_equal(report->count, 0);
}

/* ---- damages ---- */

void check_bench_put(struct store *store, enum kv_table table, struct record_key key,
                     const void *value, size_t size)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change_put(&change, table, record_key_slice(&key), (struct kv_slice){value, size});
    assert_ok(writer_submit(store->writer, &change, &err), &err);
}

void check_bench_delete(struct store *store, enum kv_table table, struct record_key key)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change_delete(&change, table, record_key_slice(&key));
    assert_ok(writer_submit(store->writer, &change, &err), &err);
}

int check_bench_open_blob(const struct check_bench *bench, const struct digest *digest, int flags)
{
    char path[BLOB_PATH_MAX];
    int fd = openat(bench->store->blobs_fd, blob_path(digest, path), flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

void check_bench_flip_layer(const struct check_bench *bench)
{
    int fd = check_bench_open_blob(bench, &bench->layer, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 3), 1);
    close(fd);
}

void check_bench_garble_layer(const struct check_bench *bench)
{
    check_bench_put(bench->store, KV_BLOBS, blob_key(&bench->layer), "\xff", 1);
}

void check_bench_add_file(const struct check_bench *bench)
{
    close(openat(bench->store->blobs_fd, "sha256/what-is-this", O_WRONLY | O_CREAT, 0600));
}

void check_bench_delete_manifest(const struct check_bench *bench)
{
    check_bench_delete(bench->store, KV_MANIFESTS, repository_digest_key("app", &bench->manifest));
}

void check_bench_garble_target(const struct check_bench *bench)
{
    check_bench_put(bench->store, KV_PUSH_TARGETS, push_target_key(bench->push, 0), "garbage", 7);
}
