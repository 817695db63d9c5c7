#include "tests/unit/store/repositories_test.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/backup.h"
#include "store/collect.h"
#include "store/health.h"
#include "store/layers.h"
#include "store/local/blob_files.h"
#include "store/local/leases.h"
#include "store/local/records_repositories.h"
#include "store/pushes.h"
#include "store/references.h"

#define LONG_AGO 1000 /* seconds since the epoch */
#define GRACE_S 3600

/* ---- what is there ---- */

/* "*" is anything, at the end only. */
static bool matches(const char *pattern, const char *name)
{
    size_t size = strcspn(pattern, "*");
    return strncmp(pattern, name, size) == 0 && (pattern[size] == '*' || name[size] == '\0');
}

static const struct collect_options usual = {.grace_s = GRACE_S,
                                             .untagged_s = COLLECT_FOREVER,
                                             .cache_bytes = UINT64_MAX,
                                             .cache_s = COLLECT_FOREVER,
                                             .matches = matches};

static void collect_with(struct store *store, const struct collect_options *options,
                         struct collect_report *report)
{
    struct error err = ERROR_INIT;
    assert_ok(store_collect(store, options, report, &err), &err);
}

static void collect(struct store *store)
{
    struct collect_report report;
    collect_with(store, &usual, &report);
    collect_report_deinit(&report);
}

static void put_record(struct store *store, enum kv_table table, const struct record_key *key,
                       const struct record_value *value)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change_put(&change, table, record_key_slice(key), record_value_slice(value));
    assert_ok(writer_submit(store->writer, &change, &err), &err);
}

static bool get_record(struct store *store, enum kv_table table, const struct record_key *key,
                       struct record_value *out)
{
    struct error err = ERROR_INIT;
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, record_key_slice(key), &value, &found, &err), &err);
    if (found && out) {
        memcpy(out->bytes, value.data, value.size);
        out->size = value.size;
    }
    return found;
}

static size_t count(struct store *store, enum kv_table table)
{
    struct error err = ERROR_INIT;
    size_t entries = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_count(&txn, table, &entries, &err), &err);
    return entries;
}

/* Nobody has used it since. */
static void age(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    assert_ok(blob_find(store, digest, &found, &record, &err), &err);
    assert_true(found);
    record.last_use_s = LONG_AGO;
    struct record_key key = blob_key(digest);
    struct record_value value = blob_value(&record);
    put_record(store, KV_BLOBS, &key, &value);
}

static void age_member(struct store *store, const char *repository, const struct digest *digest)
{
    struct record_key key = repository_digest_key(repository, digest);
    struct record_value value = member_value(LONG_AGO);
    assert_true(get_record(store, KV_MEMBERS, &key, NULL));
    put_record(store, KV_MEMBERS, &key, &value);
}

/* Put when the clock said so, as what has this number. The blob too has not been used since. */
static void date_manifest(struct store *store, const char *repository, const struct digest *digest,
                          uint64_t put_s, uint64_t number)
{
    struct error err = ERROR_INIT;
    struct record_key key = repository_digest_key(repository, digest);
    struct record_value value;
    struct manifest_record record;
    assert_true(get_record(store, KV_MANIFESTS, &key, &value));
    assert_ok(manifest_decode(record_key_slice(&key), record_value_slice(&value), &record, &err),
              &err);
    record.put_s = put_s;
    record.put_number = number;
    value = manifest_value(&record);
    put_record(store, KV_MANIFESTS, &key, &value);
    age(store, digest);
}

static void age_manifest(struct store *store, const char *repository, const struct digest *digest,
                         uint64_t put_s)
{
    date_manifest(store, repository, digest, put_s, put_s * 1000);
}

/* Neither a record without its file nor a file without its record. */
static bool held(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    assert_ok(blob_find(store, digest, &found, &record, &err), &err);
    char path[BLOB_PATH_MAX];
    struct stat st;
    assert_int_equal(fstatat(store->blobs_fd, blob_path(digest, path), &st, 0) == 0, found);
    return found;
}

static struct digest member(struct store *store, const char *repository, const char *content)
{
    struct digest digest = put_blob(store, repository, content);
    age(store, &digest);
    age_member(store, repository, &digest);
    return digest;
}

static char *image_text(const struct digest *layer, const char *more)
{
    char text[DIGEST_TEXT_MAX];
    return xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                     "\",\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\","
                     "\"size\":2,\"digest\":\"%s\"},\"layers\":[{\"mediaType\":"
                     "\"application/vnd.oci.image.layer.v1.tar\",\"size\":1,\"digest\":\"%s\"}]%s}",
                     digest_text(layer, text), text, more);
}

static struct digest image_with(struct store *store, const char *repository, const char *tag,
                                const struct digest *layer, const char *more)
{
    autofree char *text = image_text(layer, more);
    struct digest digest = put_manifest(store, repository, tag, text);
    age_manifest(store, repository, &digest, LONG_AGO);
    return digest;
}

static struct digest image(struct store *store, const char *repository, const char *tag,
                           const struct digest *layer)
{
    return image_with(store, repository, tag, layer, "");
}

/* Of the tag, in the report. */
static const struct collect_item *fate(const struct collect_report *report, const char *tag)
{
    for (size_t i = 0; i < report->item_count; i++)
        if (report->items[i].kind == COLLECT_TAG && strcmp(report->items[i].tag, tag) == 0)
            return &report->items[i];
    return NULL;
}

/* ---- what is needed ---- */

static void what_an_image_needs_stays(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct digest layer = member(store, "app", "layer");
    struct digest other = member(store, "app", "other");
    struct digest loose = member(store, "app", "loose");
    struct digest first = image(store, "app", "1", &layer);
    struct digest second = image(store, "app", NULL, &other);
    bool found = false;
    struct collect_report report;
    collect_with(store, &usual, &report);
    assert_int_equal(report.gone.blobs, 1);
    assert_int_equal(report.gone.bytes, strlen("loose"));
    assert_int_equal(report.needed.blobs, 4);
    assert_int_equal(report.held.blobs, 5);
    assert_int_equal(report.members, 1);
    collect_report_deinit(&report);
    assert_false(held(store, &loose));
    assert_false(has_blob(store, "app", &loose));
    assert_true(held(store, &layer) && held(store, &other) && held(store, &first));
    assert_true(has_manifest(store, "app", &second));

    assert_ok(repository_remove_manifest(store, "app", &first, &found, &err), &err);
    age(store, &layer);
    age(store, &first);
    collect(store);
    assert_false(held(store, &first) || held(store, &layer));
    assert_true(held(store, &second) && held(store, &other));
    assert_int_equal(count(store, KV_TOMBS), 0);
    assert_int_equal(count(store, KV_MEMBERS), 1);
    assert_int_equal(count(store, KV_HOLDERS), 1);
    store_close(store);
}

static void liveness_is_over_all_repositories(void **state)
{
    struct store *store = open_store(*state);
    struct digest layer = member(store, "one", "layer");
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_member(batch, "two", &layer);
    commit(batch);
    image(store, "two", "1", &layer);
    age(store, &layer);
    age_member(store, "two", &layer);
    collect(store);
    assert_true(held(store, &layer));
    assert_false(has_blob(store, "one", &layer));
    assert_true(has_blob(store, "two", &layer));
    store_close(store);
}

static void an_index_needs_its_members(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct collect_options options = usual;
    struct collect_report report;
    char text[DIGEST_TEXT_MAX];
    bool found = false;
    struct digest layer = member(store, "app", "layer");
    struct digest child = image(store, "app", NULL, &layer);
    autofree char *index = xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                                     "\",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                     "\",\"size\":7,\"digest\":\"%s\"}]}",
                                     digest_text(&child, text));
    struct digest whole = put_manifest(store, "app", "1", index);
    age_manifest(store, "app", &whole, LONG_AGO);
    options.untagged_s = GRACE_S;
    collect_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(held(store, &whole) && held(store, &layer));
    assert_true(has_manifest(store, "app", &child));
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    age(store, &child); /* it was asked for */
    assert_ok(store_write_leases(store, &err), &err);
    age(store, &child);
    collect_with(store, &options, &report);
    assert_int_equal(report.manifests, 2);
    assert_int_equal(report.gone.blobs, 3);
    collect_report_deinit(&report);
    assert_false(held(store, &whole) || held(store, &child) || held(store, &layer));
    assert_int_equal(count(store, KV_MANIFESTS), 0);
    store_close(store);
}

static void referrers_live_and_go_with_their_subject(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    bool found = false;
    struct digest layer = member(store, "app", "layer");
    struct digest whole = image(store, "app", "1", &layer);
    struct digest unknown = digest_of_text("not there");
    autofree char *one = image_text(&layer, ",\"x\":1");
    autofree char *two = image_text(&layer, ",\"x\":2");
    autofree char *three = image_text(&layer, ",\"x\":3");
    struct digest signature = put_referrer(store, "app", one, &whole, "{}");
    struct digest of_it = put_referrer(store, "app", two, &signature, "{}");
    struct digest lonely = put_referrer(store, "app", three, &unknown, "{}");
    age_manifest(store, "app", &signature, LONG_AGO);
    age_manifest(store, "app", &of_it, LONG_AGO);
    collect(store); /* the lonely one is young */
    assert_true(held(store, &lonely) && held(store, &of_it));
    age_manifest(store, "app", &lonely, LONG_AGO);
    collect(store);
    assert_false(held(store, &lonely));
    assert_true(held(store, &signature) && held(store, &of_it));
    assert_int_equal(count(store, KV_REFERRERS), 2);
    assert_ok(repository_remove_manifest(store, "app", &whole, &found, &err), &err);
    age(store, &whole);
    collect(store);
    assert_int_equal(count(store, KV_BLOBS), 0);
    assert_int_equal(count(store, KV_MANIFESTS), 0);
    assert_int_equal(count(store, KV_REFERRERS), 0);
    store_close(store);
}

static void what_only_a_digest_names_stays_as_long_as_is_said(void **state)
{
    struct store *store = open_store(*state);
    struct collect_options options = usual;
    struct collect_report report;
    struct digest layer = member(store, "app", "layer");
    struct digest pinned = image(store, "app", NULL, &layer);
    collect(store);
    assert_true(held(store, &pinned));
    options.untagged_s = (int64_t)clock_wall_s() - LONG_AGO + 1000;
    collect_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(held(store, &pinned));
    options.untagged_s = GRACE_S;
    collect_with(store, &options, &report);
    assert_int_equal(report.manifests, 1);
    collect_report_deinit(&report);
    assert_false(held(store, &pinned) || held(store, &layer));
    store_close(store);
}

static void what_is_promised_stays(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct reference target = {.host = "r.example.com", .path = "app", .tag = "1"};
    struct digest layer = member(store, "app", "layer");
    autofree char *text = image_text(&layer, "");
    struct push push = {.manifest = {.size = 2, .media_type = MEDIA_OCI_MANIFEST}};
    struct batch *batch = begin(store, BATCH_DURABLE);
    push.manifest.digest = bring(batch, text);
    assert_ok(push_add_target(&push, &target, false, true, &err), &err);
    batch_put_push(batch, &push);
    commit(batch);
    age(store, &push.manifest.digest);
    collect(store);
    assert_true(held(store, &layer) && held(store, &push.manifest.digest));
    push.targets[0].state = PUSH_PUSHED;
    assert_ok(pushes_put(store, &push, true, &err), &err);
    collect(store);
    assert_false(held(store, &layer) || held(store, &push.manifest.digest));
    push_deinit(&push);
    store_close(store);
}

static void what_is_held_stays_with_what_it_needs(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    bool found = false;
    struct digest layer = member(store, "app", "layer");
    struct digest whole = image(store, "app", "1", &layer);
    store_hold(store, &whole);
    assert_ok(repository_remove_manifest(store, "app", &whole, &found, &err), &err);
    collect(store);
    assert_true(held(store, &layer) && held(store, &whole));
    store_let_go(store, &whole);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    assert_ok(batch_hold_blob(batch, &layer, &err), &err);
    collect(store);
    assert_true(held(store, &layer));
    assert_false(held(store, &whole));
    batch_abort(batch);
    collect(store);
    assert_false(held(store, &layer));
    store_close(store);
}

static void a_repository_with_an_unreadable_manifest_keeps_all(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    char path[BLOB_PATH_MAX];
    struct digest layer = member(store, "app", "layer");
    struct digest loose = member(store, "app", "loose");
    struct digest elsewhere = member(store, "other", "elsewhere");
    struct digest whole = image(store, "app", "1", &layer);
    int fd = openat(store->blobs_fd, blob_path(&whole, path), O_WRONLY);
    assert_int_equal(pwrite(fd, "[", 1, 0), 1);
    close(fd);
    collect_with(store, &usual, &report);
    assert_int_equal(report.unreadable, 1);
    collect_report_deinit(&report);
    assert_true(held(store, &layer) && held(store, &loose));
    assert_false(held(store, &elsewhere));
    store_close(store);
}

/* ---- leases ---- */

static void whoever_is_told_has_a_lease(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct digest blob = member(store, "app", "blob");
    struct digest layer = member(store, "app", "layer");
    struct digest whole = image(store, "app", "1", &layer);
    struct digest form_of = digest_of_text("raw");
    struct layer_form form = {.codec = CODEC_GZIP, .digest = blob, .size = 4, .raw_size = 9};
    struct reference name = {.host = "localhost", .path = "x", .tag = "1"};
    struct named_manifest named;
    struct batch *batch = begin(store, BATCH_VOLATILE);
    bool found = false;
    batch_put_layer(batch, &form_of, &form);
    batch_put_reference(batch, &name, &whole, MEDIA_OCI_MANIFEST);
    commit(batch);
    for (unsigned way = 0; way < 5; way++) {
        struct blob_record record;
        const struct digest *leased = way < 3 ? &blob : &whole;
        age(store, leased);
        if (way == 0)
            assert_true(has_blob(store, "app", &blob));
        else if (way == 1)
            assert_true(any_has_blob(store, &blob));
        else if (way == 2)
            assert_ok(layer_find(store, &form_of, CODEC_GZIP, form.effort, &found, &form, &err),
                      &err);
        else if (way == 3)
            assert_true(has_manifest(store, "app", &whole));
        else
            assert_ok(references_get(store, &name, &found, &named, &err), &err);
        assert_true(leases_has(store->leases, NULL, leased));
        assert_ok(store_write_leases(store, &err), &err);
        assert_false(leases_has(store->leases, NULL, leased));
        assert_ok(blob_find(store, leased, &found, &record, &err), &err);
        assert_true(record.last_use_s > LONG_AGO);
        collect(store);
        assert_true(held(store, leased));
    }
    age(store, &blob);
    collect(store);
    assert_false(held(store, &blob));
    assert_int_equal(count(store, KV_LAYERS), 0);
    store_close(store);
}

/* Asking for what is not there takes no room. */
static void what_is_not_there_is_not_leased(void **state)
{
    struct store *store = open_store(*state);
    struct digest blob = member(store, "app", "blob");
    struct digest unknown = digest_of_text("unknown");
    assert_false(has_blob(store, "app", &unknown));
    assert_false(has_blob(store, "other", &blob));
    assert_false(any_has_blob(store, &unknown));
    assert_false(leases_has(store->leases, NULL, &unknown));
    assert_false(leases_has(store->leases, NULL, &blob));
    store_close(store);
}

static struct store *open_leased(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {
        .map_size_bytes = (uint64_t)16 << 20, .has_leases = true, .leave_volatile = true};
    assert_ok(store_open_local(folder, &options, &store, &err), &err);
    return store;
}

/* All that may be put is put, and nobody needs it: marks of all of it have no room in what is kept
 * back. The store is low before, and well again. */
static void metadata_full_of_what_nobody_needs_are_collected(void **state)
{
    enum { AT_ONCE = 64 };
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct collect_report report;
    const struct store_options options = {.map_size_bytes = (uint64_t)2 << 20,
                                          .leave_volatile = true};
    assert_ok(store_open_local(*state, &options, &store, &err), &err);
    const struct blob_record record = {.state = BLOB_DURABLE, .size = 1, .last_use_s = LONG_AGO};
    struct record_value value = blob_value(&record);
    size_t put = 0;
    log_setup(LOG_WARN, LOG_TEXT); /* not a line for each */
    while (err.code == ERR_OK) {
        autochange struct change change;
        change_init(&change);
        for (int i = 0; i < AT_ONCE; i++) {
            struct digest digest = digest_of_text("ascending");
            digest.bytes[0] = (uint8_t)((put + (size_t)i) >> 8);
            digest.bytes[1] = (uint8_t)(put + (size_t)i);
            struct record_key key = blob_key(&digest);
            change_put(&change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
        }
        if (writer_submit(store->writer, &change, &err) == ERR_OK)
            put += AT_ONCE;
    }
    assert_code(err.code, ERR_STORE_FULL, &err);
    assert_non_null(strstr(err.text, "store.map"));
    error_clear(&err);
    assert_code(store_check_room(store, &err), ERR_STORE_FULL, &err);
    error_clear(&err);
    assert_int_equal(store_probe(store, &err), ERR_STORE_FULL);
    assert_int_equal(store_health(store, NULL), STORE_REFUSING);
    collect_with(store, &usual, &report);
    log_setup(LOG_INFO, LOG_TEXT);
    assert_int_equal(report.gone.blobs, put);
    collect_report_deinit(&report);
    assert_int_equal(count(store, KV_BLOBS), 0);
    error_clear(&err);
    assert_ok(store_probe(store, &err), &err);
    assert_int_equal(store_health(store, NULL), STORE_WELL);
    store_close(store);
}

static void leases_outlive_an_orderly_end(void **state)
{
    struct store *store = open_leased(*state);
    struct collect_report report;
    struct digest blob = member(store, "app", "blob");
    struct digest loose = member(store, "app", "loose");
    assert_true(has_blob(store, "app", &blob));
    store_close(store);
    store = open_leased(*state);
    collect_with(store, &usual, &report);
    assert_false(report.waits);
    collect_report_deinit(&report);
    assert_true(held(store, &blob));
    assert_false(held(store, &loose));
    store_close(store);
}

static int lose_leases(const char *folder)
{
    struct store *store = open_leased(folder);
    member(store, "app", "blob");
    return 0;
}

/* Whoever opens it next knows, be it a command, and whoever opens it after that. */
static void after_a_crash_all_stays_for_the_grace(void **state)
{
    struct collect_report report;
    struct digest blob = digest_of_text("blob");
    assert_int_equal(run_again("lose-leases", *state), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct store *store = open_store(*state);
        collect_with(store, &usual, &report);
        assert_true(report.waits);
        assert_true(report.waits_until_s > (uint64_t)clock_wall_s() + GRACE_S / 2);
        assert_int_equal(report.leased.blobs, 1);
        collect_report_deinit(&report);
        assert_true(held(store, &blob));
        store_close(store);
    }
}

static void a_flood_of_leases_keeps_all(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    struct digest loose = member(store, "app", "loose");
    struct digest digest = digest_of_text("0");
    for (unsigned i = 0; i <= LEASES_MAX; i++) {
        memcpy(digest.bytes, &i, sizeof i);
        assert_true(leases_note(store->leases, "", &digest, (uint64_t)clock_wall_s()));
    }
    collect_with(store, &usual, &report);
    assert_true(report.waits);
    collect_report_deinit(&report);
    assert_true(held(store, &loose));
    store_close(store);
}

/* What a blob's record says of its use is from before the step. */
static void a_clock_that_is_set_forward_makes_nothing_old(void **state)
{
    struct store *store = open_store(*state);
    struct digest loose = member(store, "app", "loose");
    uint64_t now_s = (uint64_t)clock_wall_s();
    leases_see_clocks(store->leases, now_s - 3600, clock_ms());
    leases_see_clocks(store->leases, now_s - 3600 + LEASES_STEP_S, clock_ms());
    assert_int_equal(leases_all_s(store->leases), 0);
    collect(store); /* which sees the clock of now: an hour later, and no time has passed */
    assert_true(held(store, &loose));
    assert_true(leases_all_s(store->leases) >= now_s);
    leases_see_clocks(store->leases, now_s - 7200, clock_ms());
    store_close(store);
}

/* ---- races ---- */

struct race {
    struct store *store;
    const char *point;
    struct digest blob;
    struct digest put;
    enum { ASKS, PUTS } way;
    bool told;
    bool met;
    bool traced;
};

static void use(void *self, const char *point)
{
    struct race *race = self;
    if (strcmp(point, race->point) != 0 || race->met)
        return;
    race->met = true;
    if (race->way == ASKS) {
        race->told = any_has_blob(race->store, &race->blob);
        return;
    }
    struct batch *batch = begin(race->store, BATCH_DURABLE);
    batch_put_member(batch, "late", &race->blob);
    commit(batch);
    race->told = true;
}

static void a_use_at_any_moment_is_seen(void **state)
{
    static const char *const points[] = {
        "begun",           "traced", "before a mark", "before condemning", "before a deletion",
        "before an unlink"};
    struct store *store = open_store(*state);
    for (int way = ASKS; way <= PUTS; way++)
        for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
            if (way == PUTS && i >= 4) /* it waits for the end of the step */
                continue;
            struct error err = ERROR_INIT;
            struct race race = {.store = store, .point = points[i], .way = (int)way};
            assert_ok(store_write_leases(store, &err), &err);
            race.blob = member(store, "app", "blob");
            /* Known to no repository of the collection's first parts. */
            struct batch *batch = begin(store, BATCH_DURABLE);
            batch_put_member(batch, "zoo", &race.blob);
            commit(batch);
            age(store, &race.blob);
            store->collect_hook = use;
            store->collect_hook_self = &race;
            collect(store);
            store->collect_hook = NULL;
            assert_true(race.met);
            assert_int_equal(held(store, &race.blob), race.told);
            assert_int_equal(race.told, i < 4);
            assert_int_equal(count(store, KV_TOMBS), 0);
        }
    store_close(store);
}

static void put_and_ask(void *self, const char *point)
{
    struct race *race = self;
    race->traced |= strcmp(point, "traced") == 0;
    if (strcmp(point, race->point) == 0 && race->traced && !race->met) {
        race->met = true;
        struct batch *batch = begin(race->store, BATCH_DURABLE);
        batch_put_member(batch, "app", &race->blob);
        commit(batch);
    }
    if (strcmp(point, "before a deletion") == 0)
        race->told = has_blob(race->store, "app", &race->blob);
}

/* Its deletion would come to nothing; but nobody may be told meanwhile that it is not there. */
static void what_was_put_since_it_was_looked_at_is_not_condemned(void **state)
{
    struct store *store = open_store(*state);
    struct race race = {
        .store = store, .point = "before condemning", .blob = member(store, "app", "blob")};
    store->collect_hook = put_and_ask;
    store->collect_hook_self = &race;
    collect(store);
    store->collect_hook = NULL;
    assert_true(race.told);
    assert_true(has_blob(store, "app", &race.blob));
    store_close(store);
}

/* Notes that found no room while a collection runs are not in what it reads at its start. */
static void a_flood_of_leases_ends_what_is_under_way(void **state)
{
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("0");
    struct digest other = digest_of_text("other");
    leases_watch(store->leases);
    for (unsigned i = 0; i <= LEASES_MAX; i++) {
        assert_false(leases_has(store->leases, NULL, &other));
        memcpy(digest.bytes, &i, sizeof i);
        leases_note(store->leases, "", &digest, (uint64_t)clock_wall_s());
    }
    assert_true(leases_has(store->leases, NULL, &other));
    leases_unwatch(store->leases);
    assert_false(leases_has(store->leases, NULL, &other));
    store_close(store);
}

static void a_tag_that_is_used_at_the_last_moment_stays_whole(void **state)
{
    struct store *store = open_store(*state);
    const struct keep_rule rule = {.match = "*", .tags = "v*"};
    struct collect_options options = usual;
    struct digest layer = member(store, "app", "layer");
    struct race race = {.store = store, .point = "before names go"};
    struct collect_report report;
    image(store, "app", "1", &layer);
    options.rules = &rule;
    options.rule_count = 1;
    race.blob = image(store, "app", "1", &layer);
    store_hold(store, &layer); /* its note would do, too */
    store_let_go(store, &layer);
    collect_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(tag_is(store, "app", "1", NULL));

    layer = member(store, "app", "layer");
    race.blob = image(store, "app", "1", &layer);
    leases_note(store->leases, "app", &race.blob, (uint64_t)clock_wall_s());
    collect_with(store, &options, &report);
    assert_int_equal(report.tags, 0);
    collect_report_deinit(&report);
    assert_true(held(store, &layer));
    assert_true(tag_is(store, "app", "1", &race.blob));
    store_close(store);
}

static void put_late(void *self, const char *point)
{
    struct race *race = self;
    if (race->met || strcmp(point, race->point) != 0)
        return;
    race->met = true;
    race->told = has_blob(race->store, "app", &race->blob);
    autofree char *text = image_text(&race->blob, "");
    race->put = put_manifest(race->store, "app", "late", text);
}

/* What was traced before it came does not know it. Its layer was looked at then, too. */
static void a_manifest_put_while_names_are_looked_at_stays_whole(void **state)
{
    struct store *store = open_store(*state);
    struct digest first = member(store, "app", "first");
    image(store, "app", "1", &first);
    struct race race = {
        .store = store, .point = "before names go", .blob = member(store, "app", "layer")};
    store->collect_hook = put_late;
    store->collect_hook_self = &race;
    collect(store);
    store->collect_hook = NULL;
    assert_true(race.told);
    assert_true(tag_is(store, "app", "late", &race.put));
    assert_true(held(store, &race.blob));
    assert_true(has_blob(store, "app", &race.blob));
    store_close(store);
}

/* ---- crashes ---- */

static const char *const crash_points[] = {
    "begun",           "traced", "before a mark", "before condemning", "before a deletion",
    "before an unlink"};

static void crash(void *self, const char *point)
{
    if (strcmp(point, self) == 0)
        _exit(7);
}

static int collect_and_crash(const char *point, const char *folder)
{
    struct store *store = open_store(folder);
    store->collect_hook = crash;
    store->collect_hook_self = (void *)(uintptr_t)point;
    collect(store);
    return 1;
}

static void a_crash_leaves_no_record_without_its_bytes(void **state)
{
    for (size_t i = 0; i < sizeof crash_points / sizeof crash_points[0]; i++) {
        struct error err = ERROR_INIT;
        struct store *store = open_store(*state);
        struct digest loose = member(store, "app", "loose");
        struct digest layer = member(store, "app", "layer");
        image(store, "app", "1", &layer);
        store_close(store);
        assert_int_equal(WEXITSTATUS(run_again(crash_points[i], *state)), 7);
        store = open_store(*state);
        struct blob_record record;
        bool found = false;
        assert_ok(blob_find(store, &loose, &found, &record, &err), &err);
        if (found)
            assert_true(blob_file_is_there(store->blobs_fd, &loose, record.size));
        assert_int_equal(found, i < 5);
        collect(store);
        assert_ok(blob_find(store, &loose, &found, &record, &err), &err);
        assert_false(found);
        assert_int_equal(count(store, KV_TOMBS), 0);
        assert_true(held(store, &layer));
        store_close(store);
    }
}

/* A folder in its place is not removed as a file is. */
static void a_file_that_stays_keeps_no_other(void **state)
{
    struct error err = ERROR_INIT;
    struct collect_report report;
    char path[BLOB_PATH_MAX];
    struct store *store = open_store(*state);
    struct digest loose[] = {member(store, "app", "one"), member(store, "app", "two"),
                             member(store, "app", "three")};
    assert_int_equal(unlinkat(store->blobs_fd, blob_path(&loose[1], path), 0), 0);
    assert_int_equal(mkdirat(store->blobs_fd, path, 0700), 0);
    assert_code(store_collect(store, &usual, &report, &err), ERR_IO, &err);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(report.gone.blobs, 2);
    collect_report_deinit(&report);
    assert_int_equal(unlinkat(store->blobs_fd, path, AT_REMOVEDIR), 0);
    for (size_t i = 0; i < 3; i++)
        assert_false(held(store, &loose[i]));
    assert_int_equal(count(store, KV_MEMBERS), 0);
    collect(store);
    store_close(store);
}

/* ---- rules ---- */

static void rules_keep_and_say_why(void **state)
{
    static const struct keep_rule rules[] = {
        {.match = "app", .tags = "v*", .last = 2},
        {.match = "app", .age_s = 500},
        {.match = "free*"},
    };
    struct store *store = open_store(*state);
    struct collect_options options = usual;
    struct collect_report report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    static const struct {
        const char *repository, *tag, *why;
        unsigned age_s;
    } tags[] = {{"app", "v1", "no rule keeps it", 10000},
                {"app", "v2", "kept by rule 1: one of the last 2", 9000},
                {"app", "v3", "kept by rule 1: one of the last 2", 8000},
                {"app", "x1", "no rule keeps it", 8000},
                {"app", "x2", "kept by rule 2: put in the last 500 s", 100},
                {"freedom", "f", "kept by rule 3", 10000},
                {"other", "o", NULL, 10000}};
    struct digest manifests[7];
    struct digest layers[7];
    options.grace_s = 10;
    options.rules = rules;
    options.rule_count = 3;
    for (unsigned i = 0; i < 7; i++) {
        char text[16];
        snprintf(text, sizeof text, "layer %u", i);
        layers[i] = member(store, tags[i].repository, text);
        manifests[i] = image(store, tags[i].repository, tags[i].tag, &layers[i]);
        age_manifest(store, tags[i].repository, &manifests[i], now_s - tags[i].age_s);
    }
    for (unsigned round = 0; round < 2; round++) {
        options.dry_run = round == 0;
        size_t blobs = count(store, KV_BLOBS);
        collect_with(store, &options, &report);
        assert_int_equal(report.tags, 2);
        assert_int_equal(report.manifests, 2);
        assert_int_equal(report.gone.blobs, 4);
        assert_int_equal(report.held.blobs, 14);
        for (unsigned i = 0; i < 7; i++) {
            const struct collect_item *item = fate(&report, tags[i].tag);
            assert_int_equal(item != NULL, tags[i].why != NULL);
            if (item == NULL)
                continue;
            assert_string_equal(item->why, tags[i].why);
            assert_int_equal(item->goes, strcmp(item->why, "no rule keeps it") == 0);
            assert_string_equal(item->name, tags[i].repository);
        }
        if (options.dry_run) {
            assert_int_equal(count(store, KV_BLOBS), blobs);
            assert_int_equal(count(store, KV_TOMBS), 0);
            assert_int_equal(count(store, KV_TAGS), 7);
        }
        collect_report_deinit(&report);
    }
    for (unsigned i = 0; i < 7; i++) {
        bool goes = tags[i].why && strcmp(tags[i].why, "no rule keeps it") == 0;
        assert_int_equal(held(store, &layers[i]), !goes);
        assert_int_equal(held(store, &manifests[i]), !goes);
    }
    store_close(store);
}

static void a_manifest_with_another_tag_stays(void **state)
{
    static const struct keep_rule rule = {.match = "*", .tags = "v*"};
    struct store *store = open_store(*state);
    struct collect_options options = usual;
    struct collect_report report;
    struct digest layer = member(store, "app", "layer");
    struct digest whole = image(store, "app", "v1", &layer);
    image(store, "app", "old", &layer);
    image(store, "app", "older", &layer);
    options.rules = &rule;
    options.rule_count = 1;
    collect_with(store, &options, &report);
    assert_int_equal(report.tags, 2);
    assert_int_equal(report.manifests, 0);
    collect_report_deinit(&report);
    assert_true(held(store, &whole) && held(store, &layer));
    assert_string_equal(tags_of(store, "app", NULL, 10), "v1 ");
    store_close(store);
}

/* ---- the cache ---- */

static struct digest brought(struct store *store, const char *tag, const char *layer_text,
                             uint64_t used_s, struct digest *layer)
{
    struct error err = ERROR_INIT;
    struct reference name = {.host = "localhost", .path = "app"};
    struct batch *batch = begin(store, BATCH_VOLATILE);
    *layer = bring(batch, layer_text);
    autofree char *text = image_text(layer, "");
    struct digest digest = bring(batch, text);
    snprintf(name.tag, sizeof name.tag, "%s", tag);
    batch_put_reference(batch, &name, &digest, MEDIA_OCI_MANIFEST);
    commit(batch);
    age(store, layer);
    age(store, &digest);
    struct record_key key = reference_key(&name);
    struct record_value value = reference_value(&digest, used_s, MEDIA_OCI_MANIFEST);
    put_record(store, KV_REFERENCES, &key, &value);
    (void)err;
    return digest;
}

static void the_cache_has_a_size_and_an_age(void **state)
{
    struct store *store = open_store(*state);
    struct collect_options options = usual;
    struct collect_report report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    struct digest layers[3];
    struct digest old = brought(store, "1", "one", now_s - 30000, &layers[0]);
    struct digest middle = brought(store, "2", "two", now_s - 20000, &layers[1]);
    struct digest young = brought(store, "3", "three", now_s - 10000, &layers[2]);
    collect(store);
    assert_int_equal(count(store, KV_BLOBS), 6);
    options.cache_s = 25000;
    collect_with(store, &options, &report);
    assert_int_equal(report.names, 1);
    collect_report_deinit(&report);
    assert_false(held(store, &old) || held(store, &layers[0]));
    assert_true(held(store, &middle) && held(store, &layers[1]));
    assert_int_equal(count(store, KV_REFERENCES), 2);
    uint64_t size = 0;
    struct error err = ERROR_INIT;
    assert_ok(blob_stat(store, &young, &size, &err), &err);
    options.cache_bytes = size + strlen("three");
    collect_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(held(store, &young) && held(store, &layers[2]));
    assert_false(held(store, &middle) || held(store, &layers[1]));
    options.cache_bytes--;
    collect_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_int_equal(count(store, KV_BLOBS), 0);
    assert_int_equal(count(store, KV_REFERENCES), 0);
    store_close(store);
}

/* ---- many ---- */

/* More than one step, and more than are condemned at once. */
static void many_go_in_steps(void **state)
{
    struct store *store = open_store(*state);
    struct collect_report report;
    for (unsigned i = 0; i < 600; i++) {
        char text[16];
        snprintf(text, sizeof text, "blob %u", i);
        member(store, i % 2 ? "odd" : "even", text);
    }
    collect_with(store, &usual, &report);
    assert_int_equal(report.gone.blobs, 600);
    assert_int_equal(report.members, 600);
    collect_report_deinit(&report);
    assert_int_equal(count(store, KV_BLOBS), 0);
    assert_int_equal(count(store, KV_MEMBERS), 0);
    assert_int_equal(count(store, KV_HOLDERS), 0);
    store_close(store);
}

static void collect_again(void *self, const char *point)
{
    struct error err = ERROR_INIT;
    struct collect_report report;
    struct backup_report backup;
    if (strcmp(point, "begun") != 0)
        return;
    assert_code(store_collect(self, &usual, &report, &err), ERR_COLLECTING, &err);
    error_clear(&err);
    assert_code(store_backup(self, NULL, &backup, &err), ERR_COLLECTING, &err);
}

/* The last one is what was put last, whatever the clock said when it was. */
static void a_clock_that_was_ahead_makes_nothing_the_last(void **state)
{
    static const struct keep_rule rule = {.match = "app", .last = 1};
    struct store *store = open_store(*state);
    struct collect_options options = usual;
    struct collect_report report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    options.grace_s = 10;
    options.rules = &rule;
    options.rule_count = 1;
    struct digest layer = member(store, "app", "old layer");
    struct digest older = image(store, "app", "old", &layer);
    date_manifest(store, "app", &older, now_s - 30, 5); /* as before there were numbers */
    layer = member(store, "app", "other layer");
    struct digest ahead = image(store, "app", "ahead", &layer);
    date_manifest(store, "app", &ahead, now_s + 3600, now_s * 1000);
    layer = member(store, "app", "new layer");
    struct digest newest = image(store, "app", "new", &layer);
    date_manifest(store, "app", &newest, now_s - 20, now_s * 1000 + 1);
    collect_with(store, &options, &report);
    assert_false(fate(&report, "new")->goes);
    assert_true(fate(&report, "old")->goes);
    assert_true(held(store, &newest));
    assert_false(held(store, &older));
    collect_report_deinit(&report);
    store_close(store);
}

static void one_runs_at_a_time(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct cancel cancel;
    struct collect_options options = usual;
    struct collect_report report;
    struct digest loose = member(store, "app", "loose");
    store->collect_hook = collect_again;
    store->collect_hook_self = store;
    cancel_init(&cancel);
    cancel_request(&cancel);
    options.cancel = &cancel;
    assert_code(store_collect(store, &options, &report, &err), ERR_CANCELLED, &err);
    collect_report_deinit(&report);
    assert_true(held(store, &loose));
    collect(store);
    assert_false(held(store, &loose));
    cancel_deinit(&cancel);
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "lose-leases") == 0)
        _exit(lose_leases(argv[2]));
    if (argc == 3)
        _exit(collect_and_crash(argv[1], argv[2]));
    const struct CMUnitTest tests[] = {
        folder_test(what_an_image_needs_stays),
        folder_test(liveness_is_over_all_repositories),
        folder_test(an_index_needs_its_members),
        folder_test(referrers_live_and_go_with_their_subject),
        folder_test(what_only_a_digest_names_stays_as_long_as_is_said),
        folder_test(what_is_promised_stays),
        folder_test(what_is_held_stays_with_what_it_needs),
        folder_test(a_repository_with_an_unreadable_manifest_keeps_all),
        folder_test(whoever_is_told_has_a_lease),
        folder_test(what_is_not_there_is_not_leased),
        folder_test(leases_outlive_an_orderly_end),
        folder_test(after_a_crash_all_stays_for_the_grace),
        folder_test(a_flood_of_leases_keeps_all),
        folder_test(a_clock_that_is_set_forward_makes_nothing_old),
        folder_test(a_clock_that_was_ahead_makes_nothing_the_last),
        folder_test(a_use_at_any_moment_is_seen),
        folder_test(what_was_put_since_it_was_looked_at_is_not_condemned),
        folder_test(a_flood_of_leases_ends_what_is_under_way),
        folder_test(a_tag_that_is_used_at_the_last_moment_stays_whole),
        folder_test(a_manifest_put_while_names_are_looked_at_stays_whole),
        folder_test(a_crash_leaves_no_record_without_its_bytes),
        folder_test(a_file_that_stays_keeps_no_other),
        folder_test(rules_keep_and_say_why),
        folder_test(a_manifest_with_another_tag_stays),
        folder_test(the_cache_has_a_size_and_an_age),
        folder_test(many_go_in_steps),
        folder_test(metadata_full_of_what_nobody_needs_are_collected),
        folder_test(one_runs_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
