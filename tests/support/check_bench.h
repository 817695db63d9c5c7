/*
 * The bench of the tests of checks: a store with something in every table, damages to it, and what
 * a check says of it.
 */
#ifndef SLIPWAY_TESTS_CHECK_BENCH_H
#define SLIPWAY_TESTS_CHECK_BENCH_H

#include "store/batch.h"
#include "store/check.h"
#include "store/local/internal.h"
#include "store/local/records.h"
#include "store/push.h"

/* ---- the store ---- */

#define CHECK_BENCH_LAYER "the bytes of a layer"
#define CHECK_BENCH_CONFIG "{\"the\":\"config\"}"

/* What is in it, and what a damage is done to. */
struct check_bench {
    struct store *store;
    struct digest layer;
    struct digest config;
    struct digest manifest;
    char push[PUSH_ID_MAX];
};

/* The store is borrowed. */
struct check_bench check_bench_fill(struct store *store);

/* A push of the manifest to two targets, which are the caller's as the push is. */
void check_bench_put_push(struct batch *batch, struct push *push, struct push_target targets[2],
                          const struct digest *manifest);

/* ---- checking ---- */

#define CHECK_BENCH_PROBLEMS_MAX 64

struct check_bench_report {
    struct check_problem problems[CHECK_BENCH_PROBLEMS_MAX];
    size_t count;
    struct check_counts counts;
    char mended[PUSH_ID_MAX]; /* the last push that was */
};

/* To be called by a check, with a report. */
void check_bench_note(void *self, const struct check_problem *problem);

/* A check with the options, whose problems are noted in the report. */
void check_bench_run(struct store *store, const struct check_options *options,
                     struct check_bench_report *report);
/* A check that nobody disturbs; owned. */
struct check_bench_report *check_bench_check(struct store *store, bool repair);

/* NULL: there is none of that kind in the table. */
const struct check_problem *check_bench_find(const struct check_bench_report *report,
                                             enum check_kind kind, const char *table);
void check_bench_print(const struct check_bench_report *report);
void check_bench_is_clean(struct store *store);

/* ---- damages ---- */

void check_bench_put(struct store *store, enum kv_table table, struct record_key key,
                     const void *value, size_t size);
void check_bench_delete(struct store *store, enum kv_table table, struct record_key key);

/* The file of a blob. */
int check_bench_open_blob(const struct check_bench *bench, const struct digest *digest, int flags);

void check_bench_flip_layer(const struct check_bench *bench);
void check_bench_garble_layer(const struct check_bench *bench);
void check_bench_delete_manifest(const struct check_bench *bench);
void check_bench_garble_target(const struct check_bench *bench);
/* Which is no blob's. */
void check_bench_add_file(const struct check_bench *bench);

#endif
