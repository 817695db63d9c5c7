/*
 * What the tests of uploads share: the double, a blob, a store for what is learned, and one upload.
 */
#ifndef SLIPWAY_TESTS_UPLOAD_TEST_H
#define SLIPWAY_TESTS_UPLOAD_TEST_H

#include "tests/support/upload_double.h"
#include "upstream/client/registries.h"
#include "upstream/upload/upload.h"

#define SIZE ((size_t)100001)

struct upload_fixture {
    struct upload_double *fake;
    char folder[64];
    struct store *store;
    char *data;
    struct digest digest;
    struct registries *registries; /* made by the first upload, from: */
    enum upload_method selector;
    uint64_t chunk_bytes;
    struct transport_times times;
    uint64_t sent; /* the last progress */
};

/* For cmocka: *state is a new fixture. */
int upload_test_setup(void **state);
int upload_test_teardown(void **state);

/* The double's, as `selector`, `chunk_bytes` and `times` say at the first call. */
struct registry_host *upload_test_host(struct upload_fixture *fixture);

/* One attempt to upload the blob. `unfinished` and `cancel` may be NULL. */
enum errc upload_test_run(struct upload_fixture *fixture, struct unfinished_upload *unfinished,
                          struct cancel *cancel, struct error *err);
enum errc upload_test(struct upload_fixture *fixture, struct error *err);

/* The same, and the double has the blob afterwards. */
void upload_test_must(struct upload_fixture *fixture);
void upload_test_arrived(struct upload_fixture *fixture);

/* A session as a mount leaves one; and the end of what was not finished. */
void upload_test_open(struct upload_fixture *fixture, struct unfinished_upload *unfinished);
void upload_test_give_up(struct upload_fixture *fixture, struct unfinished_upload *unfinished);

/* How many requests with this method came. */
size_t upload_test_requests(struct upload_fixture *fixture, const char *method);

/* The next process: the same store, nothing else. */
void upload_test_restart(struct upload_fixture *fixture);

#endif
