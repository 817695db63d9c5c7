/*
 * One archive from its first byte to an image in the store: ingest, choice, targets.
 *
 * What is asked for is a push (store/push.h) without an image: its targets, with a tag or without.
 * It becomes the whole push when the archive has been read.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_ARCHIVE_PUSH_H
#define SLIPWAY_GATEWAY_PUSH_ARCHIVE_PUSH_H

#include "base/cancel.h"
#include "gateway/ingest/held_layers.h"
#include "gateway/ingest/image_choice.h"
#include "gateway/push/archive_route.h"
#include "gateway/push/runtime.h"
#include "store/push.h"

/* What is written into the store for one archive, kept or not, is at most the first and the second
 * times the bytes received; with compression "none" its layers are stored as they unpack, and
 * limits.archive is their limit. */
#define ARCHIVE_EXPANSION_FREE_BYTES ((uint64_t)1 << 30)
#define ARCHIVE_EXPANSION_TIMES 1000

/* What was asked for; push_order_deinit(). */
struct push_order {
    struct push push;  /* its targets, and the key of its request, which the others get, too */
    struct push *more; /* owned; of the other images of the archive, where all of them go */
    size_t more_count;
    char *image; /* owned; NULL = the only one */
    bool has_platform;
    struct platform platform;
    bool early;                     /* what looks like a layer of an archive that comes as a stream
                                       leaves before it is known to be one */
    enum setting_codec compression; /* SETTING_CODEC_KEEP: as the configuration says */
    struct route_judge judge;       /* of where the archive's names lead */
    struct held_layers *held;       /* borrowed; completes an archive without its layers; NULL: it
                                       has them all */
    /* Told of each larger file that came, by its digest: the diffID of a layer that is a tar. NULL:
     * nobody is. */
    void (*brought)(void *self, const struct digest *digest);
    void *self;
};

/* Add a target: ERR_REFERENCE_INVALID, ERR_DIGEST_REFERENCE, ERR_BAD_REQUEST over TARGETS_MAX.
 * A target that is there already is not added again. */
enum errc push_order_add(struct push_order *order, const char *text, struct error *err);
/* "keep", "gzip", "zstd" or "none"; ERR_BAD_REQUEST for anything else. */
enum errc compression_parse(const char *text, enum setting_codec *out, struct error *err);
const char *compression_name(enum setting_codec compression);
void push_order_deinit(struct push_order *order);

/* Give the targets without a tag those of `tags`, each once: one target becomes as many.
 * ERR_NO_TAG, which says `advice`, when there are none. */
enum errc push_expand_tags(struct push *push, const char *const *tags, size_t tag_count,
                           const char *advice, struct error *err);

/* Read `source`, choose the image, and complete order->push: the image, its referrers, its targets
 * (one without a tag becomes one for each tag that the archive gives the image). Without any target
 * the mirrors of the configuration decide (gateway/push/archive_route.h); if some of them
 * acknowledge what is stored, image and push are on the disk when it returns. On success the push
 * is accepted: it has its id. On failure nothing of the archive is left in the store. An archive
 * that expands too much is ERR_ARCHIVE_TOO_LARGE. Without a target and without order->image all
 * images of the archive go, each by its own names: the others are pushes of their own, in
 * order->more. Two that would go to one tag are ERR_AMBIGUOUS_IMAGE. With order->held
 * ERR_LAYER_UNKNOWN, where it lacks some. Blocks. */
enum errc archive_take(struct runtime *runtime, struct push_order *order, struct source source,
                       struct cancel *cancel, struct error *err);

#endif
