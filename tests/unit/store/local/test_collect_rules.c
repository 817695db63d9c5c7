/*
 * Rules by which a collection keeps tags, and the size and age of what was brought only to be
 * pushed.
 */
#include "tests/unit/store/repositories_test.h"

#include "base/clock.h"
#include "store/collect.h"
#include "tests/support/collect_bench.h"

/* ---- rules ---- */

/* Of the tag, in the report. */
static const struct collect_item *fate(const struct collect_report *report, const char *tag)
{
    for (size_t i = 0; i < report->item_count; i++)
        if (report->items[i].kind == COLLECT_TAG && strcmp(report->items[i].tag, tag) == 0)
            return &report->items[i];
    return NULL;
}

static void rules_keep_and_say_why(void **state)
{
    static const struct keep_rule rules[] = {
        {.match = "app", .tags = "v*", .last = 2},
        {.match = "app", .age_s = 500},
        {.match = "free*"},
    };
    struct store *store = open_store(*state);
    struct collect_options options = collect_bench_usual;
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
        layers[i] = collect_bench_member(store, tags[i].repository, text);
        manifests[i] = collect_bench_image(store, tags[i].repository, tags[i].tag, &layers[i]);
        collect_bench_age_manifest(store, tags[i].repository, &manifests[i], now_s - tags[i].age_s);
    }
    for (unsigned round = 0; round < 2; round++) {
        options.dry_run = round == 0;
        size_t blobs = collect_bench_count(store, KV_BLOBS);
        collect_bench_run_with(store, &options, &report);
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
            assert_int_equal(collect_bench_count(store, KV_BLOBS), blobs);
            assert_int_equal(collect_bench_count(store, KV_TOMBS), 0);
            assert_int_equal(collect_bench_count(store, KV_TAGS), 7);
        }
        collect_report_deinit(&report);
    }
    for (unsigned i = 0; i < 7; i++) {
        bool goes = tags[i].why && strcmp(tags[i].why, "no rule keeps it") == 0;
        assert_int_equal(collect_bench_held(store, &layers[i]), !goes);
        assert_int_equal(collect_bench_held(store, &manifests[i]), !goes);
    }
    store_close(store);
}

static void a_manifest_with_another_tag_stays(void **state)
{
    static const struct keep_rule rule = {.match = "*", .tags = "v*"};
    struct store *store = open_store(*state);
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    struct digest layer = collect_bench_member(store, "app", "layer");
    struct digest whole = collect_bench_image(store, "app", "v1", &layer);
    collect_bench_image(store, "app", "old", &layer);
    collect_bench_image(store, "app", "older", &layer);
    options.rules = &rule;
    options.rule_count = 1;
    collect_bench_run_with(store, &options, &report);
    assert_int_equal(report.tags, 2);
    assert_int_equal(report.manifests, 0);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &whole) && collect_bench_held(store, &layer));
    assert_string_equal(tags_of(store, "app", NULL, 10), "v1 ");
    store_close(store);
}

/* The last one is what was put last, whatever the clock said when it was. */
static void a_clock_that_was_ahead_makes_nothing_the_last(void **state)
{
    static const struct keep_rule rule = {.match = "app", .last = 1};
    struct store *store = open_store(*state);
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    options.grace_s = 10;
    options.rules = &rule;
    options.rule_count = 1;
    struct digest layer = collect_bench_member(store, "app", "old layer");
    struct digest older = collect_bench_image(store, "app", "old", &layer);
    collect_bench_date_manifest(store, "app", &older, now_s - 30,
                                5); /* as before there were numbers */
    layer = collect_bench_member(store, "app", "other layer");
    struct digest ahead = collect_bench_image(store, "app", "ahead", &layer);
    collect_bench_date_manifest(store, "app", &ahead, now_s + 3600, now_s * 1000);
    layer = collect_bench_member(store, "app", "new layer");
    struct digest newest = collect_bench_image(store, "app", "new", &layer);
    collect_bench_date_manifest(store, "app", &newest, now_s - 20, now_s * 1000 + 1);
    collect_bench_run_with(store, &options, &report);
    assert_false(fate(&report, "new")->goes);
    assert_true(fate(&report, "old")->goes);
    assert_true(collect_bench_held(store, &newest));
    assert_false(collect_bench_held(store, &older));
    collect_report_deinit(&report);
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
    autofree char *text = collect_bench_image_text(layer, "");
    struct digest digest = bring(batch, text);
    snprintf(name.tag, sizeof name.tag, "%s", tag);
    batch_put_reference(batch, &name, &digest, MEDIA_OCI_MANIFEST);
    commit(batch);
    collect_bench_age(store, layer);
    collect_bench_age(store, &digest);
    struct record_key key = reference_key(&name);
    struct record_value value = reference_value(&digest, used_s, MEDIA_OCI_MANIFEST);
    collect_bench_put(store, KV_REFERENCES, &key, &value);
    (void)err;
    return digest;
}

static void the_cache_has_a_size_and_an_age(void **state)
{
    struct store *store = open_store(*state);
    struct collect_options options = collect_bench_usual;
    struct collect_report report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    struct digest layers[3];
    struct digest old = brought(store, "1", "one", now_s - 30000, &layers[0]);
    struct digest middle = brought(store, "2", "two", now_s - 20000, &layers[1]);
    struct digest young = brought(store, "3", "three", now_s - 10000, &layers[2]);
    collect_bench_run(store);
    assert_int_equal(collect_bench_count(store, KV_BLOBS), 6);
    options.cache_s = 25000;
    collect_bench_run_with(store, &options, &report);
    assert_int_equal(report.names, 1);
    collect_report_deinit(&report);
    assert_false(collect_bench_held(store, &old) || collect_bench_held(store, &layers[0]));
    assert_true(collect_bench_held(store, &middle) && collect_bench_held(store, &layers[1]));
    assert_int_equal(collect_bench_count(store, KV_REFERENCES), 2);
    uint64_t size = 0;
    struct error err = ERROR_INIT;
    assert_ok(blob_stat(store, &young, &size, &err), &err);
    options.cache_bytes = size + strlen("three");
    collect_bench_run_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_true(collect_bench_held(store, &young) && collect_bench_held(store, &layers[2]));
    assert_false(collect_bench_held(store, &middle) || collect_bench_held(store, &layers[1]));
    options.cache_bytes--;
    collect_bench_run_with(store, &options, &report);
    collect_report_deinit(&report);
    assert_int_equal(collect_bench_count(store, KV_BLOBS), 0);
    assert_int_equal(collect_bench_count(store, KV_REFERENCES), 0);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_clock_that_was_ahead_makes_nothing_the_last),
        folder_test(rules_keep_and_say_why),
        folder_test(a_manifest_with_another_tag_stays),
        folder_test(the_cache_has_a_size_and_an_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
