/*
 * The bench of the tests of collections: blobs and images that nobody has used for long, and what
 * is left of them.
 */
#ifndef SLIPWAY_TESTS_COLLECT_BENCH_H
#define SLIPWAY_TESTS_COLLECT_BENCH_H

#include "store/collect.h"
#include "store/local/internal.h"
#include "store/local/records.h"

#define COLLECT_BENCH_LONG_AGO 1000 /* seconds since the epoch */
#define COLLECT_BENCH_GRACE_S 3600

/* ---- collections ---- */

/* After COLLECT_BENCH_GRACE_S all goes that nobody needs, and no name. */
extern const struct collect_options collect_bench_usual;

/* It succeeds; the report is owned. */
void collect_bench_run_with(struct store *store, const struct collect_options *options,
                            struct collect_report *report);
void collect_bench_run(struct store *store);

/* ---- records ---- */

void collect_bench_put(struct store *store, enum kv_table table, const struct record_key *key,
                       const struct record_value *value);
size_t collect_bench_count(struct store *store, enum kv_table table);

/* ---- what is old ---- */

/* Nobody has used it since. */
void collect_bench_age(struct store *store, const struct digest *digest);
void collect_bench_age_member(struct store *store, const char *repository,
                              const struct digest *digest);
/* Put when the clock said so, as what has this number. The blob too has not been used since. */
void collect_bench_date_manifest(struct store *store, const char *repository,
                                 const struct digest *digest, uint64_t put_s, uint64_t number);
void collect_bench_age_manifest(struct store *store, const char *repository,
                                const struct digest *digest, uint64_t put_s);

/* ---- what is there ---- */

/* Neither a record without its file nor a file without its record. */
bool collect_bench_held(struct store *store, const struct digest *digest);

/* A blob of the repository, and an image there with such a layer, which is its config, too; both
 * are old. The tag may be NULL. */
struct digest collect_bench_member(struct store *store, const char *repository,
                                   const char *content);
struct digest collect_bench_image(struct store *store, const char *repository, const char *tag,
                                  const struct digest *layer);
/* Of such an image, with `more` members of the document; owned. */
char *collect_bench_image_text(const struct digest *layer, const char *more);

#endif
