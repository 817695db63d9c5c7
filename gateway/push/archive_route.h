/*
 * Where an archive goes whose sender names no target: each whole name that the archive gives the
 * chosen image goes through the mirrors of the configuration (gateway/push/mirrors.h), and gets
 * there under its own tag.
 *
 * Targets whose mirror acknowledges what is stored are promised: then the batch is made durable
 * with all that the image needs, and brings the record of what is to be done.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_ARCHIVE_ROUTE_H
#define SLIPWAY_GATEWAY_PUSH_ARCHIVE_ROUTE_H

#include "gateway/push/archive_push.h"

/* Fills report->count, behind and record, and *requests (owned), each target once: those that are
 * waited for first. A target of two names that waits for one of them waits. ERR_NO_TARGET, listing
 * the names, when none matches a mirror; ERR_BAD_REQUEST over TARGETS_MAX. */
enum errc archive_route(const struct settings *settings, const struct chosen_image *chosen,
                        struct batch *batch, struct push_report *report,
                        struct push_request **requests, struct error *err);

#endif
