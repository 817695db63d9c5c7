/*
 * Blobs that leave before their manifest: when a client pushes an image into a repository whose
 * targets are certain, each blob leaves for them as soon as it is in, and the push of the manifest
 * waits only for what is left.
 *
 * A blob goes by the same transfers as in a push (upstream/push/transfers.h), so a push that needs
 * it meanwhile joins the transfer, with its attempts and its place in the queue. What was brought
 * there is remembered for its repository (upstream/push/repository_memory.h), and pushes to it use
 * that (push_options.remembers). Nothing that fails here fails a push: it begins without what is
 * missing, and tells the reason if it cannot be mended.
 *
 * A registry that is not known yet is greeted once; where none can be reached, what waits for it is
 * dropped. At most EARLY_QUEUE_MAX blobs wait for one host; more are not sent early, which costs
 * only time.
 *
 * A blob has no diffID here, unless one is known from earlier pushes; else it is remembered as seen
 * under its own digest (store/known_locations.h), and a push that needs it adds its diffID.
 *
 * A blob that nobody needs any more, because the push that would have needed it was cancelled, or
 * because its client took it back, is not sent to its end. A push that waits for its transfer keeps
 * that going; one that has not come so far sends the blob itself.
 *
 * Lifecycle: early_uploads_new, early_upload from any thread, early_uploads_close (cancels and
 * waits), early_uploads_free.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_EARLY_UPLOAD_H
#define SLIPWAY_UPSTREAM_PUSH_EARLY_UPLOAD_H

#include "image/descriptor.h"
#include "image/reference.h"

#define EARLY_QUEUE_MAX 4096

struct growing_blob;
struct upstream;
struct early_uploads;

/* `upstream` is borrowed until early_uploads_free(). */
struct early_uploads *early_uploads_new(struct upstream *upstream);
/* Nothing is taken any more; what runs is cancelled; returns when it has ended. NULL is a no-op. */
void early_uploads_close(struct early_uploads *early);
void early_uploads_free(struct early_uploads *early);

/* Bring the blob (held by the store; its media type need not be known) into the repository of
 * `target`, whose tag and digest do not matter. `via`: as in struct push. Never blocks. */
void early_upload(struct early_uploads *early, const struct reference *target,
                  const struct descriptor *blob, const char *via);

/* The same of a blob that is still being written: what there is of it goes ahead where the registry
 * takes pieces (upstream/push/growing_send.h), and all of it when it is whole: then the store holds
 * it. */
void early_upload_growing(struct early_uploads *early, const struct reference *target,
                          struct growing_blob *blob, const char *via);

/* The blob is not needed in the repository of `target`, as far as the caller knows. Never blocks on
 * a registry. */
void early_uploads_end(struct early_uploads *early, const struct reference *target,
                       const struct digest *digest);
/* Nor is anything that this image or index needs. Reads its manifests, if there is anything to end;
 * what the store does not hold is left as it is. */
void early_uploads_end_image(struct early_uploads *early, const struct reference *target,
                             const struct descriptor *manifest);

#endif
