/*
 * Requests that take time. A job is one such request: a connection of the HTTP server on one side,
 * a worker that may block on the other, a bounded ring between them for the body. The connection is
 * suspended whenever it would have to wait, so memory is constant and a slow disk or registry slows
 * the sender down.
 *
 *     HTTP thread: job_start -> job_put... -> job_end -> (suspended) -> job_reply -> job_drop
 *     worker:      work.run: job_body ... job_received ... job_answer
 *
 * A job is a work in the queue of its class (base/executor.h). Its run() may return before the job
 * is over: after job_continue() it goes on without a worker, keeps its place, and ends with
 * job_over().
 *
 * The lines that run() logs have the log scope of the thread that began the job: the request's id.
 *
 * run() pulls as much of the body as it wants; what is left is dropped, so that a client gets its
 * answer after its last byte. It calls job_answer() once; without it the answer is ERR_INTERNAL.
 *
 * How many. Each class has its limit. An archive beyond it is refused at once with ERR_BUSY: its
 * client tries again. Registry clients do not, so their requests wait their turn, with at most a
 * ring's worth of their body taken; REQUESTS_MAX bounds how many. The places of a class are shared
 * by client (gateway/http/places.h): by identity, and by address where there is none, and a body
 * that is slow, or one of an address that holds too many, ends when others want its place:
 * jobs_sweep(). Its client gets the answer at once.
 *
 * Ownership: a job has two references, the connection's and the work's; the last one frees it. The
 * lock of a job guards its reply; that of the table guards counts, queues and the list. Suspended
 * connections have no timeout: the job owns the deadline (CLIENT_IDLE_MS) and always comes to an
 * end, so every suspended connection is resumed.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_JOBS_H
#define SLIPWAY_GATEWAY_HTTP_JOBS_H

#include "base/cancel.h"
#include "base/executor.h"
#include "base/stream.h"
#include "gateway/http/peer.h"
#include "gateway/http/reply.h"

/* A body may pause for so long. */
#define CLIENT_IDLE_MS 60000

/* Who is slow loses its place to others. Each time CLIENT_PACE_MS were spent waiting for a body, it
 * must have brought CLIENT_PACE_BYTES meanwhile, or it ends as soon as others of its class want a
 * place. While the gateway stops it ends in any case, and after STOPPING_PACE_MS. */
#define CLIENT_PACE_MS 30000
#define CLIENT_PACE_BYTES ((size_t)64 << 10)
#define STOPPING_PACE_MS 3000

/* Places are shared by client. Where one holds more than half of a class and
 * another one has got no place for SHARE_WAIT_MS, the slowest body of the first ends if it brought
 * less than SHARE_PACE_BYTES in CLIENT_PACE_MS; after SHARE_WAIT_LONG_MS whatever it brought. */
#define SHARE_WAIT_MS 20000
#define SHARE_WAIT_LONG_MS 120000
#define SHARE_PACE_BYTES ((size_t)1 << 20)

/* Requests that were not answered, of all classes together. One more, and one of the address that
 * has most of them is refused (ERR_BUSY): the newest that waits, or this one. */
#define REQUESTS_MAX 768

#define JOB_DOCUMENT_BYTES ((size_t)64 << 10)
#define JOB_DOCUMENTS_MAX 8

enum job_class {
    JOB_ARCHIVE, /* limits.uploads bodies, limits.pushes jobs; refused beyond */
    JOB_BLOB,    /* limits.blobs; waits */
    JOB_PUSH,    /* limits.pushes; waits: manifests and pushes of what is held */
    JOB_BRIEF,   /* a few; waits: what needs neither a body nor a registry, so that slow clients and
                    registries keep nobody from it */
    JOB_LIST,    /* a few; waits: what looks through many records, and so takes a core */
    JOB_WAIT,    /* WAITS_AT_ONCE; waits: what only waits, without a worker, for something that ends
                    soon in any case */
    JOB_ADMIT,   /* ADMITS_AT_ONCE; waits: who a request is of, where a password has to be hashed */
    JOB_FORM,    /* FORMS_AT_ONCE; waits: logins that come as a small body, so that neither uploads
                    nor what is quick stands in line with them */
};
#define JOB_CLASSES 8
#define WAITS_AT_ONCE (REQUESTS_MAX / 2)
#define ADMITS_AT_ONCE 2
#define FORMS_AT_ONCE 16

struct jobs; /* the table of all of them */
struct job;

/* Of each at least one. */
struct jobs_limits {
    unsigned uploads;
    unsigned blobs;
    unsigned pushes;
};

/* `executor` is borrowed until jobs_free(). */
struct jobs *jobs_new(const struct jobs_limits *limits, struct executor *executor);
void jobs_free(struct jobs *jobs); /* when none runs */

/* Refuse new ones from now on (ERR_STOPPING); cancel those that run; wait until none runs and every
 * connection got its answer. */
void jobs_close(struct jobs *jobs);
void jobs_cancel(struct jobs *jobs);
bool jobs_wait(struct jobs *jobs, int64_t ms);
bool jobs_closed(struct jobs *jobs);

/* End the bodies that have to give up their places, as of now: `now_ms` is clock_ms(). To be called
 * about once a second. */
void jobs_sweep(struct jobs *jobs, int64_t now_ms);

struct job_work {
    enum job_class class;
    void (*run)(struct job *job, void *self);
    void (*free)(void *self); /* of `self`, when the job is over or never ran */
    void *self;
};

/* Begin one. work->self is taken on success. ERR_BUSY, ERR_STOPPING. */
enum errc job_start(struct jobs *jobs, const struct job_work *work, struct peer peer,
                    struct job **out, struct error *err);

/* --- HTTP thread --- */

/* Bytes of the body; returns how many were taken. When that is less than `size`, the connection has
 * been suspended and the rest must be offered again after it was resumed. */
size_t job_put(struct job *job, const void *data, size_t size);

/* The body is complete. */
void job_end(struct job *job);

/* The reply (taken by the caller), true once; when it is not ready yet, false, and the connection
 * has been suspended until it is. */
bool job_reply(struct job *job, struct reply *out);

/* The next job_reply() is true. */
bool job_answered(struct job *job);

/* The connection is over, for whatever reason; `complete` when its request was. Drops the
 * connection's reference. */
void job_drop(struct job *job, bool complete);

/* --- the worker --- */

/* The body. ERR_CLIENT_GONE, ERR_CLIENT_STALLED, ERR_STOPPING, or why it was interrupted. */
struct source job_body(struct job *job);
uint64_t job_body_bytes(struct job *job); /* that came so far */

/* Wait until the body is there, or as much of it as the ring takes; half a second at most. For who
 * is about to hold what others want: a small body then keeps nobody waiting for its bytes. */
void job_gather(struct job *job);

/* Before `size` bytes of the body are in memory: beyond JOB_DOCUMENT_BYTES it is one of at most
 * JOB_DOCUMENTS_MAX at once, over all classes, and waits for that. While others wait, it is held to
 * the pace above. ERR_STOPPING or another end of the job's cancel. */
enum errc job_document(struct job *job, size_t size, struct error *err);
/* The document is gone; the end of the job says that, too. */
void job_document_over(struct job *job);

/* No more of the body is wanted; a class with a limit on bodies counts it no more. */
void job_received(struct job *job);

/* What asks the job to end. */
struct cancel *job_cancelled(struct job *job);

/* Whom a stream of events makes wait. */
struct suspendable job_connection(const struct job *job);

/* The reply is taken. With a stream of events the job goes on. */
void job_answer(struct job *job, struct reply *reply);

/* The client has taken all of the answer in so long from now, or its connection ends. Before the
 * end of a stream of events. */
void job_answer_within(struct job *job, int64_t ms);

/* Within run(): the job goes on after it has returned, until job_over(), from any thread and also
 * before run() has returned. */
void job_continue(struct job *job);
void job_over(struct job *job);

/* --- any thread, while the job is known to run --- */

/* Its body ends with this error; false when all of the body is there, which is left alone
 * (blob_upload_open's `overtaken`). */
bool job_interrupt(struct job *job, const struct error *why);

#endif
