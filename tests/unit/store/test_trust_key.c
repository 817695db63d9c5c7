#include "tests/unit/store/store_test.h"

#include "store/trust_key.h"

#include <pthread.h>
#include <stdatomic.h>

static atomic_int made;

static enum errc make(char **text, struct error *err)
{
    (void)err;
    *text = xasprintf("key %d\n", atomic_fetch_add(&made, 1) + 1);
    return ERR_OK;
}

static enum errc make_none(char **text, struct error *err)
{
    (void)text;
    return (fail)(err, ERR_INTERNAL, 0, "no key today"); /* not the macro of cmocka */
}

static char *get(struct store *store)
{
    struct error err = ERROR_INIT;
    char *text = NULL;
    assert_ok(trust_key_get(store, make, &text, &err), &err);
    return text;
}

static void a_key_is_made_once(void **state)
{
    made = 0;
    struct store *store = open_store(*state);
    autofree char *first = get(store);
    autofree char *second = get(store);
    store_close(store);
    assert_string_equal(first, "key 1\n");
    assert_string_equal(second, first);

    autofree char *path = xasprintf("%s/trust_key.pem", (const char *)*state);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_nlink, 1);

    store = open_store(*state);
    autofree char *third = get(store);
    store_close(store);
    assert_string_equal(third, first);
    assert_int_equal(made, 1);
}

static void *get_on_a_thread(void *store)
{
    return get(store);
}

static void all_who_ask_at_once_get_the_same(void **state)
{
    struct store *store = open_store(*state);
    pthread_t threads[8];
    char *keys[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_on_a_thread, store), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], (void **)&keys[i]), 0);
    for (size_t i = 1; i < 8; i++)
        assert_string_equal(keys[i], keys[0]);
    for (size_t i = 0; i < 8; i++)
        free(keys[i]);
    store_close(store);
}

static void failures_leave_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    char *text = NULL;
    assert_code(trust_key_get(store, make_none, &text, &err), ERR_INTERNAL, &err);
    assert_null(text);

    /* What stands under its name but is no file is not taken for a key. */
    autofree char *path = xasprintf("%s/trust_key.pem", (const char *)*state);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_code(trust_key_get(store, make, &text, &err), ERR_IO, &err);
    assert_int_equal(unlink(path), 0);
    autofree char *key = get(store);
    assert_non_null(key);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_key_is_made_once),
        folder_test(all_who_ask_at_once_get_the_same),
        folder_test(failures_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
