#include "tests/unit/store/store_test.h"

#include "store/known_locations.h"
#include "store/local/internal.h"

#include <pthread.h>

static struct known_location seen(const char *blob, const char *source, const char *hmac)
{
    struct known_location made = {.digest = digest_of_text(blob)};
    snprintf(made.source, sizeof made.source, "%s", source);
    snprintf(made.hmac, sizeof made.hmac, "%s", hmac);
    return made;
}

static void add(struct store *store, const char *layer, struct known_location location)
{
    struct error err = ERROR_INIT;
    struct digest diff_id = digest_of_text(layer);
    assert_ok(known_locations_add(store, &diff_id, &location, &err), &err);
}

static void drop(struct store *store, struct known_location location)
{
    struct error err = ERROR_INIT;
    assert_ok(known_locations_remove(store, &location, &err), &err);
}

/* The sources of a layer's locations, oldest first, with a space after each. */
static const char *sources(struct store *store, const char *layer)
{
    static char text[KNOWN_LOCATIONS_MAX * 32];
    struct error err = ERROR_INIT;
    struct digest diff_id = digest_of_text(layer);
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    assert_ok(known_locations_get(store, &diff_id, list, &err), &err);
    text[0] = '\0';
    for (size_t i = 0; i < list->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", list->items[i].source);
    return text;
}

static size_t count(struct store *store, const char *layer)
{
    size_t spaces = 0;
    for (const char *at = sources(store, layer); *at; at++)
        spaces += *at == ' ';
    return spaces;
}

static bool has_record(struct store *store, enum kv_table table, const char *text)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(text);
    struct record_key key = blob_key(&digest);
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, record_key_slice(&key), &value, &found, &err), &err);
    return found;
}

static void they_come_back_oldest_first(void **state)
{
    struct store *store = open_store(*state);
    assert_string_equal(sources(store, "layer"), "");
    add(store, "layer", seen("gzip", "r/a", ""));
    add(store, "layer", seen("zstd", "r/b", "0f"));
    add(store, "layer", seen("gzip", "r/c", ""));
    assert_string_equal(sources(store, "layer"), "r/a r/b r/c ");
    assert_string_equal(sources(store, "other layer"), "");
    struct error err = ERROR_INIT;
    struct digest diff_id = digest_of_text("layer");
    struct digest zstd = digest_of_text("zstd");
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    assert_ok(known_locations_get(store, &diff_id, list, &err), &err);
    assert_true(digest_equal(&list->items[1].digest, &zstd));
    assert_string_equal(list->items[1].hmac, "0f");
    store_close(store);
}

static void an_equal_one_moves_to_the_end(void **state)
{
    struct store *store = open_store(*state);
    add(store, "layer", seen("gzip", "r/a", ""));
    add(store, "layer", seen("gzip", "r/b", ""));
    add(store, "layer", seen("gzip", "r/a", ""));
    assert_string_equal(sources(store, "layer"), "r/b r/a ");
    /* Another digest or HMAC is another one. */
    add(store, "layer", seen("zstd", "r/b", ""));
    add(store, "layer", seen("gzip", "r/b", "0f"));
    assert_string_equal(sources(store, "layer"), "r/b r/a r/b r/b ");
    store_close(store);
}

static void the_youngest_added_again_is_not_written(void **state)
{
    struct store *store = open_store(*state);
    add(store, "layer", seen("gzip", "r/a", ""));
    uint64_t before = writer_counts(store->writer).accepted;
    add(store, "layer", seen("gzip", "r/a", ""));
    drop(store, seen("gzip", "r/b", ""));
    assert_int_equal(writer_counts(store->writer).accepted, before);
    store_close(store);
}

static void the_oldest_makes_room_for_the_51st(void **state)
{
    struct store *store = open_store(*state);
    for (int i = 1; i <= 51; i++) {
        char blob[16];
        char source[16];
        snprintf(blob, sizeof blob, "blob %d", i);
        snprintf(source, sizeof source, "r/%d", i);
        add(store, "layer", seen(blob, source, ""));
        assert_int_equal(count(store, "layer"), i <= 50 ? i : 50);
        bool first_is_there = strncmp(sources(store, "layer"), "r/1 ", 4) == 0;
        assert_int_equal(first_is_there, i <= 50);
    }
    assert_ptr_equal(strstr(sources(store, "layer"), "r/2 "), sources(store, "layer"));
    /* What fell out left nothing behind. */
    assert_false(has_record(store, KV_ASSOCIATED, "blob 1"));
    assert_true(has_record(store, KV_ASSOCIATED, "blob 2"));
    /* One that is there already drives nobody out. */
    add(store, "layer", seen("blob 2", "r/2", ""));
    assert_int_equal(count(store, "layer"), 50);
    assert_ptr_equal(strstr(sources(store, "layer"), "r/3 "), sources(store, "layer"));
    store_close(store);
}

static void one_is_found_by_its_digest_and_removed(void **state)
{
    struct store *store = open_store(*state);
    add(store, "layer", seen("gzip", "r/a", ""));
    add(store, "layer", seen("gzip", "r/b", ""));
    add(store, "other layer", seen("other", "r/a", ""));
    drop(store, seen("gzip", "r/a", "0f"));
    drop(store, seen("gzip", "r/c", ""));
    drop(store, seen("unheard of", "r/a", ""));
    assert_string_equal(sources(store, "layer"), "r/a r/b ");
    drop(store, seen("gzip", "r/a", ""));
    assert_string_equal(sources(store, "layer"), "r/b ");
    assert_string_equal(sources(store, "other layer"), "r/a ");
    store_close(store);
}

static void an_emptied_list_leaves_no_record(void **state)
{
    struct store *store = open_store(*state);
    add(store, "layer", seen("gzip", "r/a", ""));
    assert_true(has_record(store, KV_KNOWN_LOCATIONS, "layer"));
    assert_true(has_record(store, KV_ASSOCIATED, "gzip"));
    drop(store, seen("gzip", "r/a", ""));
    assert_false(has_record(store, KV_KNOWN_LOCATIONS, "layer"));
    assert_false(has_record(store, KV_ASSOCIATED, "gzip"));
    add(store, "layer", seen("gzip", "r/a", ""));
    assert_string_equal(sources(store, "layer"), "r/a ");
    store_close(store);
}

/* An uncompressed layer's digest is its diffID; an artifact's blob has no diffID. */
static void a_blob_can_stand_under_its_own_digest(void **state)
{
    struct store *store = open_store(*state);
    add(store, "blob", seen("blob", "r/a", ""));
    add(store, "blob", seen("blob", "r/b", ""));
    assert_false(has_record(store, KV_ASSOCIATED, "blob"));
    drop(store, seen("blob", "r/a", ""));
    assert_string_equal(sources(store, "blob"), "r/b ");
    /* The same blob as the layer of an image: both are found. */
    add(store, "layer", seen("blob", "r/b", ""));
    drop(store, seen("blob", "r/b", ""));
    assert_string_equal(sources(store, "blob"), "");
    assert_string_equal(sources(store, "layer"), "");
    store_close(store);
}

static void they_survive_a_restart(void **state)
{
    struct store *store = open_store(*state);
    add(store, "layer", seen("gzip", "r/a", "0f"));
    add(store, "layer", seen("gzip", "r/b", ""));
    store_close(store);
    store = open_store(*state);
    assert_string_equal(sources(store, "layer"), "r/a r/b ");
    drop(store, seen("gzip", "r/a", "0f"));
    assert_string_equal(sources(store, "layer"), "r/b ");
    store_close(store);
}

/* --- many pushes at once --- */

#define THREADS 8
#define EACH 6 /* THREADS * EACH is under the limit of a list */

struct pusher {
    struct store *store;
    pthread_t thread;
    int number;
    bool removes;
};

/* Every other location is taken back again at once where `removes` says so. */
static void *push(void *arg)
{
    struct pusher *pusher = arg;
    for (int i = 0; i < EACH; i++) {
        char source[32];
        snprintf(source, sizeof source, "r/%d-%d", pusher->number, i);
        add(pusher->store, "layer", seen("gzip", source, ""));
        if (pusher->removes && i % 2 == 1)
            drop(pusher->store, seen("gzip", source, ""));
    }
    return NULL;
}

static void run_pushers(struct store *store, bool remove)
{
    struct pusher pushers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pushers[i] = (struct pusher){.store = store, .number = i, .removes = remove};
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push, &pushers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(pushers[i].thread, NULL);
}

static void concurrent_pushes_lose_nothing(void **state)
{
    for (int removes = 0; removes <= 1; removes++) {
        struct store *store = open_store(*state);
        run_pushers(store, removes == 1);
        const char *all = sources(store, "layer");
        for (int i = 0; i < THREADS * EACH; i++) {
            char source[32];
            snprintf(source, sizeof source, "r/%d-%d ", i / EACH, i % EACH);
            bool wanted = !removes || i % EACH % 2 == 0;
            if ((strstr(all, source) != NULL) != wanted)
                fail_msg("%s is %s: %s", source, wanted ? "lost" : "still there", all);
        }
        for (int i = 0; i < THREADS * EACH; i++) {
            char source[32];
            snprintf(source, sizeof source, "r/%d-%d", i / EACH, i % EACH);
            drop(store, seen("gzip", source, ""));
        }
        assert_false(has_record(store, KV_KNOWN_LOCATIONS, "layer"));
        store_close(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(they_come_back_oldest_first),
        folder_test(an_equal_one_moves_to_the_end),
        folder_test(the_youngest_added_again_is_not_written),
        folder_test(the_oldest_makes_room_for_the_51st),
        folder_test(one_is_found_by_its_digest_and_removed),
        folder_test(an_emptied_list_leaves_no_record),
        folder_test(a_blob_can_stand_under_its_own_digest),
        folder_test(they_survive_a_restart),
        folder_test(concurrent_pushes_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
