/*
 * Which times each kind of request to a registry has, as they are without a configuration: looked
 * at where upstream hands them to the transport. What the transport does about them is the affair
 * of tests/unit/net/test_transport.c.
 */
#include "base/mem.h"
#include "net/transport_private.h"
#include "tests/support/upload_test.h"
#include "upstream/client/registry.h"
#include "upstream/client/registry_manifest.h"
#include "upstream/upload/registry_mount.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE_MS 60000
#define UPLOADS "/blobs/uploads/"
#define MANIFESTS "/manifests/"

struct kind {
    const char *method;
    const char *part;  /* of the URL; of several kinds the first that fits */
    int64_t whole_ms;  /* for all of it; 0: as long as it does not stall */
    int64_t commit_ms; /* for the answer, once the body has gone; 0: it must not stall either */
    unsigned seen;
};

static struct kind kinds[] = {
    {"POST", "mount=", 2 * MINUTE_MS, 0, 0},
    {"POST", "digest=", 0, 15 * MINUTE_MS, 0}, /* a blob in one request */
    {"POST", UPLOADS, 2 * MINUTE_MS, 0, 0},
    {"PATCH", UPLOADS, 0, 0, 0},
    {"PUT", UPLOADS, 0, 15 * MINUTE_MS, 0},
    {"GET", UPLOADS, 2 * MINUTE_MS, 0, 0},
    {"DELETE", UPLOADS, 2000, 0, 0},
    {"HEAD", "/blobs/", 2 * MINUTE_MS, 0, 0},
    {"PUT", MANIFESTS, 0, 15 * MINUTE_MS, 0},
    {"HEAD", MANIFESTS, 2 * MINUTE_MS, 0, 0},
    {"GET", MANIFESTS, 2 * MINUTE_MS, 0, 0},
    {"GET", "/token", 2 * MINUTE_MS, 0, 0},
    {"POST", "/token", 2 * MINUTE_MS, 0, 0},
    {"GET", "/v2/", 2 * MINUTE_MS, 0, 0},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static struct kind *kind_of(const struct http_request *request)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(request->method, kinds[i].method) == 0 && strstr(request->url, kinds[i].part))
            return &kinds[i];
    fail_msg("%s %s is of no kind that has its times here", request->method, request->url);
    return NULL;
}

enum errc __real_transport_exchange(struct connection *connection,
                                    const struct http_request *request,
                                    struct http_response *response, struct error *err);
enum errc __wrap_transport_exchange(struct connection *connection,
                                    const struct http_request *request,
                                    struct http_response *response, struct error *err);

enum errc __wrap_transport_exchange(struct connection *connection,
                                    const struct http_request *request,
                                    struct http_response *response, struct error *err)
{
    const struct transport_times *times = &connection->transport->times;
    struct kind *kind = kind_of(request);
    int64_t whole_ms = request->deadline == HTTP_ANSWER ? times->answer_ms : 0;
    int64_t commit_ms = request->deadline == HTTP_COMMIT ? times->commit_ms : 0;
    whole_ms = request->timeout_ms > 0 ? request->timeout_ms : whole_ms;
    if (whole_ms != kind->whole_ms || commit_ms != kind->commit_ms || times->stall_s != 60)
        fail_msg("%s %s has %lld ms, %lld ms for its answer, %ld s of silence", request->method,
                 request->url, (long long)whole_ms, (long long)commit_ms, times->stall_s);
    kind->seen++;
    return __real_transport_exchange(connection, request, response, err);
}

static void open_client(struct upload_fixture *fixture, struct repository *repository,
                        struct registry_client *client, const char *path,
                        const struct registry_credentials *credentials)
{
    repository_init(repository, &upload_test_host(fixture)->endpoints[0], path, credentials);
    registry_client_open(client, repository, NULL);
}

/* A blob in each way that there is, one that breaks off and is asked about, and what is taken back.
 */
static void send_blobs(struct upload_fixture *fixture)
{
    static const enum upload_method ways[] = {UPLOAD_METHOD_PUT, UPLOAD_METHOD_PATCH,
                                              UPLOAD_METHOD_CHUNKED, UPLOAD_METHOD_POST};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        fixture->selector = ways[i];
        upload_test_must(fixture);
        registries_free(fixture->registries);
        fixture->registries = NULL;
    }
    fixture->selector = UPLOAD_METHOD_CHUNKED;
}

/* What they answer is of no interest. */
static void ask_everything(struct registry_client *client, const struct digest *digest)
{
    static const struct manifest_bytes manifest = {.data = "{}", .size = 2, .media_type = "a/b"};
    struct manifest_answer answer;
    struct upload_session session = {0};
    struct error err = ERROR_INIT;
    struct digest found;
    char *data = NULL;
    size_t size = 0;
    bool is = false;
    registry_ping(client, &err);
    registry_blob_exists(client, digest, &is, &err);
    registry_mount(client, digest, "team/other", &is, &session, &err);
    upload_session_drop(&session);
    registry_manifest_put(client, "1", &manifest, &answer, &err);
    registry_manifest_digest(client, "1", &found, &err);
    registry_manifest_get(client, "1", &data, &size, &err);
    free(data);
    assert_int_equal(upload_session_open(client, DIGEST_SHA256, &session, &err), ERR_OK);
    assert_int_equal(upload_session_ask(client, SIZE, &session, &is, &err), ERR_OK);
    upload_session_cancel(client->repository, &session);
}

static void each_kind_of_request_has_its_times(void **state)
{
    struct upload_fixture *fixture = *state;
    const struct registry_credentials password = {.username = "ci", .password = "s3cret"};
    const struct registry_credentials identity = {.identity_token = "renews"};
    const struct registry_credentials *const both[] = {&password, &identity};
    send_blobs(fixture);
    fixture->fake->bearer = true;
    for (int i = 0; i < 2; i++) {
        struct repository repository;
        struct registry_client client;
        open_client(fixture, &repository, &client, i ? "team/one" : "team/two", both[i]);
        ask_everything(&client, &fixture->digest);
        registry_client_close(&client);
        repository_deinit(&repository);
    }
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (kinds[i].seen == 0)
            fail_msg("no %s of %s was made", kinds[i].method, kinds[i].part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kind_of_request_has_its_times, upload_test_setup,
                                        upload_test_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
