/*
 * What the jobs that push have in common, whatever they push: an archive (gateway/images.h), an
 * image from its config and layers (gateway/config_image.h), one that is held (gateway/pushes.h).
 * Each fills a report and requests; from there on they are the same.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_JOB_H
#define SLIPWAY_GATEWAY_PUSH_JOB_H

#include "gateway/archive_push.h"
#include "gateway/jobs.h"

/* Push to report->count targets and answer: with the push object when all have ended, or with a
 * stream of events from the beginning (gateway/event_stream.h). Blocks until the push has ended. */
void push_job_send(struct job *job, struct engine *engine, const struct push_request *requests,
                   bool events, struct push_report *report);

/* Answer that report->error keeps it from being pushed; `what` is refused, for the log. */
void push_job_refuse(struct job *job, const char *what, const struct push_report *report);

#endif
