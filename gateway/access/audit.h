/*
 * The audit stream: who did what, or was kept from it, one line of JSON (docs/audit.md,
 * docs/audit.schema.json) an event, in a file or on stdout.
 *
 *     audit_open -> { audit_write... } -> audit_close
 *
 * Nobody waits for it: a line is copied into a queue of AUDIT_QUEUE_BYTES that one thread writes
 * (base/line_output.h). What does not fit, or what the disk does not take, is lost: counted
 * (slipway_audit_dropped_total), told in the log (audit.dropped) once a minute, and said in the
 * stream in its place.
 *
 * Whoever knows what an event came to writes it, once: a handler, a job, the queue of pushes. No
 * secrets: no tokens, passwords, headers or queries. Texts of strangers are cut, and escaped where
 * they are not printable ASCII.
 *
 * Any thread, HTTP threads too; not for signal handlers, and not under a lock.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_AUDIT_H
#define SLIPWAY_GATEWAY_ACCESS_AUDIT_H

#include "base/metrics.h"
#include "gateway/access/audit_event.h"

#define AUDIT_QUEUE_BYTES ((size_t)4 << 20)

void audit_origin_of(const struct request *request, struct audit_origin *out);

struct audit;

/* `path` is that of a file, which is made with mode 0600 and opened anew where it was renamed, or
 * "-": stdout. `metrics` outlives it and is not read after audit_close(). ERR_IO, ERR_NO_SPACE. */
enum errc audit_open(const char *path, struct metrics *metrics, struct audit **out,
                     struct error *err);
/* What waits is written, for some seconds at most. After all that writes; NULL is a no-op. */
void audit_close(struct audit *audit);

/* The file is opened anew, as after SIGHUP. NULL is a no-op. */
void audit_reopen(struct audit *audit);

/* NULL is a no-op. */
void audit_write(struct audit *audit, const struct audit_event *event);

/* A push was accepted, by a request; a target of one has come to its final state, which may be
 * hours later: both say who the push is by. */
void audit_push_accepted(struct audit *audit, const struct push *push,
                         const struct audit_origin *origin);
void audit_target_ended(struct audit *audit, const struct push *push,
                        const struct push_target *target);

#endif
