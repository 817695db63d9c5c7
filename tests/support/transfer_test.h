/*
 * What the tests of transfers share: a registry with its places, and pushes that wait for a blob to
 * be there. Nothing is sent: the attempts are those of tests/support/transfer_box.h.
 */
#ifndef SLIPWAY_TESTS_TRANSFER_TEST_H
#define SLIPWAY_TESTS_TRANSFER_TEST_H

#include "upstream/client/registry_host.h"
#include "upstream/push/transfers.h"
#include "upstream/push/upstream.h"

#define TRANSFER_TEST_MS 20000 /* how long is waited for what must come */

/* Of a group of tests. */
struct transfer_test {
    struct executor *executor;
    struct upstream *upstream;
    struct registry_host *host;
};
extern struct transfer_test transfer_test;

/* For cmocka. */
int transfer_test_set_up(void **state);
int transfer_test_tear_down(void **state);

/* ---- pushes that wait ---- */

struct pusher {
    struct registry_credentials credentials;
    struct repository repository;
    struct target_push push;
    struct push_target result;
    struct progress progress;
    struct cancel cancel;
    struct cancel ended; /* requested when the wait has */
    struct descriptor blob;
    struct push_layer layer;
    struct transfer_wait wait;
    pthread_mutex_t lock; /* guards what follows */
    unsigned byte_events;
    char events[4096];
};

/* Of the blob with this content, to the path; owned. */
struct pusher *pusher_new(const char *path, const char *target, const char *content);
/* Its wait has ended. */
void pusher_free(struct pusher *pusher);

/* It waits for the transfer of its blob, which begins if none is under way; and waits no more. */
void pusher_join(struct pusher *pusher);
void pusher_leave(struct pusher *pusher);
/* Its wait has ended so. */
void pusher_expect_end(struct pusher *pusher, enum errc want);

/* `words` NULL: of bytes. */
bool pusher_was_told(struct pusher *pusher, const char *words);
void pusher_wait_told(struct pusher *pusher, const char *words);

/* Of an uploaded blob: the one that is credited has its bytes, the others find it there. */
void pusher_expect_outcome(const struct pusher *pusher, enum layer_end end, unsigned attempts);

#endif
