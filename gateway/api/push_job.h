/*
 * What the jobs that push have in common, whatever they push: an archive (gateway/api/images.h), an
 * image from its config and layers (gateway/ingest/config_image.h), one that is held
 * (gateway/api/pushes.h). Each fills a report and requests; from there on they are the same.
 */
#ifndef SLIPWAY_GATEWAY_API_PUSH_JOB_H
#define SLIPWAY_GATEWAY_API_PUSH_JOB_H

#include "base/buf.h"
#include "gateway/push/archive_push.h"
#include "gateway/service/gateway.h"

/* The whole body, which is a document that the job needs at once; `out` has its limit.
 * ERR_JSON_TOO_LARGE names `what`. */
enum errc push_job_document(struct job *job, const char *what, struct buf *out, struct error *err);

/* The requests for an image that report->manifest and ->referrers say: one for each target of the
 * order, those without a tag under `tag`; "" is ERR_NO_TAG. *requests is owned, report->count set.
 */
enum errc push_job_targets(const struct push_order *order, const char *tag,
                           struct push_report *report, struct push_request **requests,
                           struct error *err);

/* Push to report->count targets and answer: with the push object when all have ended, or with a
 * stream of events from the beginning (gateway/api/event_stream.h). Blocks until the push has
 * ended. What report->record promises is started (gateway/push/behind.h) and not waited for. */
void push_job_send(struct job *job, struct gateway *gateway, const struct push_request *requests,
                   bool events, struct push_report *report);

/* Answer that report->error keeps it from being pushed. */
void push_job_refuse(struct job *job, const struct push_report *report);

#endif
