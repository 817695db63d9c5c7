#include "base/metrics.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define COLLECTORS_MAX 8

/* Counters and gauges use the first of `counts`; a gauge's are the bits of a double. */
struct metric {
    struct metric *_Atomic next;
    const struct metric_family *family;
    char *values[METRIC_LABELS_MAX];                 /* owned */
    _Atomic uint64_t counts[METRIC_BUCKETS_MAX + 1]; /* of each bucket alone; the last: above all */
    _Atomic uint64_t sum;                            /* bits of a double */
};

struct collector {
    metrics_collector *call;
    void *self;
};

struct metrics {
    pthread_mutex_t lock; /* for whoever adds a sample; nothing is taken out */
    struct metric *_Atomic first;
    struct collector collectors[COLLECTORS_MAX];
    size_t collector_count;
};

struct metrics_writer {
    struct buf *out;
    const struct metric_family *family;
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = xcalloc(1, sizeof *metrics);
    pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (struct metric *metric = metrics->first, *next; metric; metric = next) {
        next = metric->next;
        for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
            free(metric->values[i]);
        free(metric);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* ---- samples ---- */

static size_t label_count(const struct metric_family *family)
{
    size_t count = 0;
    while (count < METRIC_LABELS_MAX && family->labels[count])
        count++;
    return count;
}

static size_t bucket_count(const struct metric_family *family)
{
    size_t count = 0;
    while (count < METRIC_BUCKETS_MAX && family->buckets[count] > 0)
        count++;
    return count;
}

static bool is_of(const struct metric *metric, const struct metric_family *family,
                  const char *const *values)
{
    if (metric->family != family)
        return false;
    for (size_t i = 0; i < label_count(family); i++)
        if (strcmp(metric->values[i], values[i]) != 0)
            return false;
    return true;
}

/* NULL: there is none; *end is where it would go. */
static struct metric *find(struct metrics *metrics, const struct metric_family *family,
                           const char *const *values, struct metric *_Atomic **end)
{
    struct metric *_Atomic *at = &metrics->first;
    for (struct metric *metric; (metric = atomic_load_explicit(at, memory_order_acquire));) {
        if (is_of(metric, family, values))
            return metric;
        at = &metric->next;
    }
    *end = at;
    return NULL;
}

struct metric *metrics_sample(struct metrics *metrics, const struct metric_family *family,
                              const char *const *values)
{
    struct metric *_Atomic *end;
    struct metric *metric = metrics ? find(metrics, family, values, &end) : NULL;
    if (metrics == NULL || metric)
        return metric;
    autolock pthread_mutex_t *held = lock_take(&metrics->lock);
    if ((metric = find(metrics, family, values, &end)))
        return metric;
    metric = xcalloc(1, sizeof *metric);
    metric->family = family;
    for (size_t i = 0; i < label_count(family); i++)
        metric->values[i] = xstrdup(values[i]);
    atomic_store_explicit(end, metric, memory_order_release);
    return metric;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double value_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void metric_add(struct metric *metric, uint64_t number)
{
    if (metric)
        atomic_fetch_add_explicit(&metric->counts[0], number, memory_order_relaxed);
}

void metric_set(struct metric *metric, double value)
{
    if (metric)
        atomic_store_explicit(&metric->counts[0], bits_of(value), memory_order_relaxed);
}

void metric_observe(struct metric *metric, double value)
{
    if (metric == NULL)
        return;
    size_t buckets = bucket_count(metric->family);
    size_t at = 0;
    while (at < buckets && value > metric->family->buckets[at])
        at++;
    atomic_fetch_add_explicit(&metric->counts[at], 1, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&metric->sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&metric->sum, &sum, bits_of(value_of(sum) + value)))
        ;
}

/* ---- the text ---- */

/* Section "Escaping": in help texts, too, where a quote may be escaped. */
static void write_escaped(struct buf *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\n')
            buf_text(out, "\\n");
        else if (*at == '\\' || *at == '"')
            buf_format(out, "\\%c", *at);
        else
            buf_append(out, at, 1);
    }
}

static void write_number(struct buf *out, double value)
{
    if (isinf(value) || isnan(value))
        buf_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 1e15)
        buf_format(out, "%.0f", value);
    else
        buf_format(out, "%.15g", value);
}

/* `le` is the bound of a bucket; NULL: it is none. */
static void write_labels(struct buf *out, const struct metric_family *family,
                         const char *const *values, const char *le)
{
    size_t count = label_count(family);
    if (count == 0 && le == NULL)
        return;
    buf_text(out, "{");
    for (size_t i = 0; i < count; i++) {
        buf_format(out, "%s%s=\"", i > 0 ? "," : "", family->labels[i]);
        write_escaped(out, values[i]);
        buf_text(out, "\"");
    }
    if (le)
        buf_format(out, "%sle=\"%s\"", count > 0 ? "," : "", le);
    buf_text(out, "}");
}

static void write_line(struct buf *out, const struct metric_family *family, const char *ending,
                       const char *const *values, const char *le, double value)
{
    buf_format(out, "%s%s", family->name, ending);
    write_labels(out, family, values, le);
    buf_text(out, " ");
    write_number(out, value);
    buf_text(out, "\n");
}

void metrics_write_family(struct metrics_writer *writer, const struct metric_family *family)
{
    static const char *const names[] = {[METRIC_COUNTER] = "counter",
                                        [METRIC_GAUGE] = "gauge",
                                        [METRIC_HISTOGRAM] = "histogram",
                                        [METRIC_INFO] = "info"};
    writer->family = family;
    buf_format(writer->out, "# TYPE %s %s\n# HELP %s ", family->name, names[family->type],
               family->name);
    write_escaped(writer->out, family->help);
    buf_text(writer->out, "\n");
}

void metrics_write(struct metrics_writer *writer, const char *const *values, double value)
{
    static const char *const endings[] = {
        [METRIC_COUNTER] = "_total", [METRIC_GAUGE] = "", [METRIC_INFO] = "_info"};
    const struct metric_family *family = writer->family;
    assert(family->type != METRIC_HISTOGRAM);
    write_line(writer->out, family, endings[family->type], values, NULL, value);
}

static void write_histogram(struct buf *out, struct metric *metric)
{
    const struct metric_family *family = metric->family;
    const char *const *values = (const char *const *)metric->values;
    size_t buckets = bucket_count(family);
    uint64_t count = 0;
    for (size_t i = 0; i <= buckets; i++) {
        autobuf struct buf bound = BUF_INIT(40);
        count += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
        if (i < buckets)
            buf_format(&bound, "%.15g%s", family->buckets[i],
                       family->buckets[i] == floor(family->buckets[i]) ? ".0" : "");
        write_line(out, family, "_bucket", values, i < buckets ? buf_cstr(&bound) : "+Inf",
                   (double)count);
    }
    write_line(out, family, "_count", values, NULL, (double)count);
    write_line(out, family, "_sum", values, NULL,
               value_of(atomic_load_explicit(&metric->sum, memory_order_relaxed)));
}

static void write_sample(struct metrics_writer *writer, struct metric *metric)
{
    uint64_t first = atomic_load_explicit(&metric->counts[0], memory_order_relaxed);
    if (metric->family->type == METRIC_HISTOGRAM)
        write_histogram(writer->out, metric);
    else
        metrics_write(writer, (const char *const *)metric->values,
                      metric->family->type == METRIC_GAUGE ? value_of(first) : (double)first);
}

void metrics_collect(struct metrics *metrics, metrics_collector *collector, void *self)
{
    if (metrics == NULL)
        return;
    assert(metrics->collector_count < COLLECTORS_MAX);
    metrics->collectors[metrics->collector_count++] =
        (struct collector){.call = collector, .self = self};
}

static void write_samples(struct metrics_writer *writer, struct metric *first)
{
    metrics_write_family(writer, first->family);
    for (struct metric *metric = first; metric; metric = metric->next)
        if (metric->family == first->family)
            write_sample(writer, metric);
}

/* The samples of a family have to be together. */
static bool is_first(struct metrics *metrics, const struct metric *metric)
{
    const struct metric *at = metrics->first;
    while (at->family != metric->family)
        at = at->next;
    return at == metric;
}

void metrics_text(struct metrics *metrics, struct buf *out)
{
    struct metrics_writer writer = {.out = out};
    for (size_t i = 0; i < metrics->collector_count; i++)
        metrics->collectors[i].call(metrics->collectors[i].self, &writer);
    for (struct metric *metric = metrics->first; metric; metric = metric->next)
        if (is_first(metrics, metric))
            write_samples(&writer, metric);
    buf_text(out, "# EOF\n");
}
