#include "tests/unit/store/store_test.h"

#include "store/local/kv/kv.h"
#include "store/local/kv/kv_room.h"

#include <sys/stat.h>

#define MAP ((uint64_t)1 << 20)

static struct kv_slice text(const char *s)
{
    return (struct kv_slice){.data = s, .size = strlen(s)};
}

static struct kv *open_kv(const char *folder)
{
    struct error err = ERROR_INIT;
    struct kv *kv = NULL;
    assert_ok(kv_open(folder, MAP, &kv, &err), &err);
    return kv;
}

static void put(struct kv *kv, enum kv_table table, const char *key, const char *value)
{
    struct error err = ERROR_INIT;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    assert_ok(kv_put(&txn, table, text(key), text(value), &err), &err);
    assert_ok(kv_commit(&txn, &err), &err);
}

static bool has(struct kv *kv, enum kv_table table, const char *key, const char *value)
{
    struct error err = ERROR_INIT;
    struct kv_slice got = {NULL, 0};
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, text(key), &got, &found, &err), &err);
    return found && got.size == strlen(value) && memcmp(got.data, value, got.size) == 0;
}

static void keys_with_prefix(struct kv *kv, const char *prefix, char *out, size_t capacity)
{
    struct error err = ERROR_INIT;
    struct kv_slice key;
    struct kv_slice value;
    bool more = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    out[0] = '\0';
    assert_ok(kv_begin_read(kv, &txn, &err), &err);
    assert_ok(kv_cursor_open(&txn, KV_BLOBS, text(prefix), &cursor, &err), &err);
    for (;;) {
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
        if (!more)
            return;
        size_t at = strlen(out);
        snprintf(out + at, capacity - at, "%.*s ", (int)key.size, (const char *)key.data);
    }
}

static void what_is_put_is_found_after_reopening(void **state)
{
    struct kv *kv = open_kv(*state);
    put(kv, KV_BLOBS, "a", "1");
    put(kv, KV_LAYERS, "a", "2");
    kv_close(kv);
    kv = open_kv(*state);
    assert_true(has(kv, KV_BLOBS, "a", "1"));
    assert_true(has(kv, KV_LAYERS, "a", "2"));
    assert_false(has(kv, KV_REFERENCES, "a", "2"));
    kv_close(kv);
}

static void a_dropped_transaction_leaves_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    put(kv, KV_BLOBS, "kept", "1");
    struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    assert_ok(kv_put(&txn, KV_BLOBS, text("new"), text("1"), &err), &err);
    assert_ok(kv_delete(&txn, KV_BLOBS, text("kept"), &err), &err);
    kv_end(&txn);
    kv_end(&txn);
    assert_true(has(kv, KV_BLOBS, "kept", "1"));
    assert_false(has(kv, KV_BLOBS, "new", "1"));
    kv_close(kv);
}

static void deleting_what_is_not_there_is_success(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    put(kv, KV_BLOBS, "a", "1");
    struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_write(kv, &txn, &err), &err);
    assert_ok(kv_delete(&txn, KV_BLOBS, text("b"), &err), &err);
    assert_ok(kv_delete(&txn, KV_BLOBS, text("a"), &err), &err);
    assert_ok(kv_commit(&txn, &err), &err);
    assert_ok(kv_sync(kv, &err), &err);
    assert_false(has(kv, KV_BLOBS, "a", "1"));
    kv_close(kv);
}

static void a_reader_sees_the_state_at_its_begin(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    struct kv_slice got;
    bool found = true;
    autotxn struct kv_txn before = KV_TXN_INIT;
    assert_ok(kv_begin_read(kv, &before, &err), &err);
    put(kv, KV_BLOBS, "a", "1");
    assert_ok(kv_get(&before, KV_BLOBS, text("a"), &got, &found, &err), &err);
    assert_false(found);
    assert_true(has(kv, KV_BLOBS, "a", "1"));
    kv_end(&before);
    kv_close(kv);
}

static void a_prefix_gives_its_keys_in_byte_order(void **state)
{
    char keys[128];
    struct kv *kv = open_kv(*state);
    keys_with_prefix(kv, "", keys, sizeof keys);
    assert_string_equal(keys, "");
    static const char *const all[] = {"b", "ab", "a", "ab\x7f", "aa", "abc", "ac"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        put(kv, KV_BLOBS, all[i], "");
    keys_with_prefix(kv, "ab", keys, sizeof keys);
    assert_string_equal(keys, "ab abc ab\x7f ");
    keys_with_prefix(kv, "", keys, sizeof keys);
    assert_string_equal(keys, "a aa ab abc ab\x7f ac b ");
    keys_with_prefix(kv, "b", keys, sizeof keys);
    assert_string_equal(keys, "b ");
    keys_with_prefix(kv, "abcd", keys, sizeof keys);
    assert_string_equal(keys, "");
    keys_with_prefix(kv, "c", keys, sizeof keys);
    assert_string_equal(keys, "");
    kv_close(kv);
}

static void the_longest_key_fits(void **state)
{
    char key[KV_KEY_MAX + 1];
    memset(key, 'k', sizeof key - 1);
    key[KV_KEY_MAX] = '\0';
    struct kv *kv = open_kv(*state);
    put(kv, KV_BLOBS, key, "1");
    assert_true(has(kv, KV_BLOBS, key, "1"));
    kv_close(kv);
}

static void one_reader_too_many_is_an_error_and_no_more(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    struct kv_txn *readers = xcalloc(KV_READERS_MAX, sizeof *readers);
    struct kv_txn extra = KV_TXN_INIT;
    for (size_t i = 0; i < KV_READERS_MAX; i++)
        assert_ok(kv_begin_read(kv, &readers[i], &err), &err);
    assert_code(kv_begin_read(kv, &extra, &err), ERR_STORE, &err);
    kv_end(&readers[7]);
    error_clear(&err);
    assert_ok(kv_begin_read(kv, &extra, &err), &err);
    kv_end(&extra);
    for (size_t i = 0; i < KV_READERS_MAX; i++)
        kv_end(&readers[i]);
    free(readers);
    kv_close(kv);
}

/* Put one entry a transaction until the map is full: so many. */
static unsigned fill(struct kv *kv)
{
    struct error err = ERROR_INIT;
    char value[1500];
    unsigned puts = 0;
    memset(value, 'v', sizeof value);
    for (; err.code == ERR_OK; puts++) {
        char key[16];
        snprintf(key, sizeof key, "%08u", puts);
        autotxn struct kv_txn txn = KV_TXN_INIT;
        if (kv_begin_write(kv, &txn, &err) == ERR_OK &&
            kv_put(&txn, KV_BLOBS, text(key), (struct kv_slice){value, sizeof value}, &err) ==
                ERR_OK)
            kv_commit(&txn, &err);
    }
    assert_int_equal(err.code, ERR_STORE_FULL);
    assert_true(puts > 100);
    return puts;
}

static void a_full_map_is_told_and_deleting_helps(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    const uint64_t empty = kv_room_used(kv_room(kv));
    assert_in_range(empty, 3 * 4096, 16 * 4096);
    assert_ok(kv_room_check_new(kv_room(kv), &err), &err);
    assert_ok(kv_room_check_put(kv_room(kv), &err), &err);
    unsigned puts = fill(kv);
    const uint64_t full = kv_room_used(kv_room(kv));
    assert_in_range(full, MAP / 100 * 95, MAP);
    assert_code(kv_room_check_put(kv_room(kv), &err), ERR_STORE_FULL, &err);
    assert_non_null(strstr(err.text, "of the 1024 KiB that they may (store.map)"));
    error_clear(&err);
    for (unsigned i = 0; i < puts - 1; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08u", i);
        autotxn struct kv_txn txn = KV_TXN_INIT;
        assert_ok(kv_begin_write(kv, &txn, &err), &err);
        assert_ok(kv_delete(&txn, KV_BLOBS, text(key), &err), &err);
        assert_ok(kv_commit(&txn, &err), &err);
    }
    /* All pages were in use once, and the file has not shrunk: what is free is not counted, but for
     * the list of it. */
    assert_true(kv_room(kv)->end_bytes >= full);
    assert_in_range(kv_room_used(kv_room(kv)), empty, empty + 16 * 4096);
    assert_ok(kv_room_check_new(kv_room(kv), &err), &err);
    put(kv, KV_BLOBS, "room", "again");
    const uint64_t last = kv_room_used(kv_room(kv));
    kv_close(kv);
    kv = open_kv(*state);
    assert_in_range(kv_room_used(kv_room(kv)), last - 4 * 4096, last + 4 * 4096);
    kv_close(kv);
}

/* From the one part on nothing new is begun, from the other on nothing but the essential is put; a
 * larger map has room again. */
static void what_is_kept_back_of_the_map_has_two_parts(void **state)
{
    struct error err = ERROR_INIT;
    char key[16];
    static char value[4000];
    struct kv *kv = open_kv(*state);
    struct kv_room *room = kv_room(kv);
    for (int i = 0; kv_room_check_new(room, &err) == ERR_OK; i++) {
        snprintf(key, sizeof key, "%d", i);
        put(kv, KV_BLOBS, key, memset(value, 'v', sizeof value - 1));
    }
    assert_int_equal(err.code, ERR_STORE_FULL);
    assert_in_range(kv_room_used(room), MAP / 100 * 85 + 1, MAP / 100 * 85 + 4 * 4096);
    error_clear(&err);
    assert_ok(kv_room_check_put(room, &err), &err);
    for (int i = 1000; kv_room_check_put(room, &err) == ERR_OK; i++) {
        snprintf(key, sizeof key, "%d", i);
        put(kv, KV_BLOBS, key, value);
    }
    assert_int_equal(err.code, ERR_STORE_FULL);
    assert_in_range(kv_room_used(room), MAP / 100 * 90 + 1, MAP / 100 * 90 + 4 * 4096);
    put(kv, KV_BLOBS, "essential", "1");
    kv_close(kv);
    error_clear(&err);
    assert_ok(kv_open(*state, 2 * MAP, &kv, &err), &err);
    assert_ok(kv_room_check_new(kv_room(kv), &err), &err);
    put(kv, KV_BLOBS, "room", "again");
    kv_close(kv);
}

static uint64_t disk_of(const char *folder)
{
    struct stat st;
    char path[256];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void disk_is_kept_ahead_of_the_file(void **state)
{
    enum { AHEAD = 1 << 20 };
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    struct kv_room *room = kv_room(kv);
    kv_room_keep_ahead(room, AHEAD);
    if (room->ahead_bytes == 0) {
        kv_close(kv);
        skip(); /* this file system cannot */
    }
    assert_true(disk_of(*state) >= room->end_bytes + AHEAD);
    assert_int_equal(room->until_bytes, room->end_bytes + AHEAD);
    const uint64_t until = room->until_bytes;
    fill(kv);
    assert_true(room->end_bytes > until - AHEAD / 2);
    kv_room_check_put(room, &err);
    assert_int_equal(room->until_bytes, until); /* the map is full */
    error_clear(&err);
    room->size_bytes *= 4;
    assert_ok(kv_room_check_put(room, &err), &err);
    assert_int_equal(room->until_bytes, room->end_bytes + AHEAD);
    assert_true(disk_of(*state) >= room->until_bytes);
    kv_close(kv);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    char path[256];
    snprintf(path, sizeof path, "%s/data.mdb", (const char *)*state);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 10000; i++)
        fputs("garbage ", file);
    fclose(file);
    struct kv *kv = NULL;
    assert_code(kv_open(*state, MAP, &kv, &err), ERR_STORE, &err);
    assert_null(kv);
    error_clear(&err);
    assert_code(kv_open("/nonexistent/folder", MAP, &kv, &err), ERR_IO, &err);
}

/* Each step seeks behind all keys that begin as the one it found. */
static void a_cursor_skips_by_seeking(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    static const char *const keys[] = {"a1", "a2", "a3", "b1", "b2", "c1"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        put(kv, KV_BLOBS, keys[i], "value");
    char found[64] = "";
    {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        char behind[3];
        autotxn struct kv_txn txn = KV_TXN_INIT;
        autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
        assert_ok(kv_begin_read(kv, &txn, &err), &err);
        assert_ok(kv_cursor_open(&txn, KV_BLOBS, text(""), &cursor, &err), &err);
        kv_cursor_seek(&cursor, text("a2"));
        for (;;) {
            assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
            if (!more)
                break;
            snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s ", (int)key.size,
                     (const char *)key.data);
            snprintf(behind, sizeof behind, "%c~", ((const char *)key.data)[0]);
            kv_cursor_seek(&cursor, text(behind));
        }
    }
    assert_string_equal(found, "a2 b1 c1 ");
    kv_close(kv);
}

static void a_cursor_that_seeks_stays_within_its_prefix(void **state)
{
    struct error err = ERROR_INIT;
    struct kv *kv = open_kv(*state);
    put(kv, KV_BLOBS, "a1", "value");
    put(kv, KV_BLOBS, "a2", "value");
    put(kv, KV_BLOBS, "b1", "value");
    {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        autotxn struct kv_txn txn = KV_TXN_INIT;
        autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
        assert_ok(kv_begin_read(kv, &txn, &err), &err);
        assert_ok(kv_cursor_open(&txn, KV_BLOBS, text("a"), &cursor, &err), &err);
        kv_cursor_seek(&cursor, text("a2"));
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
        assert_true(more && key.size == 2 && memcmp(key.data, "a2", 2) == 0);
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
        assert_false(more);
        kv_cursor_seek(&cursor, text("a3"));
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
        assert_false(more);
        /* And back again. */
        kv_cursor_seek(&cursor, text("a"));
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
        assert_true(more && memcmp(key.data, "a1", 2) == 0);
    }
    kv_close(kv);
}

static enum errc take_key(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                          struct error *err)
{
    char *found = self;
    snprintf(found + strlen(found), 64 - strlen(found), "%.*s=%.*s ", (int)key.size,
             (const char *)key.data, (int)value.size, (const char *)value.data);
    *enough = key.size == 3;
    if (key.size == 4)
        err->code = ERR_STORE;
    return err->code;
}

static void each_entry_is_visited_until_it_is_enough_or_one_fails(void **state)
{
    static const struct {
        const char *prefix, *visited;
        enum errc rc;
    } cases[] = {{"a", "a1=x a2=y ", ERR_OK},
                 {"b", "b1=x b23=y ", ERR_OK},
                 {"", "a1=x a2=y b1=x b23=y ", ERR_OK},
                 {"c", "c234=x ", ERR_STORE},
                 {"d", "", ERR_OK}};
    struct kv *kv = open_kv(*state);
    static const char *const entries[][2] = {{"a1", "x"}, {"a2", "y"},   {"b1", "x"}, {"b23", "y"},
                                             {"b3", "z"}, {"c234", "x"}, {"c3", "y"}};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        put(kv, KV_BLOBS, entries[i][0], entries[i][1]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        char found[64] = "";
        autotxn struct kv_txn txn = KV_TXN_INIT;
        assert_ok(kv_begin_read(kv, &txn, &err), &err);
        assert_int_equal(kv_each(&txn, KV_BLOBS, text(cases[i].prefix), take_key, found, &err),
                         cases[i].rc);
        assert_string_equal(found, cases[i].visited);
    }
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_is_put_is_found_after_reopening),
        folder_test(a_dropped_transaction_leaves_nothing),
        folder_test(deleting_what_is_not_there_is_success),
        folder_test(a_reader_sees_the_state_at_its_begin),
        folder_test(a_prefix_gives_its_keys_in_byte_order),
        folder_test(the_longest_key_fits),
        folder_test(one_reader_too_many_is_an_error_and_no_more),
        folder_test(a_full_map_is_told_and_deleting_helps),
        folder_test(what_is_kept_back_of_the_map_has_two_parts),
        folder_test(disk_is_kept_ahead_of_the_file),
        folder_test(a_file_that_is_no_database_is_refused),
        folder_test(each_entry_is_visited_until_it_is_enough_or_one_fails),
        folder_test(a_cursor_skips_by_seeking),
        folder_test(a_cursor_that_seeks_stays_within_its_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
