/*
 * What the tests of a push share: a store with images made by hand, the table of registries, a
 * recorder of events, and one push with its result.
 */
#ifndef SLIPWAY_TESTS_PUSH_TEST_H
#define SLIPWAY_TESTS_PUSH_TEST_H

#include "upstream/push/push.h"

#include <stddef.h>

struct made_image {
    struct descriptor manifest;
    struct digest config;
    struct digest layers[32]; /* blobs, in image order */
    struct digest diff_ids[32];
    size_t layer_count;
};

struct push_test {
    char folder[64];
    struct store *store;
    const char *password; /* borrowed */
    struct executor *executor;
    struct upstream *upstream;    /* made by the first push_test_upstream(), with: */
    struct transport_times times; /* of the double's registry */
    struct cancel cancel;
    struct push_target result;
    pthread_mutex_t lock; /* guards what follows */
    char *events;         /* "id status\n" or "- status\n", PROGRESS_BYTES left out */
    unsigned byte_events;
    uint64_t last_current;
};

/* `password` of user "ci"; NULL: no credentials. */
struct push_test *push_test_new(const char *password);
void push_test_free(struct push_test *test);

/* The registries' side. The double at `host` is known to it as plain http: loading the system's
 * certificates for a first attempt over TLS takes longer than all the rest of a test. */
struct upstream *push_test_upstream(struct push_test *test, const char *host);

/* Layers named by letters: "abca" has four, the last being the first again. A letter stands for a
 * content of its own; upper case is a foreign layer, "-" one
 * that the store does not hold. Each has `size` bytes and a diffID that is not
 * its digest. */
struct made_image push_test_image(struct push_test *test, const char *letters, size_t size);

/* An index of images. */
struct descriptor push_test_index(struct push_test *test, const struct made_image *images,
                                  size_t count);

/* One target and what goes there. */
struct push_request {
    struct reference target;
    struct descriptor manifest;
    const struct push_referrer *referrers;
    size_t referrer_count;
    bool remembers;
};

/* `rest` is path and tag. */
struct push_request push_test_request(const struct descriptor *manifest, const char *host,
                                      const char *rest);

/* Push to all of them, and wait: results[i] is of requests[i]. They are of one image. */
void push_test_all(struct push_test *test, const struct push_request *requests, size_t count,
                   const struct progress *progress, struct cancel *cancel,
                   struct push_target *results);
/* One of them; returns the result's code. */
enum errc push_test_one(struct push_test *test, const struct push_request *request,
                        const struct progress *progress, struct cancel *cancel,
                        struct push_target *result);

/* Push to HOST/team/app:1 and return the result's code. */
enum errc push_test_push(struct push_test *test, const struct descriptor *manifest,
                         const char *host);

/* How many events are exactly this. */
size_t push_test_events(struct push_test *test, const char *event);

/* `code` came of it, and the result says so. */
void push_test_expect(const struct push_test *test, enum errc code, enum errc want);
/* And no layer was mounted. */
void push_test_expect_layers(const struct push_test *test, unsigned existed, unsigned uploaded,
                             unsigned skipped);

#endif
