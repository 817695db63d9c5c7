#include "tests/support/collect_bench.h"

#include "store/local/blob_files.h"
#include "store/local/records_repositories.h"
#include "tests/unit/store/repositories_test.h"

#include <string.h>

/* ---- collections ---- */

/* "*" is anything, at the end only. */
static bool matches(const char *pattern, const char *name)
{
    size_t size = strcspn(pattern, "*");
    return strncmp(pattern, name, size) == 0 && (pattern[size] == '*' || name[size] == '\0');
}

const struct collect_options collect_bench_usual = {.grace_s = COLLECT_BENCH_GRACE_S,
                                                    .untagged_s = COLLECT_FOREVER,
                                                    .cache_bytes = UINT64_MAX,
                                                    .cache_s = COLLECT_FOREVER,
                                                    .matches = matches};

void collect_bench_run_with(struct store *store, const struct collect_options *options,
                            struct collect_report *report)
{
    struct error err = ERROR_INIT;
    assert_ok(store_collect(store, options, report, &err), &err);
}

void collect_bench_run(struct store *store)
{
    struct collect_report report;
    collect_bench_run_with(store, &collect_bench_usual, &report);
    collect_report_deinit(&report);
}

/* ---- records ---- */

void collect_bench_put(struct store *store, enum kv_table table, const struct record_key *key,
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

size_t collect_bench_count(struct store *store, enum kv_table table)
{
    struct error err = ERROR_INIT;
    size_t entries = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_count(&txn, table, &entries, &err), &err);
    return entries;
}

/* ---- what is old ---- */

void collect_bench_age(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    assert_ok(blob_find(store, digest, &found, &record, &err), &err);
    assert_true(found);
    record.last_use_s = COLLECT_BENCH_LONG_AGO;
    struct record_key key = blob_key(digest);
    struct record_value value = blob_value(&record);
    collect_bench_put(store, KV_BLOBS, &key, &value);
}

void collect_bench_age_member(struct store *store, const char *repository,
                              const struct digest *digest)
{
    struct record_key key = repository_digest_key(repository, digest);
    struct record_value value = member_value(COLLECT_BENCH_LONG_AGO);
    assert_true(get_record(store, KV_MEMBERS, &key, NULL));
    collect_bench_put(store, KV_MEMBERS, &key, &value);
}

void collect_bench_date_manifest(struct store *store, const char *repository,
                                 const struct digest *digest, uint64_t put_s, uint64_t number)
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
    collect_bench_put(store, KV_MANIFESTS, &key, &value);
    collect_bench_age(store, digest);
}

void collect_bench_age_manifest(struct store *store, const char *repository,
                                const struct digest *digest, uint64_t put_s)
{
    collect_bench_date_manifest(store, repository, digest, put_s, put_s * 1000);
}

/* ---- what is there ---- */

bool collect_bench_held(struct store *store, const struct digest *digest)
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

struct digest collect_bench_member(struct store *store, const char *repository, const char *content)
{
    struct digest digest = put_blob(store, repository, content);
    collect_bench_age(store, &digest);
    collect_bench_age_member(store, repository, &digest);
    return digest;
}

char *collect_bench_image_text(const struct digest *layer, const char *more)
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
    autofree char *text = collect_bench_image_text(layer, more);
    struct digest digest = put_manifest(store, repository, tag, text);
    collect_bench_age_manifest(store, repository, &digest, COLLECT_BENCH_LONG_AGO);
    return digest;
}

struct digest collect_bench_image(struct store *store, const char *repository, const char *tag,
                                  const struct digest *layer)
{
    return image_with(store, repository, tag, layer, "");
}
