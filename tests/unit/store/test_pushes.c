#include "tests/unit/store/store_test.h"

#include "base/clock.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open_in_boot(folder, &options, boot, &store, &err), &err);
    return store;
}

static struct batch *begin(struct store *store, enum durability durability)
{
    struct batch *batch = batch_begin(store, durability);
    return batch;
}

/* A text of this size that ends with the number, so that no two are the same. */
static void fill(char *text, size_t size, size_t number)
{
    memset(text, 'x', size);
    snprintf(text + size - 4, 5, "%04zu", number);
}

static struct digest bring(struct batch *batch, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    return digest;
}

static struct descriptor manifest_of(const struct digest *digest)
{
    struct descriptor manifest = {.digest = *digest, .size = 123};
    strcpy(manifest.media_type, MEDIA_OCI_MANIFEST);
    return manifest;
}

static struct reference parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static void add_target(struct push *push, const char *text, bool optional, bool stored)
{
    struct error err = ERROR_INIT;
    const struct reference reference = parse(text);
    assert_ok(push_add_target(push, &reference, optional, stored, &err), &err);
}

static struct push push_of(const char *id, const struct digest *manifest)
{
    struct push push = {.created_s = 1700000000, .manifest = manifest_of(manifest)};
    strcpy(push.id, id);
    add_target(&push, "r.example.com/team/app:1.0", false, true);
    add_target(&push, "[::1]:5000/app:2", true, true);
    push.targets[1].state = PUSH_FAILED;
    push.targets[1].reference.digest = *manifest;
    return push;
}

static void expect_same_manifest(const struct descriptor *a, const struct descriptor *b)
{
    assert_true(digest_equal(&a->digest, &b->digest));
    assert_true(a->size == b->size);
    assert_string_equal(a->media_type, b->media_type);
}

/* All of its targets are stored. */
static void expect_same(const struct push *a, const struct push *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->repository, b->repository);
    assert_true(a->created_s == b->created_s);
    expect_same_manifest(&a->manifest, &b->manifest);
    assert_int_equal(a->target_count, b->target_count);
    for (size_t i = 0; i < a->target_count; i++) {
        const struct push_target *one = &a->targets[i];
        const struct push_target *other = &b->targets[i];
        assert_string_equal(one->reference.host, other->reference.host);
        assert_string_equal(one->reference.path, other->reference.path);
        assert_string_equal(one->reference.tag, other->reference.tag);
        assert_true(digest_equal(&one->reference.digest, &other->reference.digest));
        assert_int_equal(one->optional, other->optional);
        assert_int_equal(one->stored, other->stored);
        assert_int_equal(one->state, other->state);
    }
    assert_int_equal(a->referrer_count, b->referrer_count);
    for (size_t i = 0; i < a->referrer_count; i++) {
        expect_same_manifest(&a->referrers[i].manifest, &b->referrers[i].manifest);
        assert_string_equal(a->referrers[i].tag, b->referrers[i].tag);
    }
}

static struct push *list(struct store *store, size_t expected)
{
    struct error err = ERROR_INIT;
    struct push *pushes = NULL;
    size_t count = 99;
    assert_ok(pushes_list(store, &pushes, &count, &err), &err);
    assert_int_equal(count, expected);
    return pushes;
}

static void free_list(struct push *pushes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        push_deinit(&pushes[i]);
    free(pushes);
}

static void a_promise_comes_with_its_image(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    free_list(list(store, 0), 0);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    struct push push = push_of("", &digest);
    uint64_t before_s = (uint64_t)clock_wall_s();
    batch_put_push(batch, &push);
    free_list(list(store, 0), 0);
    assert_string_equal(push.id, "");
    assert_ok(batch_commit(batch, &err), &err);
    assert_int_equal(strlen(push.id), CHANGE_NUMBER_HEX + PUSH_SUFFIX_SIZE);
    assert_in_range(push.created_s, before_s, (uint64_t)clock_wall_s());
    store_close(store);

    store = open_boot(*state, "another boot");
    struct push *pushes = list(store, 1);
    expect_same(&pushes[0], &push);
    free_list(pushes, 1);
    push_deinit(&push);
    store_close(store);
}

static void a_promise_of_what_is_not_held_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest unknown = digest_of_text("unknown");
    struct push push = push_of("", &unknown);
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_push(batch, &push);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    push_deinit(&push);

    batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    const struct descriptor referrer = manifest_of(&unknown);
    push = push_of("", &digest);
    error_clear(&err);
    assert_ok(push_add_referrer(&push, &referrer, "", &err), &err);
    batch_put_push(batch, &push);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    push_deinit(&push);

    batch = begin(store, BATCH_DURABLE);
    digest = bring(batch, "manifest");
    push = push_of("", &digest);
    batch_put_push(batch, &push);
    batch_abort(batch);
    assert_string_equal(push.id, "");
    push_deinit(&push);
    free_list(list(store, 0), 0);
    store_close(store);
}

/* What was pushed before the answer is no promise. */
static void only_targets_that_are_pushed_later_are_recorded(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    struct push push = {.manifest = manifest_of(&digest)};
    add_target(&push, "r.example.com/a:1", false, false);
    add_target(&push, "r.example.com/b:1", true, true);
    add_target(&push, "r.example.com/c:1", false, false);
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    struct push *pushes = list(store, 1);
    assert_int_equal(pushes[0].target_count, 1);
    assert_string_equal(pushes[0].targets[0].reference.path, "b");
    assert_true(pushes[0].targets[0].stored && pushes[0].targets[0].optional);
    free_list(pushes, 1);
    push_deinit(&push);
    store_close(store);
}

static void records_are_replaced_and_removed(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    struct push first = push_of("0001", &digest);
    struct push second = push_of("0002", &digest);
    assert_ok(pushes_put(store, &second, &err), &err);
    assert_ok(pushes_put(store, &first, &err), &err);
    first.targets[0].state = PUSH_PUSHED;
    assert_ok(pushes_put(store, &first, &err), &err);
    struct push *pushes = list(store, 2);
    expect_same(&pushes[0], &first);
    expect_same(&pushes[1], &second);
    free_list(pushes, 2);
    assert_ok(pushes_remove(store, "0001", &err), &err);
    assert_ok(pushes_remove(store, "0001", &err), &err);
    pushes = list(store, 1);
    expect_same(&pushes[0], &second);
    free_list(pushes, 1);
    push_deinit(&first);
    push_deinit(&second);
    store_close(store);
}

/* --- ids --- */

static void put_push(struct store *store, struct push *push)
{
    struct error err = ERROR_INIT;
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    *push = (struct push){.manifest = manifest_of(&digest)};
    add_target(push, "r.example.com/a:1", false, true);
    batch_put_push(batch, push);
    assert_ok(batch_commit(batch, &err), &err);
}

static void expect_ascending(const struct push *pushes, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(pushes[i - 1].id, pushes[i].id) >= 0)
            fail_msg("%s is before %s", pushes[i - 1].id, pushes[i].id);
}

/* Recorded or not, within one millisecond or not. */
static void ids_ascend_as_pushes_are_accepted(void **state)
{
    enum { COUNT = 60 };
    struct store *store = open_store(*state);
    struct push pushes[COUNT] = {{.id = ""}};
    size_t recorded = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t before_s = (uint64_t)clock_wall_s();
        if (i % 3 == 0)
            put_push(store, &pushes[i]);
        else
            pushes_accept(store, &pushes[i]);
        recorded += i % 3 == 0;
        assert_int_equal(strlen(pushes[i].id), CHANGE_NUMBER_HEX + PUSH_SUFFIX_SIZE);
        assert_in_range(pushes[i].created_s, before_s, (uint64_t)clock_wall_s());
    }
    expect_ascending(pushes, COUNT);
    struct push *held = list(store, recorded);
    for (size_t i = 0; i < recorded; i++)
        assert_string_equal(held[i].id, pushes[3 * i].id);
    free_list(held, recorded);
    for (size_t i = 0; i < COUNT; i++)
        push_deinit(&pushes[i]);
    store_close(store);
}

/* The number of an id is the time; what follows cannot be guessed. */
static void ids_are_not_guessed(void **state)
{
    struct store *store = open_store(*state);
    struct push pushes[2] = {{.id = ""}};
    uint64_t before_ms = (uint64_t)clock_wall_ms();
    pushes_accept(store, &pushes[0]);
    pushes_accept(store, &pushes[1]);
    char number[CHANGE_NUMBER_HEX + 1] = "";
    memcpy(number, pushes[0].id, CHANGE_NUMBER_HEX);
    assert_in_range(strtoull(number, NULL, 16), before_ms, (uint64_t)clock_wall_ms() + 1);
    assert_string_not_equal(pushes[0].id + CHANGE_NUMBER_HEX, pushes[1].id + CHANGE_NUMBER_HEX);
    store_close(store);
}

/* A record of a push that was accepted when the clock said so much more than now. */
static void a_clock_that_was_set_back_changes_no_order(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    char id[PUSH_ID_MAX];
    push_id_make((uint64_t)clock_wall_ms() + 3600000, "0123456789ab", id);
    struct push pushes[4] = {push_of(id, &digest)};
    assert_ok(pushes_put(store, &pushes[0], &err), &err);
    store_close(store);

    store = open_store(*state);
    free_list(list(store, 1), 1);
    put_push(store, &pushes[1]);
    pushes_accept(store, &pushes[2]);
    put_push(store, &pushes[3]);
    expect_ascending(pushes, 4);
    struct push *held = list(store, 3);
    assert_string_equal(held[0].id, pushes[0].id);
    assert_string_equal(held[1].id, pushes[1].id);
    assert_string_equal(held[2].id, pushes[3].id);
    free_list(held, 3);
    for (size_t i = 0; i < 4; i++)
        push_deinit(&pushes[i]);
    store_close(store);
}

struct acceptor {
    struct store *store;
    pthread_t thread;
    struct push pushes[20];
    bool records;
};

static void *accept_many(void *arg)
{
    struct acceptor *acceptor = arg;
    for (size_t i = 0; i < 20; i++)
        if (acceptor->records)
            put_push(acceptor->store, &acceptor->pushes[i]);
        else
            pushes_accept(acceptor->store, &acceptor->pushes[i]);
    return NULL;
}

static void no_two_pushes_have_one_number(void **state)
{
    enum { THREADS = 4 };
    struct store *store = open_store(*state);
    struct acceptor *acceptors = xcalloc(THREADS, sizeof *acceptors);
    for (size_t i = 0; i < THREADS; i++) {
        acceptors[i].store = store;
        acceptors[i].records = i % 2 == 0;
        pthread_create(&acceptors[i].thread, NULL, accept_many, &acceptors[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(acceptors[i].thread, NULL);
        expect_ascending(acceptors[i].pushes, 20);
    }
    for (size_t i = 0; i < 20 * THREADS; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(0,
                                 strncmp(acceptors[i / 20].pushes[i % 20].id,
                                         acceptors[j / 20].pushes[j % 20].id, CHANGE_NUMBER_HEX));
    for (size_t i = 0; i < 20 * THREADS; i++)
        push_deinit(&acceptors[i / 20].pushes[i % 20]);
    free(acceptors);
    store_close(store);
}

/* --- the longest, and the broken --- */

/* Of so many targets and referrers, each with the longest texts there are. */
static struct push longest(size_t targets, size_t referrers, const struct digest *manifest)
{
    struct push push = {.created_s = UINT64_MAX, .manifest.digest = *manifest};
    fill(push.id, PUSH_ID_MAX - 1, 1);
    fill(push.manifest.media_type, MEDIA_TYPE_MAX - 1, 1);
    fill(push.repository, REPOSITORY_NAME_MAX, 1);
    push.manifest.size = UINT64_MAX;
    push.targets = xcalloc(targets, sizeof *push.targets);
    push.target_count = targets;
    for (size_t i = 0; i < targets; i++) {
        struct push_target *target = &push.targets[i];
        target->state = PUSH_SUPERSEDED;
        target->stored = true;
        fill(target->reference.host, 100, i);
        fill(target->reference.path, REFERENCE_NAME_MAX - 101, i);
        fill(target->reference.tag, REFERENCE_TAG_MAX, i);
        target->reference.digest = digest_of(DIGEST_SHA512, &i, sizeof i);
    }
    push.referrers = xcalloc(referrers, sizeof *push.referrers);
    push.referrer_count = referrers;
    for (size_t i = 0; i < referrers; i++) {
        push.referrers[i].manifest = push.manifest;
        fill(push.referrers[i].tag, REFERENCE_TAG_MAX, i);
    }
    return push;
}

/* As many as a push may have (store/push.h), which is asserted. */
static void the_most_targets_and_referrers_fit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    for (size_t less = 0; less <= 1; less++) {
        size_t targets = PUSH_TARGETS_MAX - less;
        size_t referrers = REFERRERS_MAX - less;
        struct push pushes[] = {longest(targets, 0, &manifest), longest(0, referrers, &manifest),
                                longest(targets, referrers, &manifest)};
        for (size_t i = 0; i < 3; i++) {
            assert_ok(pushes_put(store, &pushes[i], &err), &err);
            struct push *got = list(store, 1);
            expect_same(&got[0], &pushes[i]);
            free_list(got, 1);
            push_deinit(&pushes[i]);
        }
    }
    store_close(store);
}

static void the_most_referrers_come_with_their_image(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    struct push push = push_of("", &digest);
    for (size_t i = 0; i < REFERRERS_MAX; i++) {
        char content[8];
        snprintf(content, sizeof content, "%zu", i);
        struct digest referrer = bring(batch, content);
        const struct descriptor manifest = manifest_of(&referrer);
        assert_ok(push_add_referrer(&push, &manifest, "", &err), &err);
    }
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    struct push *pushes = list(store, 1);
    expect_same(&pushes[0], &push);
    free_list(pushes, 1);
    push_deinit(&push);
    store_close(store);
}

static void the_longest_value_is_what_is_said(void **state)
{
    (void)state;
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    struct push push = longest(PUSH_TARGETS_MAX, REFERRERS_MAX, &manifest);
    autofree uint8_t *value = NULL;
    assert_int_equal(push_value(&push, &value), PUSH_VALUE_MAX);
    push_deinit(&push);
}

/* Whatever byte is missing or wrong, nothing is read beyond, leaked or guessed. */
static void damaged_records_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of_text("manifest");
    struct push push = push_of("0001", &manifest);
    assert_ok(push_add_referrer(&push, &push.manifest, "tag", &err), &err);
    strcpy(push.repository, "app");
    struct record_key key = push_key(push.id);
    autofree uint8_t *value = NULL;
    size_t size = push_value(&push, &value);
    struct push got;
    for (size_t cut = 0; cut < size; cut++) {
        autofree uint8_t *copy = xmalloc(cut + 1);
        memcpy(copy, value, cut);
        struct kv_slice slice = {copy, cut};
        if (cut + strlen("app") + 1 ==
            size) { /* as earlier versions wrote it, without repository */
            assert_ok(push_decode(record_key_slice(&key), slice, &got, &err), &err);
            assert_string_equal(got.repository, "");
            push_deinit(&got);
            continue;
        }
        assert_code(push_decode(record_key_slice(&key), slice, &got, &err), ERR_STORE, &err);
    }
    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            value[at] ^= (uint8_t)(1u << bit);
            if (push_decode(record_key_slice(&key), (struct kv_slice){value, size}, &got, &err) ==
                ERR_OK)
                push_deinit(&got);
            value[at] ^= (uint8_t)(1u << bit);
        }
    struct kv_slice whole = {value, size};
    uint8_t *longer = xmalloc(size + 1);
    memcpy(longer, value, size);
    longer[size] = 0;
    assert_code(
        push_decode(record_key_slice(&key), (struct kv_slice){longer, size + 1}, &got, &err),
        ERR_STORE, &err);
    free(longer);
    value[0] = 2;
    assert_code(push_decode(record_key_slice(&key), whole, &got, &err), ERR_STORE, &err);
    push_deinit(&push);
}

/* A record of the most, to which one is added by hand: the first once more. */
static void expect_too_many(size_t targets, size_t referrers)
{
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    struct push push = longest(targets, referrers, &manifest);
    struct push got;
    struct record_key key = push_key(push.id);
    autofree uint8_t *value = NULL;
    size_t size = push_value(&push, &value);
    size_t count = targets + referrers;
    size_t item = (size - 1 - 8 - PUSH_MANIFEST_SIZE_MAX - 4) / count;
    size_t at = 1 + 8 + PUSH_MANIFEST_SIZE_MAX + (targets > 0 ? 0 : 2);
    autofree uint8_t *longer = xmalloc(size + item);
    assert_int_equal(value[at] << 8 | value[at + 1], count);
    memcpy(longer, value, at);
    longer[at] = (uint8_t)((count + 1) >> 8);
    longer[at + 1] = (uint8_t)(count + 1);
    memcpy(longer + at + 2, value + at + 2, item);
    memcpy(longer + at + 2 + item, value + at + 2, size - at - 2);
    const struct kv_slice slice = {longer, size + item};
    assert_code(push_decode(record_key_slice(&key), slice, &got, &err), ERR_STORE, &err);
    push_deinit(&push);
}

static void records_of_too_many_are_refused(void **state)
{
    (void)state;
    expect_too_many(PUSH_TARGETS_MAX, 0);
    expect_too_many(0, REFERRERS_MAX);
}

static void what_was_not_promised_goes_with_its_image(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot 1");
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest lost = bring(batch, "lost");
    struct push push = push_of("", &lost);
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    push_deinit(&push);

    /* A durable promise makes durable what it is of, whatever brought that. */
    batch = begin(store, BATCH_VOLATILE);
    struct digest kept = bring(batch, "kept");
    assert_ok(batch_commit(batch, &err), &err);
    batch = begin(store, BATCH_DURABLE);
    push = push_of("", &kept);
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    store_close(store);

    store = open_boot(*state, "boot 2");
    struct push *pushes = list(store, 1);
    expect_same(&pushes[0], &push);
    free_list(pushes, 1);
    autoblob struct blob blob = BLOB_INIT;
    assert_ok(blob_open(store, &kept, &blob, &err), &err);
    push_deinit(&push);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_promise_comes_with_its_image),
        folder_test(a_promise_of_what_is_not_held_is_refused),
        folder_test(only_targets_that_are_pushed_later_are_recorded),
        folder_test(records_are_replaced_and_removed),
        folder_test(ids_ascend_as_pushes_are_accepted),
        folder_test(ids_are_not_guessed),
        folder_test(a_clock_that_was_set_back_changes_no_order),
        folder_test(no_two_pushes_have_one_number),
        folder_test(the_most_targets_and_referrers_fit),
        folder_test(the_most_referrers_come_with_their_image),
        cmocka_unit_test(the_longest_value_is_what_is_said),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test(records_of_too_many_are_refused),
        folder_test(what_was_not_promised_goes_with_its_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
