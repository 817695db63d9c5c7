#include "gateway/server/metrics_page.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "store/health.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX ((size_t)16 << 20)
#define OTHER "other"

/* ---- targets ---- */

/* One line of each metric; the targets that share the label are summed up. */
struct figures {
    const char *label; /* borrowed from the views */
    size_t counts[PUSH_STATE_MAX + 1];
    uint64_t outcomes[PUSH_STATE_MAX + 1];
    uint64_t oldest_s;
    uint64_t success_s;
    enum circuit_state circuit;
};

static enum circuit_state worst_circuit(const struct target_view *view)
{
    enum circuit_state worst = view->circuit.state;
    for (size_t i = 0; i < view->login_count; i++)
        if (view->logins[i].state > worst)
            worst = view->logins[i].state;
    return worst;
}

static void add(struct figures *figures, const struct target_view *view)
{
    enum circuit_state circuit = worst_circuit(view);
    for (size_t i = 0; i <= PUSH_STATE_MAX; i++) {
        figures->counts[i] += view->counts[i];
        figures->outcomes[i] += view->outcomes[i];
    }
    if (view->oldest[0] && (figures->oldest_s == 0 || view->oldest_s < figures->oldest_s))
        figures->oldest_s = view->oldest_s;
    if (view->record.success_s > figures->success_s)
        figures->success_s = view->record.success_s;
    if (circuit > figures->circuit)
        figures->circuit = circuit;
}

/* The others first. An owned array; at least one. */
static size_t figures_of(const struct target_view *views, size_t view_count, struct figures **out)
{
    struct figures *figures = xcalloc(view_count + 1, sizeof *figures);
    size_t count = 1;
    figures[0].label = OTHER;
    for (size_t i = 0; i < view_count; i++) {
        bool other = !views[i].configured || strcmp(views[i].record.name, OTHER) == 0;
        if (!other)
            figures[count].label = views[i].record.name;
        add(&figures[other ? 0 : count++], &views[i]);
    }
    *out = figures;
    return count;
}

static const struct metric_family oldest_family = {
    .name = "slipway_target_oldest_waiting_seconds",
    .type = METRIC_GAUGE,
    .help = "Age of the oldest push after the answer that has not ended; 0 without any.",
    .labels = {"target"}};
static const struct metric_family success_family = {
    .name = "slipway_target_last_success_timestamp_seconds",
    .type = METRIC_GAUGE,
    .help = "When the target confirmed an image last; 0 if never.",
    .labels = {"target"}};
static const struct metric_family queue_family = {.name = "slipway_queue",
                                                  .type = METRIC_GAUGE,
                                                  .help =
                                                      "Pushes to the target that have not ended.",
                                                  .labels = {"target", "state"}};
static const struct metric_family outcomes_family = {
    .name = "slipway_push_outcomes",
    .type = METRIC_COUNTER,
    .help = "Pushes to the target that have ended, since the start.",
    .labels = {"target", "outcome"}};
static const struct metric_family circuit_family = {
    .name = "slipway_target_circuit",
    .type = METRIC_GAUGE,
    .help = "0: pushes go; 1: one tries for all; 2: the registry or a login is waited for.",
    .labels = {"target"}};

static void write_ages(struct metrics_writer *writer, const struct figures *figures, size_t count)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    metrics_write_family(writer, &oldest_family);
    for (size_t i = 0; i < count; i++) {
        uint64_t since_s = figures[i].oldest_s;
        metrics_write(writer, &figures[i].label,
                      since_s > 0 && since_s < now_s ? (double)(now_s - since_s) : 0);
    }
    metrics_write_family(writer, &success_family);
    for (size_t i = 0; i < count; i++)
        metrics_write(writer, &figures[i].label, (double)figures[i].success_s);
    metrics_write_family(writer, &circuit_family);
    for (size_t i = 0; i < count; i++)
        metrics_write(writer, &figures[i].label, (double)figures[i].circuit);
}

static void write_states(struct metrics_writer *writer, const struct figures *figures, size_t count)
{
    static const enum push_state open[] = {PUSH_QUEUED, PUSH_RUNNING, PUSH_WAITING};
    metrics_write_family(writer, &queue_family);
    for (size_t i = 0; i < count; i++)
        for (size_t s = 0; s < sizeof open / sizeof open[0]; s++)
            metrics_write(writer, (const char *[]){figures[i].label, push_state_name(open[s])},
                          (double)figures[i].counts[open[s]]);
    metrics_write_family(writer, &outcomes_family);
    for (size_t i = 0; i < count; i++)
        for (enum push_state state = PUSH_QUEUED; state <= PUSH_STATE_MAX; state++)
            if (push_state_is_final(state))
                metrics_write(writer, (const char *[]){figures[i].label, push_state_name(state)},
                              (double)figures[i].outcomes[state]);
}

static void write_targets(void *self, struct metrics_writer *writer)
{
    const struct gateway *gateway = self;
    autofree struct target_view *views = NULL;
    autofree struct figures *figures = NULL;
    size_t view_count = push_queue_targets(gateway->queue, &views);
    size_t count = figures_of(views, view_count, &figures);
    write_ages(writer, figures, count);
    write_states(writer, figures, count);
}

/* ---- the process ---- */

static const struct metric_family build_family = {.name = "slipway_build",
                                                  .type = METRIC_INFO,
                                                  .help = "Which slipway this is.",
                                                  .labels = {"version"}};
static const struct metric_family memory_family = {.name = "process_resident_memory_bytes",
                                                   .type = METRIC_GAUGE,
                                                   .help = "Memory of the process."};
static const struct metric_family files_family = {
    .name = "process_open_fds", .type = METRIC_GAUGE, .help = "Open file descriptors."};
static const struct metric_family threads_family = {
    .name = "process_threads", .type = METRIC_GAUGE, .help = "Threads of the process."};

static const struct metric_family disk_free_family = {
    .name = "slipway_disk_free_bytes",
    .type = METRIC_GAUGE,
    .help = "Free on the file system of the data folder."};
static const struct metric_family disk_kept_family = {
    .name = "slipway_disk_kept_bytes",
    .type = METRIC_GAUGE,
    .help = "With less free than this nothing new is taken."};
static const struct metric_family metadata_family = {.name = "slipway_metadata_bytes",
                                                     .type = METRIC_GAUGE,
                                                     .help = "Bytes that the metadata take."};
static const struct metric_family metadata_limit_family = {
    .name = "slipway_metadata_limit_bytes",
    .type = METRIC_GAUGE,
    .help = "The most that the metadata may take."};

static double resident_bytes(void)
{
    char line[256] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    if (file)
        fclose(file);
    const char *second = strchr(line, ' ');
    unsigned long pages = second ? strtoul(second, NULL, 10) : 0;
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double entries_of(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    if (folder == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return (double)count;
}

static void write_one(struct metrics_writer *writer, const struct metric_family *family,
                      double value)
{
    metrics_write_family(writer, family);
    metrics_write(writer, NULL, value);
}

static void write_store(void *self, struct metrics_writer *writer)
{
    const struct gateway *gateway = self;
    const struct store_room room = store_room(gateway->runtime->store);
    if (room.known) {
        write_one(writer, &disk_free_family, (double)room.free_bytes);
        write_one(writer, &disk_kept_family, (double)room.kept_bytes);
    }
    write_one(writer, &metadata_family, (double)room.metadata_bytes);
    write_one(writer, &metadata_limit_family, (double)room.metadata_most_bytes);
}

static void write_process(void *self, struct metrics_writer *writer)
{
    (void)self;
    metrics_write_family(writer, &build_family);
    metrics_write(writer, (const char *[]){SLIPWAY_VERSION}, 1);
    write_one(writer, &memory_family, resident_bytes());
    write_one(writer, &files_family, entries_of("/proc/self/fd") - 1); /* that of the folder */
    write_one(writer, &threads_family, entries_of("/proc/self/task"));
}

/* ---- the page ---- */

void metrics_page_open(struct gateway *gateway)
{
    metrics_collect(gateway->runtime->metrics, write_targets, gateway);
    metrics_collect(gateway->runtime->metrics, write_store, gateway);
    metrics_collect(gateway->runtime->metrics, write_process, NULL);
}

struct job *metrics_page_get(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    (void)request;
    struct buf text = BUF_INIT(TEXT_MAX);
    metrics_text(gateway->runtime->metrics, &text);
    reply->status = 200;
    reply_header(reply, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", METRICS_TYPE);
    size_t size = text.size;
    reply_bytes(reply, buf_take(&text), size);
    return NULL;
}
