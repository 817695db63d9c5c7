/*
 * What a registry has under a tag: is it what is expected there? One HEAD (a GET where that names
 * no digest), once at each endpoint until one answers, and never again: who asks waits for an
 * answer, not for a registry. OCI distribution-spec, "Pulling manifests".
 *
 * An ask is a value in its owner that waits without a thread. Those for one reference at one time
 * share one request, whatever each of them expects. A request takes its turn in its host's queue of
 * requests; so long after it was made as tag_asks_new() says it has ended, also in that queue, with
 * TAG_UNKNOWN.
 *
 * An answer that is none is TAG_UNKNOWN, never TAG_ABSENT: that is said only where a registry
 * answered that it has no such manifest or repository.
 *
 * Lifecycle: tag_asks_new, asks from any thread, tag_asks_free when each was answered or cancelled.
 * One lock inside; no answer is told with it.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_TAG_ASK_H
#define SLIPWAY_UPSTREAM_CLIENT_TAG_ASK_H

#include "base/executor.h"
#include "image/digest.h"
#include "image/reference.h"
#include "upstream/client/registries.h"

#define TAG_ASK_MS 5000 /* for an answer that somebody waits for */

enum tag_answer {
    TAG_UNKNOWN, /* `error` says why */
    TAG_SAME,
    TAG_OTHER, /* `digest` is there */
    TAG_ABSENT,
};

/* Zeroed but for the first two. Once, on a worker: answered(), which may free the ask. */
struct tag_ask {
    struct digest expected;
    void (*answered)(struct tag_ask *ask);
    enum tag_answer answer;
    struct digest digest; /* that is there; DIGEST_NONE: none, or not known */
    struct error error;   /* TAG_UNKNOWN */
    /* the module's */
    struct tag_request *request;
    TAILQ_ENTRY(tag_ask) link;
};

struct tag_asks;

/* Borrowed until tag_asks_free(): the registries, which have an executor, and `ends`, a queue
 * without a limit. */
struct tag_asks *tag_asks_new(struct registries *registries, struct work_queue *ends,
                              int64_t limit_ms);
/* Waits for requests that nobody waits for any more. NULL is a no-op. */
void tag_asks_free(struct tag_asks *asks);

/* Ask what is under the tag, or the digest, of `reference`. Never blocks. */
void tag_ask_start(struct tag_asks *asks, const struct reference *reference, struct tag_ask *ask);

/* True: answered() is not called, and the ask is its owner's. False: it was, or is being, called.
 */
bool tag_ask_cancel(struct tag_asks *asks, struct tag_ask *ask);

#endif
