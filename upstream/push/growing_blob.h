/*
 * A blob that is still being written: what its writer and those who send it meanwhile share. They
 * read its bytes by pread, as far as they are there, and hear whenever there are more; its digest
 * is known when it is whole.
 *
 * Lifecycle: growing_blob_new() by the writer, which tells how it grows and once how it ends, and
 * releases it; each who sends it holds it for as long. The file descriptor is closed with the last.
 *
 * Who sends it reports in, and out when the rest of it has become a transfer like any other
 * (upstream/push/transfers.h) or nothing comes of it. The writer waits for that before the image's
 * own push begins, so that this joins the transfer and does not send the blob once more.
 *
 * Threads: any; one lock inside, under which watches are called.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_GROWING_BLOB_H
#define SLIPWAY_UPSTREAM_PUSH_GROWING_BLOB_H

#include "base/cancel.h"
#include "image/descriptor.h"

#include <sys/queue.h>

enum growth { BLOB_GROWS, BLOB_IS_WHOLE, BLOB_BROKE };

struct growing_blob;

/* Somebody who hears of each growth and of the end; must not block, nor use the blob. */
struct growing_watch {
    void (*call)(void *self, enum growth growth, uint64_t bytes);
    void *self;
    LIST_ENTRY(growing_watch) link;
};

/* `fd`, which is owned from now on, reads what has been written. */
struct growing_blob *growing_blob_new(int fd);
struct growing_blob *growing_blob_hold(struct growing_blob *blob);
void growing_blob_release(struct growing_blob *blob); /* NULL is a no-op */

/* The writer's: so many bytes more; then its end: what it has become, NULL when it will not be. */
void growing_blob_grew(struct growing_blob *blob, uint64_t bytes);
void growing_blob_ended(struct growing_blob *blob, const struct descriptor *whole);

int growing_blob_fd(const struct growing_blob *blob);
/* `whole` is filled when it is. */
enum growth growing_blob_now(struct growing_blob *blob, uint64_t *bytes, struct descriptor *whole);

/* Called at once, too. After growing_blob_unwatch() it is not called any more. */
void growing_blob_watch(struct growing_blob *blob, struct growing_watch *watch);
void growing_blob_unwatch(struct growing_blob *blob, struct growing_watch *watch);

/* One more sends it; one has handed it on. */
void growing_blob_report_in(struct growing_blob *blob);
void growing_blob_report_out(struct growing_blob *blob);
/* Until all have, or the cancel is requested. */
void growing_blob_await(struct growing_blob *blob, struct cancel *cancel);

#endif
