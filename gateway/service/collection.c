#include "gateway/service/collection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pattern.h"

static int64_t seconds(int64_t ms, int64_t none)
{
    return ms > 0 ? (ms + 999) / 1000 : none;
}

static struct keep_rule *rules_of(const struct settings *settings)
{
    struct keep_rule *rules = xcalloc(settings->keep.rule_count, sizeof *rules);
    for (size_t i = 0; i < settings->keep.rule_count; i++) {
        const struct keep_setting *rule = &settings->keep.rules[i];
        rules[i] = (struct keep_rule){.match = rule->match,
                                      .tags = rule->tags,
                                      .last = rule->last,
                                      .age_s = seconds(rule->age_ms, 0)};
    }
    return rules;
}

static void tell(const struct collect_report *report, int64_t ms)
{
    log_event(LOG_INFO, "collection.ended",
              LOG_FIELDS(log_number("blobs", report->gone.blobs),
                         log_number("bytes", report->gone.bytes), log_number("tags", report->tags),
                         log_number("manifests", report->manifests),
                         log_number("names", report->names), log_number("held", report->held.blobs),
                         log_number("ms", (uint64_t)ms)),
              "what nobody needs was collected");
    if (report->unreadable > 0)
        log_event(LOG_WARN, "collection.unreadable",
                  LOG_FIELDS(log_number("repositories", report->unreadable)),
                  "repositories with manifests that cannot be read keep all of their blobs");
}

enum errc collection_run(const struct settings *settings, struct store *store, bool dry_run,
                         const struct cancel *cancel, struct collect_report *out, struct error *err)
{
    autofree struct keep_rule *rules = rules_of(settings);
    const struct collect_options options = {
        .grace_s = seconds(settings->keep.grace_ms, 1),
        .untagged_s = seconds(settings->keep.untagged_ms, COLLECT_FOREVER),
        .cache_bytes = settings->keep.cache_bytes ? settings->keep.cache_bytes : UINT64_MAX,
        .cache_s = seconds(settings->keep.cache_ms, COLLECT_FOREVER),
        .rules = rules,
        .rule_count = settings->keep.rule_count,
        .matches = pattern_matches,
        .dry_run = dry_run,
        .cancel = cancel};
    int64_t begun_ms = clock_ms();
    if (store_collect(store, &options, out, err) == ERR_OK && !dry_run)
        tell(out, clock_ms() - begun_ms);
    return err->code;
}

/* ---- the report ---- */

static json_t *count_json(const struct collect_count *count)
{
    json_t *object = json_object();
    json_put_number(object, "blobs", count->blobs);
    json_put_number(object, "bytes", count->bytes);
    return object;
}

static json_t *item_json(const struct collect_item *item)
{
    static const char *const kinds[] = {[COLLECT_BLOB] = "blob",
                                        [COLLECT_MANIFEST] = "manifest",
                                        [COLLECT_TAG] = "tag",
                                        [COLLECT_NAME] = "name"};
    char text[DIGEST_TEXT_MAX];
    json_t *object = json_object();
    json_put_text(object, "kind", kinds[item->kind]);
    json_object_set_new(object, "goes", json_boolean(item->goes));
    if (item->name[0])
        json_put_text(object, "name", item->name);
    if (item->tag[0])
        json_put_text(object, "tag", item->tag);
    json_put_text(object, "digest", digest_text(&item->digest, text));
    if (item->kind == COLLECT_BLOB)
        json_put_number(object, "bytes", item->bytes);
    json_put_text(object, "why", item->why);
    return object;
}

json_t *collection_json(const struct collect_report *report, bool dry_run)
{
    json_t *root = json_object();
    json_t *items = json_array();
    json_object_set_new(root, "dry_run", json_boolean(dry_run));
    json_object_set_new(root, "held", count_json(&report->held));
    json_object_set_new(root, "needed", count_json(&report->needed));
    json_object_set_new(root, "leased", count_json(&report->leased));
    json_object_set_new(root, "gone", count_json(&report->gone));
    json_put_number(root, "tags", report->tags);
    json_put_number(root, "manifests", report->manifests);
    json_put_number(root, "names", report->names);
    json_put_number(root, "members", report->members);
    json_put_number(root, "records", report->records);
    json_put_number(root, "unreadable", report->unreadable);
    if (report->waits)
        json_put_number(root, "waits_until", report->waits_until_s);
    for (size_t i = 0; i < report->item_count; i++)
        json_array_append_new(items, item_json(&report->items[i]));
    json_object_set_new(root, "items", items);
    json_object_set_new(root, "more", json_boolean(report->more));
    return root;
}
