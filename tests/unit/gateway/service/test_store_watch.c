#include "tests/unit/store/store_test.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/service/store_watch.h"
#include "store/local/internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#define DEADLINE_MS 20000

/* ---- what is written to stderr meanwhile ---- */

static int terminal = -1, written = -1;

static void begin(void)
{
    terminal = dup(STDERR_FILENO);
    written = memfd_create("log", MFD_CLOEXEC);
    dup2(written, STDERR_FILENO);
}

static void end(void)
{
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(written);
}

static unsigned count(const char *event)
{
    static char text[1 << 16];
    autofree char *wanted = xasprintf("\"event\":\"%s\"", event);
    unsigned found = 0;
    ssize_t size = pread(written, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++)
        found++;
    return found;
}

static void wait_for(const char *event, unsigned times)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    int64_t until_ms = clock_ms() + DEADLINE_MS;
    while (count(event) < times && clock_ms() < until_ms)
        nanosleep(&moment, NULL);
    assert_int_equal(count(event), times);
}

/* ---- a watch ---- */

static atomic_uint broken_calls;

static void on_broken(void)
{
    atomic_fetch_add(&broken_calls, 1);
}

static struct store_watch *watch(struct store *store)
{
    struct error err = ERROR_INIT;
    struct store_watch *watch = NULL;
    begin();
    assert_ok(store_watch_start(store, on_broken, &watch, &err), &err);
    return watch;
}

static void tell(struct store *store, enum errc code, int sys)
{
    struct error err = {.code = code, .sys = sys, .text = "write a blob"};
    store_tell(store, &err);
}

static void what_refuses_is_told_once_and_what_mends_it(void **state)
{
    struct store *store = open_store(*state);
    struct store_watch *of = watch(store);
    /* A probe cannot go well while there is a folder in its place. */
    assert_int_equal(mkdirat(store->staging_fd, "probe", 0700), 0);
    tell(store, ERR_NO_SPACE, ENOSPC);
    wait_for("store.refusing", 1);
    tell(store, ERR_NO_SPACE, ENOSPC);
    store_health_wake(store);
    assert_int_equal(unlinkat(store->staging_fd, "probe", AT_REMOVEDIR), 0);
    wait_for("store.mended", 1);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    tell(store, ERR_NO_SPACE, ENOSPC);
    wait_for("store.refusing", 2);
    store_watch_stop(of);
    assert_int_equal(count("store.low") + count("store.broken"), 0);
    end();
    store_close(store);
}

static void set_floor(struct store *store, uint64_t bytes)
{
    store->keep_free_bytes = bytes;
    store_health_wake(store);
}

static void a_floor_that_is_met_is_told_once(void **state)
{
    struct store *store = open_store(*state);
    struct store_watch *of = watch(store);
    set_floor(store, UINT64_MAX - 1);
    wait_for("store.low", 1);
    set_floor(store, 0);
    wait_for("store.mended", 1);
    /* Around the floor: not again in the same minute. */
    set_floor(store, UINT64_MAX - 1);
    assert_int_equal(store_health(store, NULL), STORE_LOW);
    tell(store, ERR_NO_SPACE, ENOSPC);
    wait_for("store.refusing", 1);
    store_watch_stop(of);
    assert_int_equal(count("store.low"), 1);
    end();
    store_close(store);
}

static void what_is_broken_is_told_once_and_not_mended(void **state)
{
    struct store *store = open_store(*state);
    struct store_watch *of = watch(store);
    atomic_store(&broken_calls, 0);
    tell(store, ERR_SYNC, EIO);
    wait_for("store.broken", 1);
    tell(store, ERR_SYNC, EIO);
    tell(store, ERR_NO_SPACE, ENOSPC);
    store_watch_stop(of);
    assert_int_equal(atomic_load(&broken_calls), 1);
    assert_int_equal(count("store.broken"), 1);
    assert_int_equal(count("store.mended") + count("store.refusing"), 0);
    end();
    store_close(store);
}

static void a_store_that_is_well_is_silent(void **state)
{
    struct store *store = open_store(*state);
    struct store_watch *of = watch(store);
    for (int i = 0; i < 100; i++)
        store_health_wake(store);
    store_watch_stop(of);
    store_watch_stop(NULL);
    assert_int_equal(lseek(written, 0, SEEK_END), 0);
    end();
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_refuses_is_told_once_and_what_mends_it),
        folder_test(a_floor_that_is_met_is_told_once),
        folder_test(what_is_broken_is_told_once_and_not_mended),
        folder_test(a_store_that_is_well_is_silent),
    };
    log_setup(LOG_INFO, LOG_JSON);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
