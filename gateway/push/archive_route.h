/*
 * Where an archive goes whose sender names no target: each whole name that the archive gives the
 * chosen image goes through the mirrors of the configuration (gateway/push/mirrors.h), and gets
 * there under its own tag.
 *
 * Targets whose mirror acknowledges what is stored are pushed after the answer: then the batch is
 * made durable with all that the image needs, and brings the record of the push.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_ARCHIVE_ROUTE_H
#define SLIPWAY_GATEWAY_PUSH_ARCHIVE_ROUTE_H

#include "config/settings.h"
#include "gateway/ingest/image_choice.h"
#include "store/push.h"

/* Says whether a name of an archive may lead on to a target of a mirror; an error where it may not.
 * Without allows() all may. */
struct route_judge {
    enum errc (*allows)(void *self, const char *repository, const struct reference *target,
                        struct error *err);
    void *self;
};

/* Adds the targets to `push`, which has its image, each once; a target of two names that is waited
 * for by one of them is waited for. ERR_REFERENCE_INVALID for an image with a name that is no
 * reference: nobody else says where that would go. ERR_NO_TARGET, listing the names, when none
 * matches a mirror; ERR_BAD_REQUEST over TARGETS_MAX. */
enum errc archive_route(const struct settings *settings, const struct route_judge *judge,
                        const struct chosen_image *chosen, struct batch *batch, struct push *push,
                        struct error *err);

/* The same for the other images of an archive: a batch takes the record of one push only, so theirs
 * are the caller's to put when the batch is in. */
enum errc archive_route_more(const struct settings *settings, const struct route_judge *judge,
                             const struct chosen_image *chosen, struct batch *batch,
                             struct push *push, struct error *err);

#endif
