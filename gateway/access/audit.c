#include "gateway/access/audit.h"

#include "base/clock.h"
#include "base/line_output.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit_line.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define END_MS 5000
#define TELL_MS 60000
#define AUDIT_ID_MAX 40

struct audit {
    struct line_output *output;
    uint64_t run; /* by chance: ids are of one start of the gateway */
    _Atomic uint64_t last;
    _Atomic uint64_t told;   /* of those that were lost */
    _Atomic int64_t tell_ms; /* when the log is told again */
};

/* ---- what is lost ---- */

static void tell(struct audit *audit, const char *why)
{
    uint64_t lost = line_output_lost(audit->output);
    uint64_t told = atomic_exchange(&audit->told, lost);
    uint64_t count = lost > told ? lost - told : 0;
    log_event(LOG_ERROR, "audit.dropped",
              LOG_FIELDS(log_number("count", count), log_text("error", why)), "%s",
              count > 0 ? "lines of the audit stream were lost"
                        : "the file of the audit stream cannot be opened anew");
}

/* Not more than once a minute. */
static void tell_now_and_then(struct audit *audit, const char *why)
{
    int64_t now_ms = clock_ms();
    int64_t due_ms = atomic_load(&audit->tell_ms);
    if (now_ms >= due_ms &&
        atomic_compare_exchange_strong(&audit->tell_ms, &due_ms, now_ms + TELL_MS))
        tell(audit, why);
}

static void on_failed(void *self, const struct error *err)
{
    tell_now_and_then(self, err->text);
}

/* ---- lines ---- */

/* The numbers of one run have no gaps, but for lines that were lost. */
static const char *next_id(struct audit *audit, char id[AUDIT_ID_MAX])
{
    snprintf(id, AUDIT_ID_MAX, "%016" PRIx64 "-%" PRIu64, audit->run,
             atomic_fetch_add(&audit->last, 1) + 1);
    return id;
}

static char *make_line(struct audit *audit, const struct audit_event *event)
{
    char id[AUDIT_ID_MAX];
    char time[CLOCK_TEXT_MAX];
    return audit_line(event, next_id(audit, id), clock_text(time));
}

static void tell_lost(void *self, uint64_t count, struct buf *line)
{
    const struct audit_event event = {
        .action = AUDIT_LOST, .outcome = AUDIT_FAILURE, .count = count};
    autofree char *text = make_line(self, &event);
    buf_text(line, text);
}

void audit_write(struct audit *audit, const struct audit_event *event)
{
    if (audit == NULL)
        return;
    autofree char *line = make_line(audit, event);
    line_output_put(audit->output, line, strlen(line));
    if (line_output_lost(audit->output) > atomic_load(&audit->told))
        tell_now_and_then(audit, "events come faster than they are written");
}

void audit_origin_of(const struct request *request, struct audit_origin *out)
{
    const char *agent = request_header(request, "User-Agent");
    *out = (struct audit_origin){.address = ""};
    if (!request->administrator)
        net_address_text(&request->peer.address, out->address);
    snprintf(out->agent, sizeof out->agent, "%s", agent ? agent : "");
    snprintf(out->request, sizeof out->request, "%s", request->id);
}

/* ---- pushes ---- */

void audit_push_accepted(struct audit *audit, const struct push *push,
                         const struct audit_origin *origin)
{
    const struct audit_event event = {.action = AUDIT_PUSH,
                                      .by = &push->by,
                                      .origin = origin,
                                      .push = push->id,
                                      .repository = push->repository,
                                      .digest = &push->manifest.digest,
                                      .targets = push->targets,
                                      .target_count = push->target_count};
    audit_write(audit, &event);
}

void audit_target_ended(struct audit *audit, const struct push *push,
                        const struct push_target *target)
{
    bool failed = push_state_is_failure(target->state);
    const struct audit_event event = {
        .action = AUDIT_TARGET,
        .outcome = failed ? AUDIT_FAILURE : AUDIT_SUCCESS,
        .error = failed ? &target->error : NULL,
        .by = &push->by,
        .push = push->id,
        .repository = push->repository,
        .digest = target->state == PUSH_PUSHED ? &target->digest : &push->manifest.digest,
        .targets = target,
        .target_count = 1};
    audit_write(audit, &event);
}

/* ---- start and end ---- */

static const struct metric_family dropped_family = {
    .name = "slipway_audit_dropped",
    .type = METRIC_COUNTER,
    .help = "Lines of the audit stream that were lost, since the start."};

static void write_dropped(void *self, struct metrics_writer *writer)
{
    const struct audit *audit = self;
    metrics_write_family(writer, &dropped_family);
    metrics_write(writer, NULL, (double)line_output_lost(audit->output));
}

enum errc audit_open(const char *path, struct metrics *metrics, struct audit **out,
                     struct error *err)
{
    struct line_output_options options = {.fd = STDOUT_FILENO,
                                          .limit_bytes = AUDIT_QUEUE_BYTES,
                                          .tell_lost = tell_lost,
                                          .failed = on_failed};
    if (strcmp(path, "-") != 0 && line_file_open(path, &options.file, err) != ERR_OK)
        return err->code;
    struct audit *audit = xcalloc(1, sizeof *audit);
    options.self = audit;
    audit->output = line_output_new(&options);
    if (getrandom(&audit->run, sizeof audit->run, 0) != sizeof audit->run)
        audit->run = (uint64_t)clock_wall_ms();
    if (!line_output_start(audit->output)) {
        audit_close(audit);
        return fail(err, ERR_IO, 0, "no thread for the audit stream");
    }
    metrics_collect(metrics, write_dropped, audit);
    *out = audit;
    return ERR_OK;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    bool ended = line_output_stop(audit->output, END_MS);
    if (!ended)
        tell(audit, "nobody took it until the end");
    line_output_free(audit->output);
    if (ended) /* else its thread has it still, and the process ends */
        free(audit);
}

void audit_reopen(struct audit *audit)
{
    if (audit)
        line_output_renew(audit->output);
}
