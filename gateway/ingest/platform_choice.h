/*
 * Which platform's image of a candidate is pushed (gateway/ingest/image_choice.h): the one that was
 * asked for, all of a whole index, or the only one that the archive holds.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_PLATFORM_CHOICE_H
#define SLIPWAY_GATEWAY_INGEST_PLATFORM_CHOICE_H

#include "base/buf.h"
#include "gateway/ingest/listing.h"

/* Of the text of a list in a message. */
#define PLATFORM_LIST_BYTES 4096

/* *root is the candidate's, or of what is below it; what is pushed instead afterwards. It is not
 * used for a docker image. `wanted` may be NULL: any. ERR_PLATFORM_UNKNOWN, ERR_BLOB_MISSING,
 * ERR_AMBIGUOUS_IMAGE; errors name the platforms that there are. */
enum errc platform_choose(struct listing *listing, const struct candidate *candidate,
                          const struct platform *wanted, struct descriptor *root,
                          struct error *err);

/* Not "unknown", which is what attestations are for. */
bool platform_choice_known(const struct platform *platform);

/* To a list, behind a comma. */
void platform_choice_append(struct buf *list, const char *text);
/* ERR_PLATFORM_UNKNOWN; `there` lists what there is. */
enum errc platform_choice_fail(const struct platform *wanted, const struct buf *there,
                               struct error *err);

#endif
