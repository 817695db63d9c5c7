/*
 * The registry of the tests of transfers and of sets of them: an attempt that does what it is told,
 * and can be held. `transfer_box` is set while no transfer runs, but for transfer_box_release().
 */
#ifndef SLIPWAY_TESTS_TRANSFER_BOX_H
#define SLIPWAY_TESTS_TRANSFER_BOX_H

#include "upstream/push/transfers.h"

#include <pthread.h>

#define TRANSFER_BOX_BYTES 4096

struct transfer_box {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool hold;
    unsigned looks; /* attempts that only look for the blob: it is never there */
    unsigned calls; /* the others */
    unsigned now;
    unsigned most;
    unsigned cancelled;
    unsigned fail_first; /* so many attempts fail */
    enum errc fails_with;
    const char *fails_only; /* the blob with this short digest, which is not held; NULL: any */
    enum layer_end end;
    const char *source; /* of what was mounted */
};
extern struct transfer_box transfer_box;

/* All blobs are uploaded; those that are asked for from now on are held, or not. */
void transfer_box_reset(bool hold);
void transfer_box_release(void);

/* Until so many attempts have begun. */
void transfer_box_wait_calls(unsigned calls);
unsigned transfer_box_calls(void);
unsigned transfer_box_looks(void);

/* The attempt, for transfers_join(). */
enum errc transfer_box_attempt(struct target_push *push, const struct push_layer *layer,
                               struct unfinished_upload *upload, struct layer_outcome *outcome,
                               struct error *err);

#endif
