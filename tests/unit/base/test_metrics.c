#include "base/metrics.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

static const struct metric_family events = {
    .name = "events", .type = METRIC_COUNTER, .help = "What \"happens\"", .labels = {"a", "b"}};
static const struct metric_family level = {
    .name = "level", .type = METRIC_GAUGE, .help = "How far"};
static const struct metric_family seconds = {.name = "seconds",
                                             .type = METRIC_HISTOGRAM,
                                             .help = "How long",
                                             .labels = {"a"},
                                             .buckets = {0.5, 1, 10}};

static void assert_text(struct metrics *metrics, const char *wanted)
{
    autobuf struct buf text = BUF_INIT(10000);
    metrics_text(metrics, &text);
    assert_string_equal(buf_cstr(&text), wanted);
}

static struct metric *event(struct metrics *metrics, const char *a, const char *b)
{
    return metrics_sample(metrics, &events, (const char *[]){a, b});
}

static void without_samples_there_is_the_end(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    assert_text(metrics, "# EOF\n");
    metrics_free(metrics);
}

static void samples_of_a_family_are_together(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    metric_add(event(metrics, "x", "1"), 2);
    metric_set(metrics_sample(metrics, &level, NULL), -1.5);
    metric_add(event(metrics, "x", "2"), 3);
    metric_add(event(metrics, "x", "1"), 5);
    assert_ptr_equal(event(metrics, "x", "1"), event(metrics, "x", "1"));
    assert_text(metrics, "# TYPE events counter\n"
                         "# HELP events What \\\"happens\\\"\n"
                         "events_total{a=\"x\",b=\"1\"} 7\n"
                         "events_total{a=\"x\",b=\"2\"} 3\n"
                         "# TYPE level gauge\n"
                         "# HELP level How far\n"
                         "level -1.5\n"
                         "# EOF\n");
    metrics_free(metrics);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    metric_add(event(metrics, "q\"b\\n\n", ""), 1);
    autobuf struct buf text = BUF_INIT(10000);
    metrics_text(metrics, &text);
    assert_non_null(strstr(buf_cstr(&text), "{a=\"q\\\"b\\\\n\\n\",b=\"\"} 1\n"));
    metrics_free(metrics);
}

/* A bound belongs to its bucket, and each bucket has those below. */
static void buckets_are_cumulative(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    struct metric *metric = metrics_sample(metrics, &seconds, (const char *[]){"x"});
    static const double values[] = {0, 0.5, 0.75, 1, 10, 10.25};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        metric_observe(metric, values[i]);
    assert_text(metrics, "# TYPE seconds histogram\n"
                         "# HELP seconds How long\n"
                         "seconds_bucket{a=\"x\",le=\"0.5\"} 2\n"
                         "seconds_bucket{a=\"x\",le=\"1.0\"} 4\n"
                         "seconds_bucket{a=\"x\",le=\"10.0\"} 5\n"
                         "seconds_bucket{a=\"x\",le=\"+Inf\"} 6\n"
                         "seconds_count{a=\"x\"} 6\n"
                         "seconds_sum{a=\"x\"} 22.5\n"
                         "# EOF\n");
    metrics_free(metrics);
}

static void collect(void *self, struct metrics_writer *writer)
{
    metrics_write_family(writer, &level);
    metrics_write(writer, NULL, *(double *)self);
}

static void collectors_are_asked_each_time(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    double value = 1;
    metrics_collect(metrics, collect, &value);
    assert_text(metrics, "# TYPE level gauge\n# HELP level How far\nlevel 1\n# EOF\n");
    value = 2;
    assert_text(metrics, "# TYPE level gauge\n# HELP level How far\nlevel 2\n# EOF\n");
    metrics_free(metrics);
}

static void nobody_counts_nothing(void **state)
{
    (void)state;
    assert_null(event(NULL, "x", "1"));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe(NULL, 1);
    metrics_collect(NULL, collect, NULL);
    metrics_free(NULL);
}

#define THREADS 4
#define ROUNDS 5000

static void *work(void *arg)
{
    static const char *const names[] = {"p", "q", "r"};
    for (size_t i = 0; i < ROUNDS; i++) {
        metric_add(event(arg, names[i % 3], "1"), 1);
        metric_observe(metrics_sample(arg, &seconds, (const char *[]){"x"}), 0.25);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    pthread_t threads[THREADS];
    autobuf struct buf text = BUF_INIT(10000);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, metrics), 0);
    metrics_text(metrics, &text); /* meanwhile */
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    buf_clear(&text);
    metrics_text(metrics, &text);
    assert_non_null(strstr(buf_cstr(&text), "{a=\"p\",b=\"1\"} 6668\n"));
    assert_non_null(strstr(buf_cstr(&text), "{a=\"r\",b=\"1\"} 6664\n"));
    assert_non_null(strstr(buf_cstr(&text), "seconds_count{a=\"x\"} 20000\n"));
    assert_non_null(strstr(buf_cstr(&text), "seconds_sum{a=\"x\"} 5000\n"));
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_samples_there_is_the_end),
        cmocka_unit_test(samples_of_a_family_are_together),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(buckets_are_cumulative),
        cmocka_unit_test(collectors_are_asked_each_time),
        cmocka_unit_test(nobody_counts_nothing),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
