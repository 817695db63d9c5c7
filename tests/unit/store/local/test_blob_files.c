/*
 * Which syncs a blob's way to the disk has: looked at where store/local hands them to base/file.
 */
#include "tests/unit/store/store_test.h"

#include "store/local/blob_files.h"

#include <errno.h>

#define SYNCS_MAX 8

static char synced[SYNCS_MAX][32];
static size_t sync_count;
static const char *failing;

enum errc __wrap_file_sync(int fd, const char *what, struct error *err);

enum errc __wrap_file_sync(int fd, const char *what, struct error *err)
{
    assert_true(fd >= 0 && sync_count < SYNCS_MAX);
    snprintf(synced[sync_count++], sizeof synced[0], "%s", what);
    if (failing && strcmp(what, failing) == 0)
        *err = (struct error){.code = ERR_SYNC, .sys = EIO, .text = "sync a folder to the disk"};
    return err->code;
}

static int make_blobs(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(mkdirat(fd, "sha256", 0700), 0);
    assert_int_equal(mkdirat(fd, "sha256/ab", 0700), 0);
    assert_int_equal(mkdirat(fd, "sha256/cd", 0700), 0);
    return fd;
}

static enum errc sync_of(int blobs_fd, struct blob_folders_kept *kept, uint8_t first,
                         struct error *err)
{
    const struct digest digest = {.algorithm = DIGEST_SHA256, .bytes = {first}};
    struct blob_folders folders = {0};
    blob_folders_add(&folders, &digest);
    sync_count = 0;
    error_clear(err);
    return blob_folders_sync(&folders, blobs_fd, kept, err);
}

static void assert_synced(const char *first, const char *second)
{
    assert_int_equal(sync_count, second ? 2 : 1);
    assert_string_equal(synced[0], first);
    if (second)
        assert_string_equal(synced[1], second);
}

/* The names in it each time; its own once, since it is never removed. */
static void the_folder_above_is_synced_once_for_each(void **state)
{
    struct error err = ERROR_INIT;
    static struct blob_folders_kept kept;
    autofd int blobs_fd = make_blobs(*state);
    assert_ok(sync_of(blobs_fd, &kept, 0xab, &err), &err);
    assert_synced("sha256/ab", "sha256");
    assert_ok(sync_of(blobs_fd, &kept, 0xab, &err), &err);
    assert_synced("sha256/ab", NULL);
    assert_ok(sync_of(blobs_fd, &kept, 0xcd, &err), &err);
    assert_synced("sha256/cd", "sha256");
    assert_ok(sync_of(blobs_fd, NULL, 0xab, &err), &err);
    assert_synced("sha256/ab", "sha256");
}

static void what_failed_is_not_known(void **state)
{
    static const char *const folders[] = {"sha256/ab", "sha256"};
    for (size_t i = 0; i < 2; i++) {
        struct error err = ERROR_INIT;
        struct blob_folders_kept kept = {0};
        autofd int blobs_fd =
            i == 0 ? make_blobs(*state) : open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        failing = folders[i];
        assert_code(sync_of(blobs_fd, &kept, 0xab, &err), ERR_SYNC, &err);
        failing = NULL;
        assert_ok(sync_of(blobs_fd, &kept, 0xab, &err), &err);
        assert_synced("sha256/ab", "sha256");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(the_folder_above_is_synced_once_for_each),
        folder_test(what_failed_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
