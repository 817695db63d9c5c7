/*
 * A store that an earlier slipway has left: what it had promised goes on.
 */
#include "tests/unit/store/store_test.h"

#include "store/local/internal.h"
#include "store/local/migrate.h"
#include "store/local/records_pushes.h"
#include "tests/support/recorded_pushes.h"

#define X4(byte) byte byte byte byte
#define X32(byte) X4(X4(byte)) X4(X4(byte))

/* A push of schema 1: two targets, one of them over, a referrer; with a repository, or, as the
 * first of them, without. */
static struct kv_slice old_push(bool has_repository, uint8_t *bytes)
{
    const char hex[] = "01"
                       "0000000000000055"
                       "01" X32("ab") "0000000000000001"
                                      "03612f62"
                                      "0002"
                                      "0100"
                                      "03682f70"
                                      "0174"
                                      "00"
                                      "0201"
                                      "03682f70"
                                      "00"
                                      "01"
                                      "01" X32("ab") "0001"
                                                     "01" X32("ab") "0000000000000002"
                                                                    "03612f62"
                                                                    "0173"
                                                                    "03722f61";
    size_t size = sizeof hex / 2 - (has_repository ? 0 : 4);
    for (size_t i = 0; i < size; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
    return (struct kv_slice){bytes, size};
}

/* A store as it was left, with so many of them. */
static void leave_old(const char *folder, size_t count, bool has_repository)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(folder);
    uint8_t bytes[512];
    const struct kv_slice value = old_push(has_repository, bytes);
    struct record_key schema = schema_key();
    struct record_value one = schema_value(1);
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change_put(&change, KV_META, record_key_slice(&schema), record_value_slice(&one));
    for (size_t i = 0; i < count; i++) {
        char id[PUSH_ID_MAX];
        snprintf(id, sizeof id, "%06zu", i);
        struct record_key key = push_key(id);
        change_put(&change, KV_PUSHES, record_key_slice(&key), value);
    }
    assert_ok(writer_submit(store->writer, &change, &err), &err);
    store_close(store);
}

static void what_was_promised_goes_on(void **state)
{
    for (int has_repository = 0; has_repository < 2; has_repository++) {
        struct push *pushes = NULL;
        leave_old(*state, 1, has_repository);
        for (int opened = 0; opened < 2; opened++) {
            struct store *store = open_store(*state);
            assert_int_equal(recorded_pushes(store, &pushes), 1);
            const struct push *push = &pushes[0];
            assert_string_equal(push->id, "000000");
            assert_int_equal(push->created_s, 0x55);
            assert_int_equal(push->targets[0].deadline_s, 0);
            assert_string_equal(push->repository, has_repository ? "r/a" : "");
            assert_int_equal(push->target_count, 2);
            assert_int_equal(push->targets[0].state, PUSH_QUEUED);
            assert_true(push->targets[0].stored && !push->targets[0].optional);
            assert_string_equal(push->targets[0].reference.tag, "t");
            assert_int_equal(push->targets[1].state, PUSH_PUSHED);
            assert_true(push->targets[1].stored && push->targets[1].optional);
            assert_int_equal(push->referrer_count, 1);
            assert_string_equal(push->referrers[0].tag, "s");
            assert_true(push_is_open(push));
            recorded_pushes_free(pushes, 1);
            store_close(store);
        }
    }
}

static void count_open(void *self, const struct open_target *open)
{
    (void)open;
    ++*(size_t *)self;
}

/* In several changes, the last of which a crash may have prevented. */
static void many_are_migrated(void **state)
{
    enum { MANY = 150 };
    struct error err = ERROR_INIT;
    size_t open = 0;
    leave_old(*state, MANY, true);
    struct store *store = open_store(*state);
    assert_ok(pushes_each_open(store, count_open, &open, &err), &err);
    assert_int_equal(open, MANY);
    assert_ok(store_migrate(store, 1, &err), &err);
    open = 0;
    assert_ok(pushes_each_open(store, count_open, &open, &err), &err);
    assert_int_equal(open, MANY);
    assert_code(store_migrate(store, 0, &err), ERR_STORE, &err);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_was_promised_goes_on),
        folder_test(many_are_migrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
