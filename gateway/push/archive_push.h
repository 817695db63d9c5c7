/*
 * One archive from its first byte to the results: ingest, choice, push to every target.
 *
 * Two steps, because between them the sender can be let go: archive_take() reads the source and has
 * the image in the store when it returns; archive_send() pushes it. Both block the calling thread.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_ARCHIVE_PUSH_H
#define SLIPWAY_GATEWAY_PUSH_ARCHIVE_PUSH_H

#include "base/cancel.h"
#include "base/limits.h"
#include "gateway/ingest/image_choice.h"
#include "gateway/push/engine.h"
#include "store/pushes.h"
#include "upstream/push/push.h"

/* What was asked for. Owned by whoever made it: push_order_deinit. */
struct push_order {
    struct reference to[TARGETS_MAX]; /* with a tag or without, never with a digest */
    size_t to_count;
    char *image; /* owned; NULL = the only one */
    bool has_platform;
    struct platform platform;
    enum setting_codec compression; /* SETTING_CODEC_KEEP: as the configuration says */
};

/* Add a target: ERR_REFERENCE_INVALID, ERR_DIGEST_REFERENCE, ERR_BAD_REQUEST over TARGETS_MAX. A
 * target that is there already is not added again. */
enum errc push_order_add(struct push_order *order, const char *text, struct error *err);
/* "keep", "gzip", "zstd" or "none"; ERR_BAD_REQUEST for anything else. */
enum errc compression_parse(const char *text, enum setting_codec *out, struct error *err);
const char *compression_name(enum setting_codec compression);
void push_order_deinit(struct push_order *order);

/* What came of it. A plain value but for what is owned: push_report_deinit. */
struct push_report {
    char id[PUSH_ID_MAX];
    struct error error; /* why nothing was pushed at all; ERR_OK when there are results */
    bool has_image;
    struct descriptor manifest;
    struct digest config;            /* DIGEST_NONE for an index */
    struct push_referrer *referrers; /* owned; the requests point to them */
    size_t referrer_count;
    struct push_result *results; /* owned */
    size_t count;
    size_t behind; /* the last so many targets are pushed behind the answer: they are in `record` */
    struct push_record record; /* owned; without targets when behind is 0 */
};

/* Sorts behind all that this process has made or met, whatever the clock does: the order of two
 * promised pushes to one tag is that of their ids. Any thread. */
void push_id_make(char id[PUSH_ID_MAX]);

/* An id of an earlier process: those that are made from now on sort behind it. */
void push_id_met(const char *id);

void push_report_init(struct push_report *report);
void push_report_deinit(struct push_report *report);

/* Read `source`, choose the image, and expand the targets (one without a tag becomes one for each
 * tag that the archive gives the image: ERR_NO_TAG when it gives none). Without any target the
 * mirrors of the configuration decide (gateway/push/archive_route.h); if some of them acknowledge
 * what is stored, the image and report->record are on the disk when it returns. *requests is owned
 * (free()). On failure nothing of the archive is left in the store. */
enum errc archive_take(struct engine *engine, const struct push_order *order, struct source source,
                       struct cancel *cancel, struct push_report *report,
                       struct push_request **requests, struct error *err);

/* Push to the targets that are not behind the answer, and fill report->results: for those that are,
 * with PUSH_RUNNING. */
void archive_send(struct engine *engine, const struct push_request *requests,
                  const struct progress *progress, struct cancel *cancel,
                  struct push_report *report);

/* All of its targets are pushed behind the answer. */
bool push_report_is_promise(const struct push_report *report);

/* The first failure of the report that counts (not of an optional target), or NULL. */
const struct error *push_report_failure(const struct push_report *report);

/* One line in the log: what the target has now, or why not. */
void push_result_log(const char *id, const struct push_result *result);

#endif
