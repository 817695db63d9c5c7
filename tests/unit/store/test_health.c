#include "tests/unit/store/store_test.h"

#include "store/batch.h"
#include "store/health.h"
#include "store/local/internal.h"

#include <errno.h>

static enum errc put(struct store *store, const char *content, struct error *err)
{
    struct batch *batch = NULL;
    struct digest digest;
    assert_ok(batch_begin(store, BATCH_DURABLE, &batch, err), err);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_probe_goes_well_and_leaves_nothing),
        folder_test(a_full_disk_is_a_fault_until_a_probe_goes_well),
        folder_test(what_is_not_the_disks_fault_is_none),
        folder_test(a_probe_that_fails_is_a_fault),
        folder_test(a_broken_store_takes_nothing_until_it_is_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
