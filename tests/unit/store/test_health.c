#include "tests/unit/store/store_test.h"

#include "store/batch.h"
#include "store/health.h"
#include "store/local/internal.h"
#include "store/local/kv/kv_room.h"

#include <errno.h>
#include <sys/statvfs.h>

static enum errc put(struct store *store, const char *content, struct error *err)
{
    struct digest digest;
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, err), err);
    return batch_commit(batch, err);
}

static void a_probe_goes_well_and_leaves_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    assert_int_equal(store_health(store, &err), STORE_WELL);
    assert_ok(store_probe(store, &err), &err);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, &err), STORE_WELL);
    assert_false(path_exists(*state, "staging/probe"));
    store_close(store);
}

static void a_full_disk_is_a_fault_until_a_probe_goes_well(void **state)
{
    struct error full = ERROR_INIT, err = ERROR_INIT;
    struct store *store = open_store(*state);
    full = (struct error){.code = ERR_NO_SPACE, .sys = ENOSPC, .text = "write"};
    store_tell(store, &full);
    assert_int_equal(store_health(store, &err), STORE_REFUSING);
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_ok(put(store, "still tried", &err), &err);
    assert_int_equal(store_health(store, NULL), STORE_REFUSING);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    store_close(store);
}

static void what_is_not_the_disks_fault_is_none(void **state)
{
    static const struct {
        enum errc code;
        int sys;
    } others[] = {{ERR_IO, ENOENT}, {ERR_NO_SPACE, EFBIG}, {ERR_BUSY, 0}, {ERR_BLOB_UNKNOWN, 0}};
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        err = (struct error){.code = others[i].code, .sys = others[i].sys, .text = "other"};
        store_tell(store, &err);
        assert_int_equal(store_health(store, NULL), STORE_WELL);
    }
    store_close(store);
}

/* A folder that is not to be written to: the probe is what tells. */
static void a_probe_that_fails_is_a_fault(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    assert_int_equal(mkdirat(store->staging_fd, "probe", 0700), 0);
    assert_code(store_probe(store, &err), ERR_IO, &err);
    assert_int_equal(store_health(store, NULL), STORE_REFUSING);
    assert_int_equal(unlinkat(store->staging_fd, "probe", AT_REMOVEDIR), 0);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    store_close(store);
}

static void a_broken_store_takes_nothing_until_it_is_opened_again(void **state)
{
    struct error sync = ERROR_INIT, err = ERROR_INIT;
    struct store *store = open_store(*state);
    assert_ok(put(store, "before", &err), &err);
    sync = (struct error){.code = ERR_SYNC, .sys = EIO, .text = "sync a blob to the disk"};
    store_tell(store, &sync);
    assert_code(put(store, "while", &err), ERR_SYNC, &err);
    assert_code(store_probe(store, &err), ERR_SYNC, &err);
    assert_int_equal(store_health(store, NULL), STORE_BROKEN);
    store_close(store);
    store = open_store(*state);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    assert_ok(put(store, "after", &err), &err);
    store_close(store);
}

/* Free bytes, and a floor just below and above them, with room for what others write meanwhile. */
static void below_the_floor_what_grows_is_refused(void **state)
{
    static uint8_t piece[3 << 20];
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct blob_writer *writer = NULL;
    store->keep_free_bytes = 1;
    assert_ok(store_check_room(store, &err), &err);
    assert_int_equal(store_health(store, &err), STORE_WELL);
    store->keep_free_bytes = (uint64_t)1 << 60;
    assert_code(store_check_room(store, &err), ERR_NO_SPACE, &err);
    assert_non_null(strstr(err.text, "and 1125899906842624 KiB are kept back"));
    assert_non_null(strstr(err.text, "limits.free_space"));
    error_clear(&err);
    assert_int_equal(store_health(store, &err), STORE_LOW);
    assert_int_equal(err.code, ERR_NO_SPACE);
    error_clear(&err);
    /* What is small has room; what grows beyond eight mebibytes is looked at. */
    assert_ok(put(store, "a manifest", &err), &err);
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    for (int i = 0; i < 2; i++)
        assert_ok(blob_writer_write(writer, piece, sizeof piece, &err), &err);
    assert_code(blob_writer_write(writer, piece, sizeof piece, &err), ERR_NO_SPACE, &err);
    assert_code(blob_writer_write(writer, piece, 1, &err), ERR_NO_SPACE, &err);
    blob_writer_abort(writer);
    batch_abort(batch);
    /* That is no fault of the disk. */
    assert_int_equal(store_health(store, NULL), STORE_LOW);
    store_close(store);
}

/* Let so much of the map be in use. */
static void fill_map(struct store *store, unsigned percent)
{
    struct kv_room *room = kv_room(store->kv);
    room->size_bytes = kv_room_used(room) / percent * 100;
}

static void metadata_that_are_nearly_full_make_it_low(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest;
    assert_ok(put(store, "before", &err), &err);
    fill_map(store, 84);
    assert_int_equal(store_health(store, &err), STORE_WELL);
    fill_map(store, 87);
    assert_code(store_check_room(store, &err), ERR_STORE_FULL, &err);
    assert_non_null(strstr(err.text, "KiB that they may (store.map)"));
    error_clear(&err);
    assert_int_equal(store_health(store, &err), STORE_LOW);
    assert_int_equal(err.code, ERR_STORE_FULL);
    error_clear(&err);
    struct store_room room = store_room(store);
    assert_true(room.metadata_bytes > room.metadata_most_bytes / 100 * 85);
    assert_ok(put(store, "a manifest", &err), &err);
    fill_map(store, 92);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(batch_put_blob(batch, "another", 7, &digest, &err), &err);
    assert_code(batch_commit(batch, &err), ERR_STORE_FULL, &err);
    error_clear(&err);
    /* A larger map. */
    fill_map(store, 20);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, &err), STORE_WELL);
    store_close(store);
}

static void the_usual_floor_is_below_a_gibibyte(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct statvfs room;
    assert_int_equal(fstatvfs(store->blobs_fd, &room), 0);
    uint64_t all = (uint64_t)room.f_blocks * room.f_frsize;
    uint64_t floor = all / 20 < (uint64_t)1 << 30 ? all / 20 : (uint64_t)1 << 30;
    bool low = (uint64_t)room.f_bavail * room.f_frsize < floor;
    store->keep_free_bytes = STORE_KEEP_FREE_DEFAULT;
    assert_int_equal(store_check_room(store, &err) != ERR_OK, low);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_probe_goes_well_and_leaves_nothing),
        folder_test(a_full_disk_is_a_fault_until_a_probe_goes_well),
        folder_test(what_is_not_the_disks_fault_is_none),
        folder_test(a_probe_that_fails_is_a_fault),
        folder_test(below_the_floor_what_grows_is_refused),
        folder_test(metadata_that_are_nearly_full_make_it_low),
        folder_test(the_usual_floor_is_below_a_gibibyte),
        folder_test(a_broken_store_takes_nothing_until_it_is_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
