#include "tests/unit/store/store_test.h"

#include "store/local/kv/kv.h"
#include "store/local/kv/kv_file.h"

#define MAP ((uint64_t)16 << 20)
#define ENTRIES 300
#define PAGE 4096

static struct kv *open_kv(const char *folder)
{
    struct error err = ERROR_INIT;
    struct kv *kv = NULL;
    assert_ok(kv_open(folder, MAP, &kv, &err), &err);
    return kv;
}

static struct kv_slice key_of(unsigned i, char room[16])
{
    snprintf(room, 16, "key %u", i);
    return (struct kv_slice){.data = room, .size = strlen(room)};
}

/* Values in leaves, and every tenth on pages of its own. */
static void put_some(struct kv *kv, unsigned from, unsigned to)
{
    static const uint8_t bytes[9000];
    struct error err = ERROR_INIT;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    for (unsigned i = from; i < to; i++) {
        char room[16];
        struct kv_slice value = {.data = bytes, .size = i % 10 ? 200 : sizeof bytes};
        assert_ok(kv_put(&txn, KV_BLOBS, key_of(i, room), value, &err), &err);
    }
    assert_ok(kv_commit(&txn, &err), &err);
}

static void delete_some(struct kv *kv, unsigned from, unsigned to)
{
    struct error err = ERROR_INIT;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    for (unsigned i = from; i < to; i++) {
        char room[16];
        assert_ok(kv_delete(&txn, KV_BLOBS, key_of(i, room), &err), &err);
    }
    assert_ok(kv_commit(&txn, &err), &err);
}

static enum errc add_up(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                        struct error *err)
{
    (void)key;
    (void)err;
    *enough = false;
    for (size_t i = 0; i < value.size; i++)
        *(size_t *)self += ((const uint8_t *)value.data)[i] == 0;
    return ERR_OK;
}

static size_t bytes_in(const char *folder)
{
    struct error err = ERROR_INIT;
    size_t sum = 0;
    struct kv *kv = open_kv(folder);
    {
        autotxn struct kv_txn txn = KV_TXN_INIT;
        assert_ok(kv_begin_read(kv, &txn, &err), &err);
        assert_ok(kv_each(&txn, KV_BLOBS, (struct kv_slice){NULL, 0}, add_up, &sum, &err), &err);
    }
    kv_close(kv);
    return sum;
}

static size_t read_file(const char *folder, char **out)
{
    struct error err = ERROR_INIT;
    char path[256];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_ok(file_read_all(path, (size_t)32 << 20, out, &size, &err), &err);
    return size;
}

static void write_file(const char *folder, const char *data, size_t size)
{
    struct error err = ERROR_INIT;
    char path[256];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_ok(file_write_all(fd, data, size, &err), &err);
}

/* Whatever is taken can be read to its end, without a SIGBUS. Returns how many were refused. */
static size_t cut_everywhere(const char *folder, size_t *tried)
{
    autofree char *whole = NULL;
    size_t refused = 0;
    size_t all = bytes_in(folder);
    size_t size = read_file(folder, &whole);
    for (size_t cut = 1; cut < size; cut = cut < PAGE ? PAGE : cut + PAGE / 2, ++*tried) {
        struct error err = ERROR_INIT;
        write_file(folder, whole, cut);
        if (kv_file_check(folder, &err) == ERR_OK) {
            assert_int_equal(bytes_in(folder), all);
            continue;
        }
        refused++;
        assert_int_equal(err.code, ERR_STORE);
        assert_non_null(strstr(err.text, "data.mdb"));
        assert_non_null(strstr(err.text, "put it back from a copy"));
    }
    write_file(folder, whole, size);
    struct error err = ERROR_INIT;
    assert_ok(kv_file_check(folder, &err), &err);
    return refused;
}

static void a_file_that_lost_what_is_in_use_is_refused(void **state)
{
    size_t tried = 0;
    struct kv *kv = open_kv(*state);
    put_some(kv, 0, ENTRIES);
    kv_close(kv);
    size_t refused = cut_everywhere(*state, &tried);
    assert_true(refused > 0 && refused >= tried - 4);
}

static void a_file_that_lost_free_pages_only_is_taken(void **state)
{
    size_t tried = 0;
    struct kv *kv = open_kv(*state);
    put_some(kv, 0, 10);
    put_some(kv, 10, ENTRIES);
    delete_some(kv, 10, ENTRIES);
    for (unsigned i = 0; i < 12; i++)
        put_some(kv, 0, 10);
    kv_close(kv);
    size_t refused = cut_everywhere(*state, &tried);
    assert_true(refused > 0 && refused < tried);
}

static void what_is_not_there_or_empty_is_for_lmdb(void **state)
{
    struct error err = ERROR_INIT;
    assert_ok(kv_file_check(*state, &err), &err);
    write_file(*state, "", 0);
    assert_ok(kv_file_check(*state, &err), &err);
    kv_close(open_kv(*state));
    assert_ok(kv_file_check(*state, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_file_that_lost_what_is_in_use_is_refused),
        folder_test(a_file_that_lost_free_pages_only_is_taken),
        folder_test(what_is_not_there_or_empty_is_for_lmdb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
