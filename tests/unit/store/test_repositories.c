#include "tests/unit/store/repositories_test.h"

#include "store/local/records_repositories.h"

#include <pthread.h>

static void a_blob_is_in_the_repository_it_was_put_into(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    assert_false(is_held(store, "team/app"));
    struct digest blob = put_blob(store, "team/app", "blob");
    assert_true(is_held(store, "team/app"));
    assert_false(is_held(store, "team"));
    assert_false(is_held(store, "team/ap"));
    assert_false(is_held(store, "team/app2"));
    assert_true(has_blob(store, "team/app", &blob));
    assert_false(has_blob(store, "team/app2", &blob));
    assert_true(any_has_blob(store, &blob));

    /* Mounted: held by the store, put into another repository. */
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_member(batch, "other", &blob);
    commit(batch);
    bool found = false;
    assert_ok(repository_remove_blob(store, "team/app", &blob, &found, &err), &err);
    assert_true(found);
    assert_false(has_blob(store, "team/app", &blob));
    assert_true(has_blob(store, "other", &blob));
    assert_true(any_has_blob(store, &blob));
    assert_ok(repository_remove_blob(store, "team/app", &blob, &found, &err), &err);
    assert_false(found);
    assert_ok(repository_remove_blob(store, "other", &blob, &found, &err), &err);
    assert_true(found);
    assert_false(any_has_blob(store, &blob));
    assert_false(is_held(store, "other"));
    store_close(store);
}

static void what_came_otherwise_is_in_no_repository(void **state)
{
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest blob = bring(batch, "blob");
    commit(batch);
    assert_false(any_has_blob(store, &blob));
    assert_false(has_manifest(store, "app", &blob));
    store_close(store);
}

/* Of those that are asked about, one counts, or none. */
struct asked {
    const char *counts;
    size_t times;
};

static bool counts(void *self, const char *repository)
{
    struct asked *asked = self;
    asked->times++;
    return asked->counts && strcmp(repository, asked->counts) == 0;
}

static void as_many_are_asked_about_however_many_have_it(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest blob = digest_of_text("blob");
    for (size_t holders = 0; holders <= HOLDERS_MAX + 1; holders++) {
        struct asked none = {.counts = NULL};
        bool held = true;
        assert_ok(repositories_have_blob(store, &blob, counts, &none, &held, &err), &err);
        assert_false(held);
        assert_int_equal(none.times, HOLDERS_MAX);
        autofree char *name = xasprintf("app%02zu", holders);
        put_blob(store, name, "blob");
    }
    struct asked last = {.counts = "app15"}; /* the last one that is asked about */
    struct asked beyond = {.counts = "app16"};
    struct asked missing = {.counts = NO_HOLDER};
    bool held = false;
    assert_ok(repositories_have_blob(store, &blob, counts, &last, &held, &err), &err);
    assert_true(held);
    assert_ok(repositories_have_blob(store, &blob, counts, &beyond, &held, &err), &err);
    assert_false(held);
    blob = digest_of_text("other");
    assert_ok(repositories_have_blob(store, &blob, counts, &missing, &held, &err), &err);
    assert_false(held);
    store_close(store);
}

static void a_manifest_is_found_by_tag_and_digest(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest first = put_manifest(store, "app", "1", "first");
    struct digest second = put_manifest(store, "app", NULL, "second");
    assert_true(tag_is(store, "app", "1", &first));
    assert_true(tag_is(store, "app", "2", NULL));
    assert_true(tag_is(store, "ap", "1", NULL));
    assert_true(has_manifest(store, "app", &second));
    assert_false(has_manifest(store, "other", &second));

    struct repository_manifest got;
    bool found = false;
    assert_ok(repository_tag(store, "app", "1", &found, &got, &err), &err);
    assert_true(found && got.size == 7);
    assert_string_equal(got.media_type, MEDIA_OCI_MANIFEST);

    /* The tag moves; what it named stays under its digest. */
    struct digest third = put_manifest(store, "app", "1", "third");
    assert_true(tag_is(store, "app", "1", &third));
    assert_true(has_manifest(store, "app", &first));
    store_close(store);
}

static void all_of_it_survives_the_process(void **state)
{
    struct store *store = open_store(*state);
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    struct digest blob = put_blob(store, "app", "blob");
    put_referrer(store, "app", "referrer", &manifest, "{}");
    store_close(store);
    store = open_store(*state);
    assert_true(tag_is(store, "app", "1", &manifest));
    assert_true(has_blob(store, "app", &blob));
    assert_string_equal(referrers(store, "app", &manifest), "{} ");
    assert_string_equal(catalog(store, NULL, 10), "app ");
    store_close(store);
}

static void a_tag_is_removed_alone(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    put_manifest(store, "app", "2", "manifest");
    bool found = false;
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    assert_true(found);
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    assert_false(found);
    assert_string_equal(tags_of(store, "app", NULL, 10), "2 ");
    assert_true(has_manifest(store, "app", &manifest));
    store_close(store);
}

static void a_manifest_goes_with_its_tags(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest gone = put_manifest(store, "app", "1", "gone");
    put_manifest(store, "app", "2", "gone");
    struct digest stays = put_manifest(store, "app", "3", "stays");
    put_manifest(store, "other", "1", "gone");
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &gone, &found, &err), &err);
    assert_true(found);
    assert_false(has_manifest(store, "app", &gone));
    assert_string_equal(tags_of(store, "app", NULL, 10), "3 ");
    assert_true(tag_is(store, "app", "3", &stays));
    assert_true(tag_is(store, "other", "1", &gone));
    assert_ok(repository_remove_manifest(store, "app", &gone, &found, &err), &err);
    assert_false(found);
    /* Put again, it has none of its old tags. */
    put_manifest(store, "app", NULL, "gone");
    assert_string_equal(tags_of(store, "app", NULL, 10), "3 ");
    store_close(store);
}

static void what_is_not_held_cannot_be_put(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest unknown = digest_of_text("unknown");
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    batch_put_member(batch, "app", &unknown);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    assert_false(is_held(store, "app"));
    assert_false(any_has_blob(store, &brought));

    batch = begin(store, BATCH_DURABLE);
    brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    struct manifest_entry entry = entry_of("app", "tag", &unknown);
    batch_put_manifest(batch, &entry);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    assert_false(is_held(store, "app"));
    assert_string_equal(tags_of(store, "app", NULL, 10), "");

    batch = begin(store, BATCH_DURABLE);
    brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    batch_abort(batch);
    assert_false(is_held(store, "app"));
    store_close(store);
}

static void a_blob_whose_file_is_gone_is_not_held(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest blob = put_blob(store, "app", "blob");
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    char path[512];
    char hex[DIGEST_TEXT_MAX];
    snprintf(path, sizeof path, "%s/blobs/sha256/%02x/%s", (char *)*state, blob.bytes[0],
             digest_hex(&blob, hex));
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/blobs/sha256/%02x/%s", (char *)*state, manifest.bytes[0],
             digest_hex(&manifest, hex));
    assert_int_equal(truncate(path, 3), 0);
    assert_false(has_blob(store, "app", &blob));
    assert_false(any_has_blob(store, &blob));
    assert_false(has_manifest(store, "app", &manifest));
    assert_true(tag_is(store, "app", "1", NULL));
    /* Put again, they are. */
    put_blob(store, "app", "blob");
    put_manifest(store, "app", "1", "manifest");
    assert_true(has_blob(store, "app", &blob));
    assert_true(tag_is(store, "app", "1", &manifest));
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &manifest, &found, &err), &err);
    assert_true(found);
    store_close(store);
}

static void put_volatile(struct store *store, const char *content, const struct digest *subject)
{
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of("app", content, &digest);
    entry.subject = subject;
    entry.descriptor = "{}";
    batch_put_manifest(batch, &entry);
    batch_put_member(batch, "app", &digest);
    commit(batch);
}

static void after_a_crash_of_the_machine_the_records_fit_the_blobs(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct digest subject = put_manifest(store, "app", "durable", "durable");
    put_volatile(store, "volatile", &subject);
    struct digest lost = digest_of_text("volatile");
    assert_true(has_manifest(store, "app", &lost));
    store_close(store);

    store = open_boot(*state, "boot 2");
    assert_true(tag_is(store, "app", "durable", &subject));
    assert_string_equal(tags_of(store, "app", NULL, 10), "durable ");
    assert_string_equal(referrers(store, "app", &subject), "");
    assert_false(has_manifest(store, "app", &lost));
    assert_false(has_blob(store, "app", &lost));
    assert_false(any_has_blob(store, &lost));
    store_close(store);
}

static void a_batch_can_become_durable(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct digest depends = put_blob(store, "app", "depends");
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest manifest = bring(batch, "manifest");
    struct manifest_entry entry = entry_of("app", "1", &manifest);
    batch_put_manifest(batch, &entry);
    batch_put_member(batch, "app", &depends);
    batch_make_durable(batch);
    commit(batch);
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_true(tag_is(store, "app", "1", &manifest));
    assert_true(has_blob(store, "app", &depends));
    store_close(store);
}

struct worker {
    struct store *store;
    int number;
    atomic_int *running;
    bool failed;
};

#define WORKERS 4
#define ROUNDS 50

static void *put_and_remove(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < ROUNDS && !worker->failed; i++) {
        struct error err = ERROR_INIT;
        struct batch *batch = batch_begin(worker->store, BATCH_VOLATILE);
        struct digest digest;
        char tag[32];
        snprintf(tag, sizeof tag, "w%d-%02d", worker->number, i);
        bool found = false;
        worker->failed = batch_put_blob(batch, "same", 4, &digest, &err) != ERR_OK;
        struct manifest_entry entry = entry_of("app", tag, &digest);
        batch_put_manifest(batch, &entry);
        worker->failed = worker->failed || batch_commit(batch, &err) != ERR_OK;
        if (i % 3 == worker->number % 3)
            worker->failed = worker->failed || repository_remove_manifest(worker->store, "app",
                                                                          &digest, &found, &err);
    }
    atomic_fetch_sub(worker->running, 1);
    return NULL;
}

/* Seen at one moment: tags, or none, and the manifest that they all name. */
static bool tags_have_their_manifest(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct record_key prefix = repository_prefix("app");
    struct record_key manifest = repository_digest_key("app", digest);
    struct kv_slice key;
    struct kv_slice value;
    bool tagged = false;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_cursor_open(&txn, KV_TAGS, record_key_slice(&prefix), &cursor, &err), &err);
    assert_ok(kv_cursor_next(&cursor, &key, &value, &tagged, &err), &err);
    assert_ok(kv_get(&txn, KV_MANIFESTS, record_key_slice(&manifest), &value, &found, &err), &err);
    return found || !tagged;
}

static void puts_and_removals_at_once_leave_no_tag_without_its_manifest(void **state)
{
    struct store *store = open_store(*state);
    struct digest same = digest_of_text("same");
    pthread_t threads[WORKERS];
    struct worker workers[WORKERS];
    atomic_int running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.store = store, .number = i, .running = &running};
        assert_int_equal(pthread_create(&threads[i], NULL, put_and_remove, &workers[i]), 0);
    }
    while (atomic_load(&running) > 0)
        assert_true(tags_have_their_manifest(store, &same));
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(workers[i].failed);
    }
    assert_true(tags_have_their_manifest(store, &same));
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_blob_is_in_the_repository_it_was_put_into),
        folder_test(what_came_otherwise_is_in_no_repository),
        folder_test(as_many_are_asked_about_however_many_have_it),
        folder_test(a_manifest_is_found_by_tag_and_digest),
        folder_test(all_of_it_survives_the_process),
        folder_test(a_tag_is_removed_alone),
        folder_test(a_manifest_goes_with_its_tags),
        folder_test(what_is_not_held_cannot_be_put),
        folder_test(a_blob_whose_file_is_gone_is_not_held),
        folder_test(after_a_crash_of_the_machine_the_records_fit_the_blobs),
        folder_test(a_batch_can_become_durable),
        folder_test(puts_and_removals_at_once_leave_no_tag_without_its_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
