/*
 * Metrics: counters, gauges and histograms that any thread changes without a lock, and the text of
 * OpenMetrics 1.0 in which they are read (github.com/prometheus/OpenMetrics, "Text format").
 *
 * A family is a constant of the program: name, type, help, names of labels. Its samples, one for
 * each combination of label values, are made as they are asked for and live as long as the
 * registry; one that is there is found without a lock, too. Values that somebody has anyway are not
 * kept twice: a collector writes them when the metrics are read.
 *
 * Label values come from the configuration and from small fixed sets, never from what clients send:
 * the number of samples has to be bounded by somebody.
 *
 *     metrics_new, { metrics_sample, metric_add... }, metrics_collect, metrics_text...,
 * metrics_free
 *
 * A registry or a sample that is NULL takes everything and keeps nothing.
 */
#ifndef SLIPWAY_BASE_METRICS_H
#define SLIPWAY_BASE_METRICS_H

#include "base/buf.h"

#include <stdint.h>

#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRIC_LABELS_MAX 4
#define METRIC_BUCKETS_MAX 16

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_INFO };

/* The name is without the endings that the format adds ("_total", "_bucket", "_info"). */
struct metric_family {
    const char *name;
    enum metric_type type;
    const char *help;
    const char *labels[METRIC_LABELS_MAX]; /* NULL behind the last */
    double buckets[METRIC_BUCKETS_MAX];    /* of a histogram: upper bounds, rising; 0 behind them */
};

struct metrics;
struct metric;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics); /* NULL is a no-op */

/* One value for each label of the family, in their order; copied. The family is borrowed for ever.
 */
struct metric *metrics_sample(struct metrics *metrics, const struct metric_family *family,
                              const char *const *values);

/* Of a counter; of a gauge; of a histogram. Any thread, without a lock. */
void metric_add(struct metric *metric, uint64_t number);
void metric_set(struct metric *metric, double value);
void metric_observe(struct metric *metric, double value);

/* What a collector writes to: each family once, then its samples. */
struct metrics_writer;
void metrics_write_family(struct metrics_writer *writer, const struct metric_family *family);
void metrics_write(struct metrics_writer *writer, const char *const *values, double value);

/* Called when the metrics are read, on the thread that reads them: at most a short lock, no disk.
 * Its families are its own. Before others use the registry; it lives as long. */
typedef void metrics_collector(void *self, struct metrics_writer *writer);
void metrics_collect(struct metrics *metrics, metrics_collector *collector, void *self);

/* All of it, with the end mark. Any thread. Over its limit, `out` is overflowed. */
void metrics_text(struct metrics *metrics, struct buf *out);

#endif
