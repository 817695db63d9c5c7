#include "tests/unit/store/repositories_test.h"

#include "store/blob_upload.h"
#include "store/capabilities.h"
#include "store/check.h"
#include "store/known_locations.h"
#include "store/local/blob_files.h"
#include "store/local/check_internal.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/open_uploads.h"
#include "store/pushed_tags.h"
#include "store/references.h"
#include "store/targets.h"
#include "tests/support/recorded_pushes.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- a store with something in every table ---- */

#define LAYER "the bytes of a layer"
#define CONFIG "{\"the\":\"config\"}"

/* What a damage is done to. */
struct held {
    struct store *store;
    struct digest layer;
    struct digest config;
    struct digest manifest;
    char push[PUSH_ID_MAX];
};

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
    describe(first, sizeof first, MEDIA_OCI_CONFIG, config, strlen(CONFIG));
    describe(second, sizeof second, MEDIA_OCI_LAYER_GZIP, layer, strlen(LAYER));
    return xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}", first, second);
}

static void put_push(struct batch *batch, struct push *push, struct push_target targets[2],
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

static struct held fill(struct store *store)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct held held = {.store = store};
    held.layer = bring(batch, LAYER);
    held.config = bring(batch, CONFIG);
    autofree char *image = image_of(&held.config, &held.layer);
    held.manifest = bring(batch, image);
    struct layer_form form = {.codec = CODEC_GZIP, .digest = held.layer, .size = strlen(LAYER)};
    struct digest diff_id = digest_of_text("diffID");
    struct digest start = digest_of_text("start");
    struct reference name = {.host = "r.example.com", .path = "app", .tag = "1"};
    struct manifest_entry entry = entry_of("app", "1", &held.manifest);
    struct push push;
    struct push_target targets[2];
    entry.subject = &held.config;
    entry.descriptor = "{}";
    batch_put_layer(batch, &diff_id, &form);
    batch_put_start(batch, &start, &diff_id);
    batch_put_reference(batch, &name, &held.manifest, MEDIA_OCI_MANIFEST);
    batch_put_member(batch, "app", &held.layer);
    batch_put_member(batch, "app", &held.config);
    batch_put_manifest(batch, &entry);
    put_push(batch, &push, targets, &held.manifest);
    commit(batch);
    memcpy(held.push, push.id, sizeof held.push);
    learn(store, &held.layer);
    return held;
}

/* ---- checking ---- */

#define PROBLEMS_MAX 64

struct report {
    struct check_problem problems[PROBLEMS_MAX];
    size_t count;
    struct check_counts counts;
    char mended[PUSH_ID_MAX]; /* the last push that was */
};

static void note(void *self, const struct check_problem *problem)
{
    struct report *report = self;
    if (report->count < PROBLEMS_MAX)
        report->problems[report->count] = *problem;
    report->count++;
}

static void note_mended(void *self, const char *push)
{
    struct report *report = self;
    snprintf(report->mended, sizeof report->mended, "%s", push);
}

static void check_until_end(struct store *store, const struct check_options *options,
                            struct report *report)
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

static struct report *check(struct store *store, bool repair)
{
    struct report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = repair, .found = note, .mended = note_mended, .self = report};
    check_until_end(store, &options, report);
    return report;
}

static const struct check_problem *find(const struct report *report, enum check_kind kind,
                                        const char *table)
{
    for (size_t i = 0; i < report->count && i < PROBLEMS_MAX; i++)
        if (report->problems[i].kind == kind && strcmp(report->problems[i].table, table) == 0)
            return &report->problems[i];
    return NULL;
}

static void print(const struct report *report)
{
    for (size_t i = 0; i < report->count && i < PROBLEMS_MAX; i++) {
        const struct check_problem *problem = &report->problems[i];
        print_message("%s %s %s: %s (%s)\n", check_kind_name(problem->kind), problem->table,
                      problem->name, problem->text, check_action_name(problem->action));
    }
}

static void is_clean(struct store *store)
{
    autofree struct report *report = check(store, false);
    print(report);
    assert_int_equal(report->count, 0);
}

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
    fill(store);
    autofree struct report *report = check(store, false);
    print(report);
    assert_int_equal(report->count, 0);
    assert_int_equal(report->counts.blobs, 3);
    assert_true(report->counts.records > 20);
    assert_true(report->counts.bytes > strlen(LAYER) + strlen(CONFIG));
    store_close(store);
}

/* ---- damages ---- */

static void put_record(struct store *store, enum kv_table table, struct record_key key,
                       const void *value, size_t size)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change_put(&change, table, record_key_slice(&key), (struct kv_slice){value, size});
    assert_ok(writer_submit(store->writer, &change, &err), &err);
}

static void delete_record(struct store *store, enum kv_table table, struct record_key key)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change_delete(&change, table, record_key_slice(&key));
    assert_ok(writer_submit(store->writer, &change, &err), &err);
}

static int open_blob(const struct held *held, const struct digest *digest, int flags)
{
    char path[BLOB_PATH_MAX];
    int fd = openat(held->store->blobs_fd, blob_path(digest, path), flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void flip_layer(const struct held *held)
{
    int fd = open_blob(held, &held->layer, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 3), 1);
    close(fd);
}

static void flip_manifest(const struct held *held)
{
    int fd = open_blob(held, &held->manifest, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 3), 1);
    close(fd);
}

static void truncate_config(const struct held *held)
{
    int fd = open_blob(held, &held->config, O_WRONLY);
    assert_int_equal(ftruncate(fd, 3), 0);
    close(fd);
}

static void delete_layer_file(const struct held *held)
{
    char path[BLOB_PATH_MAX];
    assert_int_equal(unlinkat(held->store->blobs_fd, blob_path(&held->layer, path), 0), 0);
}

static void delete_layer_record(const struct held *held)
{
    delete_record(held->store, KV_BLOBS, blob_key(&held->layer));
}

static void garble_layer_record(const struct held *held)
{
    put_record(held->store, KV_BLOBS, blob_key(&held->layer), "\xff", 1);
}

/* The folder may not be there. */
static void add_wrong_blob(const struct held *held)
{
    int fd = openat(held->store->blobs_fd, "wrong", O_WRONLY | O_CREAT, 0600);
    struct digest digest = digest_of_text("another");
    struct error err = ERROR_INIT;
    assert_int_equal(write(fd, "wrong", 5), 5);
    close(fd);
    assert_ok(
        blob_file_replace(held->store->blobs_fd, "wrong", held->store->blobs_fd, &digest, &err),
        &err);
}

static void add_good_blob(const struct held *held)
{
    int fd = openat(held->store->blobs_fd, "good", O_WRONLY | O_CREAT, 0600);
    struct digest digest = digest_of_text("good");
    struct error err = ERROR_INIT;
    assert_int_equal(write(fd, "good", 4), 4);
    close(fd);
    assert_ok(
        blob_file_replace(held->store->blobs_fd, "good", held->store->blobs_fd, &digest, &err),
        &err);
}

static void add_file(const struct held *held)
{
    close(openat(held->store->blobs_fd, "sha256/what-is-this", O_WRONLY | O_CREAT, 0600));
}

static void add_upload(const struct held *held)
{
    close(openat(held->store->uploads_fd, "0123456789abcdef0123456789abcdef", O_WRONLY | O_CREAT,
                 0600));
}

static void delete_holder(const struct held *held)
{
    delete_record(held->store, KV_HOLDERS, holder_key(&held->layer, "app"));
}

static void delete_member(const struct held *held)
{
    delete_record(held->store, KV_MEMBERS, repository_digest_key("app", &held->layer));
}

static void delete_manifest_record(const struct held *held)
{
    delete_record(held->store, KV_MANIFESTS, repository_digest_key("app", &held->manifest));
}

static void delete_associated(const struct held *held)
{
    delete_record(held->store, KV_ASSOCIATED, blob_key(&held->layer));
}

static void delete_locations(const struct held *held)
{
    struct digest diff_id = digest_of_text("diffID");
    delete_record(held->store, KV_KNOWN_LOCATIONS, blob_key(&diff_id));
}

static void delete_open(const struct held *held)
{
    delete_record(held->store, KV_OPEN_TARGETS, push_target_key(held->push, 1));
}

static void add_open(const struct held *held)
{
    put_record(held->store, KV_OPEN_TARGETS, push_target_key(held->push, 7), "\1", 1);
}

static void delete_target(const struct held *held)
{
    delete_record(held->store, KV_PUSH_TARGETS, push_target_key(held->push, 0));
}

static void delete_push(const struct held *held)
{
    delete_record(held->store, KV_PUSHES, push_key(held->push));
}

static void garble_target(const struct held *held)
{
    put_record(held->store, KV_PUSH_TARGETS, push_target_key(held->push, 0), "garbage", 7);
}

static void garble_push(const struct held *held)
{
    put_record(held->store, KV_PUSHES, push_key(held->push), "garbage", 7);
}

static const struct damage {
    const char *name;
    void (*make)(const struct held *held);
    enum check_kind kind;
    const char *table;
    enum check_action action;
    bool promise_lives; /* the push still has what it needs */
} damages[] = {
    {"a byte flipped in a layer", flip_layer, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED, false},
    {"a byte flipped in a manifest", flip_manifest, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED,
     false},
    {"a truncated config", truncate_config, CHECK_CORRUPT, "blobs", CHECK_QUARANTINED, false},
    {"a deleted file", delete_layer_file, CHECK_LOST, "blobs", CHECK_DROPPED, false},
    {"a deleted record", delete_layer_record, CHECK_STRAY, "", CHECK_MENDED, true},
    {"a garbled record", garble_layer_record, CHECK_UNREADABLE, "blobs", CHECK_QUARANTINED, true},
    {"a stray blob", add_good_blob, CHECK_STRAY, "", CHECK_MENDED, true},
    {"a stray blob with other bytes", add_wrong_blob, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a stray file", add_file, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a stray upload", add_upload, CHECK_STRAY, "", CHECK_QUARANTINED, true},
    {"a holder that is missing", delete_holder, CHECK_DISAGREES, "members", CHECK_MENDED, true},
    {"a member that is missing", delete_member, CHECK_DISAGREES, "holders", CHECK_MENDED, true},
    {"a tag without its manifest", delete_manifest_record, CHECK_DANGLING, "tags",
     CHECK_QUARANTINED, true},
    {"a location without its way back", delete_associated, CHECK_DISAGREES, "associations",
     CHECK_MENDED, true},
    {"a way back to nothing", delete_locations, CHECK_DISAGREES, "associated", CHECK_DROPPED, true},
    {"an open target that nobody lists", delete_open, CHECK_DISAGREES, "pushes", CHECK_MENDED,
     true},
    {"a listed target that there is not", add_open, CHECK_DISAGREES, "pushes", CHECK_MENDED, true},
    {"a target that is missing", delete_target, CHECK_UNREADABLE, "pushes", CHECK_MENDED, true},
    {"a garbled target", garble_target, CHECK_UNREADABLE, "pushes", CHECK_MENDED, true},
    {"targets without their push", delete_push, CHECK_DANGLING, "push_targets", CHECK_QUARANTINED,
     true},
    {"a garbled push", garble_push, CHECK_UNREADABLE, "pushes", CHECK_QUARANTINED, true},
};

/* What is left then is a promise that the store alone cannot keep; nothing else. */
static void has_only_the_promise(struct store *store)
{
    autofree struct report *report = check(store, true);
    print(report);
    assert_int_equal(report->count, 1);
    assert_int_equal(report->problems[0].kind, CHECK_INCOMPLETE);
    assert_string_equal(report->problems[0].table, "pushes");
}

static void try_damage(const char *folder, const struct damage *damage)
{
    struct store *store = open_boot(folder, "boot");
    struct held held = fill(store);
    is_clean(store);
    damage->make(&held);
    for (unsigned i = 0; i < 2; i++) { /* looking changes nothing */
        autofree struct report *seen = check(store, false);
        const struct check_problem *problem = find(seen, damage->kind, damage->table);
        if (problem == NULL) {
            print(seen);
            fail_msg("%s was not found", damage->name);
        }
        assert_int_equal(problem->action, CHECK_LEFT);
        assert_int_equal(seen->counts.repaired, 0);
    }
    autofree struct report *repaired = check(store, true);
    const struct check_problem *problem = find(repaired, damage->kind, damage->table);
    if (problem == NULL || problem->action != damage->action) {
        print(repaired);
        fail_msg("%s was not repaired", damage->name);
    }
    bool tells = damage->action == CHECK_MENDED && strcmp(damage->table, "pushes") == 0;
    assert_string_equal(repaired->mended, tells ? held.push : "");
    if (damage->promise_lives)
        is_clean(store);
    else
        has_only_the_promise(store);
    assert_int_equal(entries(folder, "staging"), 0);
    store_close(store);
    store = open_boot(folder, "boot");
    if (damage->promise_lives)
        is_clean(store);
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
    fill(store);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++) {
        struct record_key key = {.size = KV_KEY_MAX};
        memset(key.bytes, table % 2 ? 0xff : 'k', sizeof key.bytes);
        put_record(store, table, key, "garbage", 7);
    }
    autofree struct report *seen = check(store, false);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++)
        if (find(seen, CHECK_UNREADABLE, kv_table_name(table)) == NULL)
            fail_msg("garbage in %s was not found", kv_table_name(table));
    uint64_t before = quarantine_count(store);
    autofree struct report *repaired = check(store, true);
    assert_int_equal(repaired->count, seen->count);
    assert_int_equal(repaired->counts.repaired, seen->count);
    assert_int_equal(quarantine_count(store) - before, seen->count);
    is_clean(store);
    store_close(store);
}

/* ---- the quarantine ---- */

static void what_is_moved_is_listed_with_its_bytes(void **state)
{
    struct error err = ERROR_INIT;
    struct quarantine_item items[4];
    size_t count = 0;
    bool more = true;
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    flip_layer(&held);
    put_record(store, KV_TAGS, tag_key("app", "2"), "garbage", 7);
    free(check(store, true));
    store_close(store);
    store = open_boot(*state, "boot");
    uint64_t there = quarantine_count(store);
    assert_true(there >= 3); /* the blob, the tag, and the manifest that lacks the blob */
    assert_ok(quarantine_list(store, "", items, 1, &count, &more, &err), &err);
    assert_int_equal(count, 1);
    assert_true(more);
    assert_string_equal(items[0].what, "blob");
    assert_int_equal(items[0].size, strlen(LAYER));
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
    struct held held = fill(store);
    struct batch *batch = begin(store, BATCH_DURABLE);
    put_push(batch, &push, targets, &held.manifest);
    commit(batch);
    garble_target(&held);
    size_t count = recorded_pushes(store, &pushes); /* it is left out */
    assert_int_equal(count, 1);
    recorded_pushes_free(pushes, count);
    assert_int_equal(open_targets(store), 3);
    assert_ok(pushes_get(store, held.push, &push, &(bool){false}, &err), &err);
    assert_int_equal(push.target_count, 1);
    assert_string_equal(push.targets[0].reference.tag, "t1");
    push_deinit(&push);
    assert_int_equal(quarantine_count(store), 1);
    is_clean(store);
    store_close(store);
}

/* The queue knows it by the numbers of its targets, so it is mended when it starts again. */
static void a_push_under_way_is_mended_at_the_next_start(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    assert_int_equal(open_targets(store), 2);
    garble_target(&held);
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
    fill(store);
    for (unsigned i = 0; i < 70; i++) {
        char id[PUSH_ID_MAX];
        snprintf(id, sizeof id, "%04ugarbled", i);
        put_record(store, KV_PUSHES, push_key(id), "?", 1);
        put_record(store, KV_OPEN_TARGETS, push_target_key(id, 0), "\1", 1);
    }
    assert_int_equal(open_targets(store), 2);
    assert_int_equal(quarantine_count(store), 70);
    is_clean(store);
    store_close(store);
}

/* After a crash of the machine each record is looked at, and none of these stops the start. */
static void garbage_does_not_stop_a_recovery(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct held held = fill(store);
    struct digest gone = put_blob(store, "app", "volatile");
    garble_layer_record(&held);
    for (enum kv_table table = KV_BLOBS; table < KV_TABLE_COUNT; table++) {
        struct record_key key = {.size = 3, .bytes = "abc"};
        put_record(store, table, key, "garbage", 7);
    }
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_false(any_has_blob(store, &gone));
    assert_true(has_blob(store, "app", &held.config));
    assert_false(has_blob(store, "app", &held.layer));
    free(check(store, true));
    is_clean(store);
    store_close(store);
}

static void a_list_leaves_out_what_it_cannot_read(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    put_record(store, KV_TAGS, tag_key("app", "0"), "garbage", 7);
    assert_string_equal(tags_of(store, "app", NULL, 10), "1 ");
    assert_int_equal(quarantine_count(store), 0);
    size_t moved = 0;
    assert_ok(quarantine_unreadable(store, &moved, &err), &err);
    assert_int_equal(moved, 1);
    assert_int_equal(quarantine_count(store), 1);
    assert_true(tag_is(store, "app", "0", NULL));
    assert_true(tag_is(store, "app", "1", &held.manifest));
    store_close(store);
}

/* A record that was written anew since a reader met it is not moved. */
static void a_record_that_was_mended_meanwhile_stays(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    put_record(store, KV_TAGS, tag_key("app", "1"), "garbage", 7);
    assert_string_equal(tags_of(store, "app", NULL, 10), "");
    struct record_value value = tag_value(&held.manifest);
    put_record(store, KV_TAGS, tag_key("app", "1"), value.bytes, value.size);
    assert_ok(quarantine_unreadable(store, NULL, &err), &err);
    assert_true(tag_is(store, "app", "1", &held.manifest));
    store_close(store);
}

/* ---- a store in use ---- */

struct user {
    struct store *store;
    atomic_bool stop;
    atomic_uint rounds;
};

static void remove_blob(struct store *store, const struct digest *digest)
{
    char path[BLOB_PATH_MAX];
    delete_record(store, KV_BLOBS, blob_key(digest));
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
    fill(store);
    assert_int_equal(pthread_create(&thread, NULL, use, &user), 0);
    autofree struct report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = true, .shared = true, .again_ms = 500, .found = note, .self = report};
    while (atomic_load(&user.rounds) < 40)
        check_until_end(store, &options, report);
    atomic_store(&user.stop, true);
    pthread_join(thread, NULL);
    print(report);
    assert_int_equal(report->count, 0);
    is_clean(store);
    store_close(store);
}

/* ---- what comes back while it is repaired ---- */

static struct record_key key_in(const struct held *held, enum kv_table table)
{
    const struct digest diff_id = digest_of_text("diffID");
    switch (table) {
    case KV_TAGS:
        return tag_key("app", "1");
    case KV_MANIFESTS:
        return repository_digest_key("app", &held->manifest);
    case KV_MEMBERS:
        return repository_digest_key("app", &held->layer);
    default:
        return blob_key(table == KV_KNOWN_LOCATIONS ? &diff_id : &held->layer);
    }
}

static void read_in(const struct held *held, enum kv_table table, uint8_t *bytes, size_t *size)
{
    struct error err = ERROR_INIT;
    struct record_key key = key_in(held, table);
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(held->store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, record_key_slice(&key), &value, &found, &err), &err);
    assert_true(found && value.size < 1000);
    memcpy(bytes, value.data, value.size);
    *size = value.size;
}

/* A record of `wrong` is judged while one of `lost` is away, and repaired when that is back. */
static void try_comeback(const struct held *held, enum kv_table wrong, enum kv_table lost,
                         bool garbled)
{
    const struct check_options options = {.repair = true, .shared = true};
    struct check *check = check_new(held->store, &options);
    struct error err = ERROR_INIT;
    struct finding finding = {.table = wrong, .key = key_in(held, wrong)};
    enum check_action action = CHECK_LEFT;
    uint8_t bytes[1000];
    size_t size = 0;
    read_in(held, lost, bytes, &size);
    if (garbled)
        put_record(held->store, lost, key_in(held, lost), "garbage", 7);
    else
        delete_record(held->store, lost, key_in(held, lost));
    assert_ok(check_look_record(check, &finding, &err), &err);
    assert_int_not_equal(finding.kind, CHECK_WELL);
    put_record(held->store, lost, key_in(held, lost), bytes, size);
    assert_ok(check_repair(check, &finding, &action, &err), &err);
    if (action != CHECK_LEFT)
        fail_msg("%s was repaired for %s", kv_table_name(wrong), kv_table_name(lost));
    check_free(check);
}

static void what_is_right_again_is_not_repaired(void **state)
{
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    try_comeback(&held, KV_TAGS, KV_TAGS, true);
    try_comeback(&held, KV_MANIFESTS, KV_MANIFESTS, true);
    try_comeback(&held, KV_TAGS, KV_MANIFESTS, false);
    try_comeback(&held, KV_MANIFESTS, KV_BLOBS, false);
    try_comeback(&held, KV_MEMBERS, KV_BLOBS, false);
    try_comeback(&held, KV_ASSOCIATED, KV_KNOWN_LOCATIONS, false);
    is_clean(store);
    store_close(store);
}

/* What is wrong for good is found there, too. */
static void a_damage_is_found_while_the_store_is_in_use(void **state)
{
    struct store *store = open_boot(*state, "boot");
    struct held held = fill(store);
    flip_layer(&held);
    delete_manifest_record(&held);
    add_file(&held); /* too young to be called stray */
    autofree struct report *report = xcalloc(1, sizeof *report);
    const struct check_options options = {
        .repair = true, .shared = true, .again_ms = 50, .found = note, .self = report};
    check_until_end(store, &options, report);
    assert_non_null(find(report, CHECK_CORRUPT, "blobs"));
    assert_non_null(find(report, CHECK_DANGLING, "tags"));
    store_close(store);
}

/* So many bytes in so long. */
static void the_rate_of_hashing_is_bounded(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    autofree char *content = letters((size_t)9 << 20);
    put_blob(store, "app", content);
    struct report report = {.count = 0};
    const struct check_options options = {
        .bytes_per_s = (uint64_t)1 << 20, .found = note, .self = &report};
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
        folder_test(a_whole_store_is_clean),
        folder_test(each_damage_is_found_and_repaired),
        folder_test(garbage_in_each_table_is_found_and_moved),
        folder_test(what_is_moved_is_listed_with_its_bytes),
        folder_test(a_garbled_target_stops_nobody),
        folder_test(a_push_under_way_is_mended_at_the_next_start),
        folder_test(many_garbled_pushes_stop_nobody),
        folder_test(garbage_does_not_stop_a_recovery),
        folder_test(a_list_leaves_out_what_it_cannot_read),
        folder_test(a_record_that_was_mended_meanwhile_stays),
        folder_test(a_store_in_use_has_nothing_wrong),
        folder_test(what_is_right_again_is_not_repaired),
        folder_test(a_damage_is_found_while_the_store_is_in_use),
        folder_test(the_rate_of_hashing_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
