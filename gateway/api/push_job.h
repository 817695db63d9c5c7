/*
 * What the jobs that push have in common, whatever they push: an archive (gateway/api/images.h), an
 * image from its config and layers (gateway/ingest/config_image.h), one that is held
 * (gateway/api/pushes.h). Each makes a push that is accepted; from there on they are the same.
 */
#ifndef SLIPWAY_GATEWAY_API_PUSH_JOB_H
#define SLIPWAY_GATEWAY_API_PUSH_JOB_H

#include "base/buf.h"
#include "gateway/access/requester.h"
#include "gateway/api/request_keys.h"
#include "gateway/http/request.h"
#include "gateway/push/archive_push.h"
#include "gateway/service/gateway.h"

/* The whole body, which is a document that the job needs at once; `out` has its limit.
 * ERR_JSON_TOO_LARGE names `what`. */
enum errc push_job_document(struct job *job, const char *what, struct buf *out, struct error *err);

/* How the client wants to be answered. */
struct push_wishes {
    bool events; /* with a stream of events: Accept */
    bool async;  /* as soon as it is safe, before it is pushed: Prefer, RFC 7240 section 4.1 */
};
struct push_wishes push_wishes_of(const struct request *request);

/* What a job that pushes was asked for, and by which request. */
struct push_call {
    struct gateway *gateway;
    struct requester by;
    struct push_order order;
    struct push_wishes wishes;
    struct request_claim claim;
};
/* ERR_BAD_REQUEST: its headers. Then push_call_deinit(). */
enum errc push_call_init(struct gateway *gateway, const struct request *request,
                         struct push_call *out, struct error *err);
void push_call_deinit(struct push_call *request);

/* May its caller push to the targets that it has named? ERR_FORBIDDEN. */
enum errc push_call_check(const struct push_call *request, struct error *err);

/* At the beginning of a job, with its body where that is a document: true when it goes on. Else it
 * is answered, with what the first request of its key was answered, or a refusal. Its pushes get
 * the key. */
bool push_job_begin(struct job *job, struct push_call *request, const struct buf *body);

/* Push to all targets of all pushes, which are accepted, at once, and answer: with the push object,
 * or that of several, when those that are waited for have ended, or with a stream of events from
 * the beginning (gateway/api/event_stream.h). Called at the end of a job's run(), which it
 * continues; the pushes are those of the order, borrowed until the job is over. Nothing is pushed,
 * and the answer is a refusal, where what is to be promised cannot be recorded. */
void push_job_send(struct job *job, struct push_call *request);

/* Answer that `err` keeps it from being pushed; before push_job_refuse() of a request with a key
 * that key is to be released. */
void push_job_refuse(struct job *job, const struct error *err);

#endif
