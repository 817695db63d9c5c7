#include "tests/unit/store/store_test.h"

#include "store/batch.h"
#include "store/local/blob_files.h"
#include "store/local/internal.h"
#include "store/references.h"

static enum errc open_in_boot(const char *folder, const char *boot, struct store **out,
                              struct error *err)
{
    struct store_options options = {.map_size_bytes = (uint64_t)1 << 20, .leave_volatile = true};
    return store_open_in_boot(folder, &options, boot, out, err);
}

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    assert_ok(open_in_boot(folder, boot, &store, &err), &err);
    return store;
}

static bool holds(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    autoblob struct blob blob = BLOB_INIT;
    enum errc rc = blob_open(store, &digest, &blob, &err);
    assert_true(rc == ERR_OK || rc == ERR_BLOB_UNKNOWN);
    return rc == ERR_OK;
}

static bool has_file(const char *folder, const char *content)
{
    struct digest digest = digest_of_text(content);
    char inner[BLOB_PATH_MAX];
    char name[BLOB_PATH_MAX + 8];
    snprintf(name, sizeof name, "blobs/%s", blob_path(&digest, inner));
    return path_exists(folder, name);
}

static struct reference tagged(const char *tag)
{
    struct reference ref = {.host = "r.example.com", .path = "app"};
    snprintf(ref.tag, sizeof ref.tag, "%s", tag);
    return ref;
}

/* A blob with a layer record and a reference that point to it, all named by its content. */
static void put(struct store *store, enum durability durability, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    struct reference ref = tagged(content);
    struct batch *batch = batch_begin(store, durability);
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    struct layer_form form = {.codec = CODEC_GZIP, .digest = digest, .size = strlen(content)};
    batch_put_layer(batch, &digest, &form);
    batch_put_reference(batch, &ref, &digest, MEDIA_OCI_MANIFEST);
    assert_ok(batch_commit(batch, &err), &err);
}

/* Asked of the table itself: layer_find() hides records whose blob is gone. */
static bool has_layer_record(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    struct record_key key = layer_key(&digest, CODEC_GZIP, EFFORT_FAST);
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, KV_LAYERS, record_key_slice(&key), &value, &found, &err), &err);
    return found;
}

static bool has_reference(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct reference ref = tagged(content);
    struct named_manifest named;
    bool found = false;
    assert_ok(references_get(store, &ref, &found, &named, &err), &err);
    return found;
}

static bool has_all(struct store *store, const char *content)
{
    bool blob = holds(store, content);
    assert_int_equal(has_layer_record(store, content), blob);
    assert_int_equal(has_reference(store, content), blob);
    return blob;
}

static void a_new_folder_is_private(void **state)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/deep/data", (const char *)*state);
    store_close(open_boot(path, "boot"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    store_close(NULL);
}

static void a_folder_that_cannot_be_made_is_an_error(void **state)
{
    char path[256];
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    snprintf(path, sizeof path, "%s/file", (const char *)*state);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_code(open_in_boot(path, "boot", &store, &err), ERR_IO, &err);
    assert_null(store);
    assert_non_null(strstr(err.text, path));
}

static void a_second_user_of_the_folder_is_refused(void **state)
{
    char pid[32];
    struct error err = ERROR_INIT;
    struct store *second = NULL;
    struct store *store = open_boot(*state, "boot");
    snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    assert_code(open_in_boot(*state, "boot", &second, &err), ERR_STORE_LOCKED, &err);
    assert_non_null(strstr(err.text, pid));
    assert_non_null(strstr(err.text, *state));
    assert_non_null(strstr(err.text, "--data"));
    int status = run_again("open", *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ERR_STORE_LOCKED);
    store_close(store);
    status = run_again("open", *state);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ERR_OK);
}

static void put_schema(const char *folder, struct record_value value)
{
    char path[256];
    struct error err = ERROR_INIT;
    struct kv *kv = NULL;
    struct record_key key = schema_key();
    store_close(open_boot(folder, "boot"));
    snprintf(path, sizeof path, "%s/meta", folder);
    assert_ok(kv_open(path, (uint64_t)1 << 20, &kv, &err), &err);
    struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    assert_ok(kv_put(&txn, KV_META, record_key_slice(&key), record_value_slice(&value), &err),
              &err);
    assert_ok(kv_commit(&txn, &err), &err);
    kv_close(kv);
}

static void a_newer_schema_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    put_schema(*state, schema_value(STORE_SCHEMA + 1));
    assert_code(open_in_boot(*state, "boot", &store, &err), ERR_STORE, &err);
    assert_non_null(strstr(err.text, "schema 3"));
    assert_non_null(strstr(err.text, "newer slipway"));
}

static void a_schema_nobody_wrote_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    put_schema(*state, schema_value(0));
    assert_code(open_in_boot(*state, "boot", &store, &err), ERR_STORE, &err);
}

static void a_restart_of_the_process_keeps_what_is_volatile(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    put(store, BATCH_VOLATILE, "volatile");
    put(store, BATCH_DURABLE, "durable");
    store_close(store);
    for (int i = 0; i < 2; i++) {
        store = open_boot(*state, "boot 1");
        assert_true(has_all(store, "volatile"));
        assert_true(has_all(store, "durable"));
        store_close(store);
    }
}

static void a_crash_of_the_machine_drops_what_is_volatile(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    put(store, BATCH_VOLATILE, "volatile");
    put(store, BATCH_DURABLE, "durable");
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_false(has_all(store, "volatile"));
    assert_false(has_file(*state, "volatile"));
    assert_true(has_all(store, "durable"));
    put(store, BATCH_VOLATILE, "volatile");
    assert_true(has_all(store, "volatile"));
    store_close(store);
}

static void a_crash_drops_files_that_have_no_record(void **state)
{
    struct error err = ERROR_INIT;
    char from[300];
    struct store *store = open_boot(*state, "boot 1");
    put(store, BATCH_DURABLE, "durable");
    struct digest orphan = digest_of_text("orphan");
    snprintf(from, sizeof from, "%s/orphan", (const char *)*state);
    close(open(from, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_ok(blob_file_replace(AT_FDCWD, from, store->blobs_fd, &orphan, &err), &err);
    /* As a batch has it that was cut off after its rename. */
    atomic_store(&store->unsynced, true);
    store_close(store);
    assert_true(has_file(*state, "orphan"));
    store = open_boot(*state, "boot 2");
    assert_false(has_file(*state, "orphan"));
    assert_true(has_all(store, "durable"));
    store_close(store);
}

static void a_boot_that_is_not_known_is_another_boot(void **state)
{
    struct store *store = open_boot(*state, "");
    put(store, BATCH_VOLATILE, "volatile");
    put(store, BATCH_DURABLE, "durable");
    store_close(store);
    store = open_boot(*state, "");
    assert_false(has_all(store, "volatile"));
    assert_true(has_all(store, "durable"));
    store_close(store);
}

static void an_orderly_close_makes_all_durable(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = (uint64_t)1 << 20};
    assert_ok(store_open_in_boot(*state, &options, "boot 1", &store, &err), &err);
    put(store, BATCH_VOLATILE, "first");
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_true(has_all(store, "first"));
    put(store, BATCH_VOLATILE, "second");
    store_close(store);
    store = open_boot(*state, "boot 3");
    assert_true(has_all(store, "first"));
    assert_false(has_all(store, "second"));
    store_close(store);
}

static void a_durable_batch_makes_durable_what_it_depends_on(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot 1");
    put(store, BATCH_VOLATILE, "again");
    put(store, BATCH_DURABLE, "again");
    put(store, BATCH_VOLATILE, "named");
    struct reference ref = tagged("other");
    struct digest named = digest_of_text("named");
    put(store, BATCH_VOLATILE, "layer");
    struct digest layer = digest_of_text("layer");
    struct layer_form form = {.codec = CODEC_ZSTD, .digest = layer, .size = 5};
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    batch_put_layer(batch, &layer, &form);
    batch_put_reference(batch, &ref, &named, MEDIA_OCI_MANIFEST);
    assert_ok(batch_commit(batch, &err), &err);
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_true(has_all(store, "again"));
    assert_true(has_all(store, "named"));
    assert_true(has_all(store, "layer"));
    assert_true(has_reference(store, "other"));
    store_close(store);
}

static void the_boot_of_this_machine_is_known(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = 0};
    assert_ok(store_open_local(*state, &options, &store, &err), &err);
    assert_int_equal(strlen(store->boot_id), 36);
    store_close(store);
}

static void a_full_store_says_so_and_goes_on(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot");
    put(store, BATCH_DURABLE, "content");
    struct digest digest = digest_of_text("content");
    unsigned count = 0;
    for (; err.code == ERR_OK && count < 100000; count++) {
        struct batch *batch = NULL;
        batch = batch_begin(store, BATCH_VOLATILE);
        for (unsigned i = 0; i < 100; i++) {
            char tag[32];
            snprintf(tag, sizeof tag, "tag-%u-%u", count, i);
            struct reference ref = tagged(tag);
            batch_put_reference(batch, &ref, &digest, MEDIA_OCI_MANIFEST);
        }
        batch_commit(batch, &err);
    }
    assert_string_equal(error_name(err.code), error_name(ERR_STORE_FULL));
    assert_true(count > 10);
    assert_true(has_reference(store, "tag-0-0"));
    assert_true(holds(store, "content"));
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_true(has_reference(store, "tag-0-0"));
    assert_true(holds(store, "content"));
    store_close(store);
}

static int child(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    enum errc rc = open_in_boot(folder, "boot", &store, &err);
    store_close(store);
    return (int)rc;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(argv[2]);
    const struct CMUnitTest tests[] = {
        folder_test(a_new_folder_is_private),
        folder_test(a_folder_that_cannot_be_made_is_an_error),
        folder_test(a_second_user_of_the_folder_is_refused),
        folder_test(a_newer_schema_is_refused),
        folder_test(a_schema_nobody_wrote_is_refused),
        folder_test(a_restart_of_the_process_keeps_what_is_volatile),
        folder_test(a_crash_of_the_machine_drops_what_is_volatile),
        folder_test(a_crash_drops_files_that_have_no_record),
        folder_test(a_boot_that_is_not_known_is_another_boot),
        folder_test(an_orderly_close_makes_all_durable),
        folder_test(a_durable_batch_makes_durable_what_it_depends_on),
        folder_test(the_boot_of_this_machine_is_known),
        folder_test(a_full_store_says_so_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
