/*
 * What the files of gateway/registry/confirm.h share: confirm.c (who asks, and how it ends),
 * confirm_words.c (what is known of targets) and confirm_deliver.c (pushing again).
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_CONFIRM_INTERNAL_H
#define SLIPWAY_GATEWAY_REGISTRY_CONFIRM_INTERNAL_H

#include "gateway/push/mirrors.h"
#include "gateway/push/runtime.h"
#include "gateway/registry/last_word.h"

#include <pthread.h>
#include <sys/queue.h>

TAILQ_HEAD(waiters, confirm_waiter);

/* A required target of the repository. */
struct confirm_target {
    struct tag_ask ask;
    struct confirm *confirm;
    struct mirror_target target; /* its repository has the tag */
    /* under the lock */
    bool asked;
    enum tag_step step;
    bool waits; /* a push has to end there */
    bool lacks; /* and has failed, or is not made now */
};

enum phase { CONFIRM_ASKS, CONFIRM_DELIVERS, CONFIRM_ENDS };

/* A tag that is asked about. */
struct confirm {
    struct work work;
    struct confirms *all;
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    int64_t confirm_ms;
    bool stored; /* nobody ever waits */
    struct error error;
    /* under the lock */
    TAILQ_ENTRY(confirm) link;
    enum phase phase;
    bool timed; /* the work waits for its time */
    size_t asking;
    struct waiters waiters;
    size_t count;
    struct confirm_target targets[];
};

struct confirms {
    struct runtime *runtime;
    struct push_queue *queue;
    struct work_queue *works;
    struct work restore;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    struct last_words *words;
    TAILQ_HEAD(confirm_list, confirm) list;
    size_t under_way; /* those in the list, and the restore */
    bool closed;
};

/* --- confirm_words.c; with the lock --- */

/* Fill in what is known of a target, whose repository has the tag, and how it stands in the queue.
 */
void confirm_look(struct confirms *confirms, const struct mirror_target *target,
                  struct tag_state *state);
/* The same: is it to be asked? */
bool confirm_asks(struct confirms *confirms, const struct mirror_target *target,
                  struct tag_state *state);
/* A target, or a host, gave no answer. */
void confirm_note_silence(struct confirms *confirms, const char *of, int64_t confirm_ms);
/* A push there has ended at that time, clock_ms(). */
void confirm_note_end(struct confirms *confirms, const struct digest *manifest,
                      const struct push_target *target, int64_t at_ms);

/* The work that reads records; without the lock. */
void confirms_restore_work(struct work *work);

/* --- confirm_deliver.c; without the lock --- */

/* Push again where that is the step. confirm->error says why not. */
void confirm_deliver(struct confirm *confirm);

/* --- confirm.c; without the lock --- */

/* One of what is under way. */
void confirms_one_ended(struct confirms *confirms);

#endif
