/*
 * A request to end: set once, never cleared, asked by an atomic load of it and of its parents, and
 * able to wake whatever waits.
 *
 * A wait ends in one of three ways. cancel_wait() sleeps on it. A wait on something else (a socket,
 * a queue) registers a watch, whose call ends that wait. A child is requested together with its
 * parent, before any watch is called, and can be requested alone: the parts of a push share a child
 * of the caller's cancel.
 *
 * Lifecycle: cancel_init or cancel_init_child, use by any thread, cancel_deinit when no other
 * thread uses it; children before their parent. Where a pointer to a cancel may be NULL, NULL is
 * never requested.
 *
 * Threads: one lock inside. Watches are called by the thread that requests, one after another,
 * without that lock; a call neither blocks nor unwatches anything but itself.
 */
#ifndef SLIPWAY_BASE_CANCEL_H
#define SLIPWAY_BASE_CANCEL_H

#include "base/error.h"
#include "base/lock.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

struct cancel_watch {
    void (*call)(void *self);
    void *self;
    TAILQ_ENTRY(cancel_watch) link; /* the cancel's, as what follows */
    bool listed;
};

struct cancel {
    atomic_bool requested;
    struct cancel *parent; /* NULL: none */
    const char *why;       /* of a child requested alone, for messages; static text */
    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t changed;
    TAILQ_HEAD(cancel_watches, cancel_watch) watches;
    const struct cancel_watch *calling;
    pthread_t caller;
    struct cancel_watch of_parent;
};

void cancel_init(struct cancel *cancel);
/* `parent` is borrowed until cancel_deinit() and may be NULL. */
void cancel_init_child(struct cancel *cancel, struct cancel *parent, const char *why);
void cancel_deinit(struct cancel *cancel);

/* Wakes every waiter and calls every watch. Not async-signal-safe. */
void cancel_request(struct cancel *cancel);

bool cancel_requested(const struct cancel *cancel);

/* Wait `ms` milliseconds or until requested, whichever is first; true when requested. */
bool cancel_wait(struct cancel *cancel, int64_t ms);

/* ERR_CANCELLED when requested, else ERR_OK. */
enum errc cancel_check(const struct cancel *cancel, struct error *err);

/* Register a watch, borrowed until it was called or cancel_unwatch() returned. False, and not
 * registered, when the request has been made already. */
bool cancel_watch(struct cancel *cancel, struct cancel_watch *watch);

/* After this the watch is not called, and no call of it runs unless by this very thread. */
void cancel_unwatch(struct cancel *cancel, struct cancel_watch *watch);

#endif
