#include "tests/unit/store/pushes_test.h"

#include "base/clock.h"
#include "store/local/internal.h"
#include "store/local/kv/kv_room.h"
#include "store/local/records_pushes.h"
#include "store/repositories.h"

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open_in_boot(folder, &options, boot, &store, &err), &err);
    return store;
}

/* A text of this size that ends with the number, so that no two are the same. */
static void fill(char *text, size_t size, size_t number)
{
    memset(text, 'x', size);
    snprintf(text + size - 4, 5, "%04zu", number);
}

static void expect_same_manifest(const struct descriptor *a, const struct descriptor *b)
{
    assert_true(digest_equal(&a->digest, &b->digest));
    assert_true(a->size == b->size);
    assert_string_equal(a->media_type, b->media_type);
}

static void expect_same(const struct push *a, const struct push *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->repository, b->repository);
    assert_string_equal(a->via, b->via);
    assert_string_equal(a->by.kind, b->by.kind);
    assert_string_equal(a->by.name, b->by.name);
    assert_true(a->created_s == b->created_s);
    assert_true(digest_equal(&a->config, &b->config));
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
        assert_string_equal(one->name, other->name);
        assert_int_equal(one->converged, other->converged);
        assert_true(digest_equal(&one->was, &other->was));
        assert_int_equal(one->tries, other->tries);
        assert_true(one->deadline_s == other->deadline_s);
        assert_true(one->first_s == other->first_s && one->next_s == other->next_s &&
                    one->ended_s == other->ended_s);
        assert_true(digest_equal(&one->digest, &other->digest) && one->size == other->size);
        assert_string_equal(one->media_type, other->media_type);
        assert_memory_equal(&one->layers, &other->layers, sizeof one->layers);
        assert_true(one->bytes_uploaded == other->bytes_uploaded);
        assert_int_equal(one->attempts, other->attempts);
        assert_int_equal(one->error.code, other->error.code);
        assert_int_equal(one->error.status, other->error.status);
        assert_string_equal(one->error.text, other->error.text);
    }
    assert_int_equal(a->referrer_count, b->referrer_count);
    for (size_t i = 0; i < a->referrer_count; i++) {
        expect_same_manifest(&a->referrers[i].manifest, &b->referrers[i].manifest);
        assert_string_equal(a->referrers[i].tag, b->referrers[i].tag);
    }
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

/* What is pushed before the answer is no promise: nobody begins it again. */
static void what_is_pushed_after_the_answer_is_open(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    struct push push = {.manifest = manifest_of(&digest)};
    add_target(&push, "r.example.com/a:1", false, false);
    add_target(&push, "r.example.com/b:1", true, true);
    add_target(&push, "r.example.com/c:1", false, false);
    add_target(&push, "r.example.com/d:1", false, true);
    push.targets[1].deadline_s = push.targets[3].deadline_s = 77;
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    struct push *pushes = list(store, 1);
    expect_same(&pushes[0], &push);
    free_list(pushes, 1);
    struct open_list open = open_targets(store);
    assert_int_equal(open.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(open.items[i].id, push.id);
        assert_int_equal(open.items[i].index, 2 * i + 1);
        assert_int_equal(open.items[i].target.deadline_s, 77);
        assert_string_equal(open.items[i].target.reference.path, i ? "d" : "b");
    }
    push_deinit(&push);
    store_close(store);
}

/* Each by itself, whatever becomes of the others. */
static void targets_end_by_themselves(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    struct push push = push_of("0001", &digest);
    push.targets[1].state = PUSH_QUEUED;
    assert_ok(pushes_put(store, &push, true, &err), &err);
    assert_int_equal(open_targets(store).count, 2);
    struct push_target *target = &push.targets[0];
    const struct push_change change = {"0001", 0, target};
    target->state = PUSH_WAITING;
    target->next_s = 5;
    target->tries = 3;
    target->first_s = 1;
    strcpy(target->name, "site-2");
    target->error = (struct error){.code = ERR_CONNECT, .text = "nobody is there"};
    assert_ok(pushes_change(store, &change, 1, false, &err), &err);
    struct open_list open = open_targets(store);
    assert_int_equal(open.count, 2);
    assert_int_equal(open.items[0].target.state, PUSH_WAITING);
    assert_int_equal(open.items[0].target.next_s, 5);
    assert_int_equal(open.items[0].target.tries, 3);
    assert_string_equal(open.items[0].target.name, "site-2");
    assert_int_equal(open.items[0].target.error.code, ERR_CONNECT);
    assert_string_equal(open.items[0].target.error.text, "nobody is there");
    target->state = PUSH_PUSHED;
    target->converged = true;
    target->digest = digest;
    target->size = 9;
    target->ended_s = 6;
    target->layers = (struct push_layers){1, 2, 3, 4};
    target->bytes_uploaded = UINT64_MAX;
    target->attempts = 5;
    strcpy(target->media_type, "a/b");
    error_clear(&target->error);
    /* Also where nothing new has room. */
    kv_room(store->kv)->size_bytes = kv_room_used(kv_room(store->kv));
    assert_code(pushes_put(store, &push, true, &err), ERR_STORE_FULL, &err);
    error_clear(&err);
    assert_ok(pushes_change(store, &change, 1, true, &err), &err);
    open = open_targets(store);
    assert_int_equal(open.count, 1);
    assert_int_equal(open.items[0].index, 1);
    struct push *got = list(store, 1);
    expect_same(&got[0], &push);
    free_list(got, 1);
    push_deinit(&push);
    store_close(store);
}

/* A page after the other, youngest first. */
static void pages_are_read_backwards(void **state)
{
    enum { COUNT = 7, PAGE = 3 };
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    for (int i = 0; i < COUNT; i++) {
        char id[PUSH_ID_MAX];
        snprintf(id, sizeof id, "%04d", i);
        struct push push = push_of(id, &digest);
        assert_ok(pushes_put(store, &push, false, &err), &err);
        push_deinit(&push);
    }
    char before[PUSH_ID_MAX] = "";
    size_t seen = 0;
    for (size_t count = PAGE; count == PAGE;) {
        struct push page[PAGE];
        assert_ok(pushes_before(store, before, page, PAGE, &count, &err), &err);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(atoi(page[i].id), COUNT - 1 - (int)seen++);
            memcpy(before, page[i].id, sizeof before);
            push_deinit(&page[i]);
        }
    }
    assert_int_equal(seen, COUNT);
    struct push one;
    size_t count = 9;
    assert_ok(pushes_before(store, "0000", &one, 1, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_ok(pushes_before(store, "00035", &one, 1, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(one.id, "0003");
    push_deinit(&one);
    store_close(store);
}

static void records_are_replaced_and_removed(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    struct push first = push_of("0001", &digest);
    struct push second = push_of("0002", &digest);
    assert_ok(pushes_put(store, &second, true, &err), &err);
    assert_ok(pushes_put(store, &first, true, &err), &err);
    first.targets[0].state = PUSH_PUSHED;
    assert_ok(pushes_put(store, &first, true, &err), &err);
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

/* --- the longest, and the broken --- */

/* Of so many targets and referrers, each with the longest texts there are. */
static struct push longest(size_t targets, size_t referrers, const struct digest *manifest)
{
    struct push push = {.created_s = UINT64_MAX, .manifest.digest = *manifest, .config = *manifest};
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
        target->digest = target->was = *manifest;
        fill(target->name, TARGET_NAME_MAX, i);
        fill(target->media_type, MEDIA_TYPE_MAX - 1, i);
        target->error.code = ERR_PUSHED_DIGEST;
        target->error.status = 502;
        fill(target->error.text, ERROR_TEXT_MAX - 1, i);
    }
    fill(push.via, VIA_TEXT_MAX, 0);
    fill(push.by.kind, PUSH_BY_KIND_MAX, 0);
    fill(push.by.name, PUSH_BY_NAME_MAX, 0);
    push.referrers = xcalloc(referrers, sizeof *push.referrers);
    push.referrer_count = referrers;
    for (size_t i = 0; i < referrers; i++) {
        push.referrers[i].manifest = push.manifest;
        fill(push.referrers[i].tag, REFERENCE_TAG_MAX, i);
    }
    return push;
}

static void tag(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct manifest_entry entry = {
        .repository = "team/app", .tag = "1.0", .manifest = {.digest = *digest, .size = 123}};
    strcpy(entry.manifest.media_type, MEDIA_OCI_MANIFEST);
    batch_put_manifest(batch, &entry);
    assert_ok(batch_commit(batch, &err), &err);
}

/* A push of what is held is accepted as long as the tag is what it was looked at as. */
static void what_is_held_is_accepted_while_it_has_its_tag(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digests[] = {bring(batch, "one"), bring(batch, "two")};
    assert_ok(batch_commit(batch, &err), &err);
    tag(store, &digests[0]);
    struct push push = push_of("", &digests[0]);
    bool current = false;
    assert_ok(pushes_put_held(store, &push, "team/app", "1.0", &current, &err), &err);
    assert_true(current);
    struct push *pushes = list(store, 1);
    expect_same(&pushes[0], &push);
    free_list(pushes, 1);
    assert_true(push.created_s + 60 > (uint64_t)clock_wall_s());
    tag(store, &digests[1]);
    assert_ok(pushes_put_held(store, &push, "team/app", "1.0", &current, &err), &err);
    assert_false(current);
    assert_ok(pushes_put_held(store, &push, "team/app", "2.0", &current, &err), &err);
    assert_false(current);
    free_list(list(store, 1), 1);
    push_deinit(&push);
    store_close(store);
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
            assert_ok(pushes_put(store, &pushes[i], true, &err), &err);
            struct push *got = list(store, 1);
            expect_same(&got[0], &pushes[i]);
            free_list(got, 1);
            assert_ok(pushes_remove(store, pushes[i].id, &err), &err);
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

static void the_longest_values_are_what_is_said(void **state)
{
    (void)state;
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    struct push push = longest(1, REFERRERS_MAX, &manifest);
    struct push_target_value target;
    autofree uint8_t *value = NULL;
    assert_int_equal(push_value(&push, &value), PUSH_VALUE_MAX);
    push_target_value(&push.targets[0], &target);
    assert_int_equal(target.size, PUSH_TARGET_VALUE_MAX - ERROR_NAME_MAX +
                                      strlen(error_name(push.targets[0].error.code)));
    push_deinit(&push);
    for (int code = 0; code < ERR_COUNT_; code++)
        assert_true(strlen(error_name((enum errc)code)) <= ERROR_NAME_MAX);
}

/* Of a push, or a target: whatever byte is missing, wrong or too much, nothing is read beyond,
 * leaked or guessed. */
static enum errc read_any(struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct push push;
    struct push_target target;
    if (key.size == 0)
        return push_target_decode(value, &target, err);
    if (push_decode(key, value, &push, err) == ERR_OK)
        push_deinit(&push);
    return err->code;
}

static void damage(struct kv_slice key, const uint8_t *value, size_t size)
{
    struct error err = ERROR_INIT;
    for (size_t cut = 0; cut < size; cut++) {
        autofree uint8_t *copy = xmalloc(cut + 1);
        memcpy(copy, value, cut);
        error_clear(&err);
        assert_code(read_any(key, (struct kv_slice){copy, cut}, &err), ERR_STORE, &err);
    }
    autofree uint8_t *copy = xmalloc(size + 1);
    memcpy(copy, value, size);
    copy[size] = 0;
    error_clear(&err);
    assert_code(read_any(key, (struct kv_slice){copy, size + 1}, &err), ERR_STORE, &err);
    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            copy[at] ^= (uint8_t)(1u << bit);
            error_clear(&err);
            read_any(key, (struct kv_slice){copy, size}, &err);
            copy[at] ^= (uint8_t)(1u << bit);
        }
    copy[0] = 99;
    error_clear(&err);
    assert_code(read_any(key, (struct kv_slice){copy, size}, &err), ERR_STORE, &err);
}

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
    damage(record_key_slice(&key), value, size);
    struct push_target_value target;
    push.targets[0].digest = manifest;
    push.targets[0].error = (struct error){.code = ERR_CONNECT, .text = "nobody is there"};
    push_target_value(&push.targets[0], &target);
    damage((struct kv_slice){NULL, 0}, target.bytes, target.size);
    push_deinit(&push);
}

/* Records of a version before this one, which are written still where they say all. */
static void a_record_has_the_first_version_that_says_it(void **state)
{
    static const struct {
        const char *via, *kind, *name;
        uint8_t version;
    } cases[] = {{"", "", "", 2},
                 {"0123456789abcdef", "", "", 3},
                 {"", "operator", "", 4},
                 {"0123456789abcdef", "user", "ann", 4}};
    (void)state;
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of_text("manifest");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct push got;
        autofree uint8_t *value = NULL;
        struct push push = push_of("0001", &manifest);
        push.target_count = 0;
        strcpy(push.via, cases[i].via);
        strcpy(push.by.kind, cases[i].kind);
        strcpy(push.by.name, cases[i].name);
        struct record_key key = push_key(push.id);
        size_t size = push_value(&push, &value);
        assert_int_equal(value[0], cases[i].version);
        assert_ok(push_decode(record_key_slice(&key), (struct kv_slice){value, size}, &got, &err),
                  &err);
        expect_same(&got, &push);
        push_deinit(&got);
        value[0] = 5;
        assert_code(push_decode(record_key_slice(&key), (struct kv_slice){value, size}, &got, &err),
                    ERR_STORE, &err);
        error_clear(&err);
        push_deinit(&push);
    }
}

/* A record with a count of one more than there may be. */
static void records_of_too_many_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    struct push push = longest(PUSH_TARGETS_MAX, 0, &manifest);
    struct push got;
    push.via[0] = push.by.kind[0] = '\0';
    struct record_key key = push_key(push.id);
    autofree uint8_t *value = NULL;
    size_t size = push_value(&push, &value);
    uint8_t *targets = value + size - 4;
    assert_int_equal(targets[0] << 8 | targets[1], PUSH_TARGETS_MAX);
    targets[1]++;
    assert_code(push_decode(record_key_slice(&key), (struct kv_slice){value, size}, &got, &err),
                ERR_STORE, &err);
    push_deinit(&push);
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
        folder_test(what_is_pushed_after_the_answer_is_open),
        folder_test(targets_end_by_themselves),
        folder_test(pages_are_read_backwards),
        folder_test(records_are_replaced_and_removed),
        folder_test(what_is_held_is_accepted_while_it_has_its_tag),
        folder_test(the_most_targets_and_referrers_fit),
        folder_test(the_most_referrers_come_with_their_image),
        cmocka_unit_test(the_longest_values_are_what_is_said),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test(records_of_too_many_are_refused),
        cmocka_unit_test(a_record_has_the_first_version_that_says_it),
        folder_test(what_was_not_promised_goes_with_its_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
