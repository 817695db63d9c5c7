#include "upstream/upload.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/learned.h"
#include "tests/support/upload_double.h"
#include "upstream/registries.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SIZE ((size_t)100001)

struct fixture {
    struct upload_double *fake;
    char folder[64];
    struct store *store;
    char *data;
    struct digest digest;
    struct registries *registries; /* made by the first upload, from: */
    enum upload_way wish;
    uint64_t chunk_bytes;
    uint64_t sent; /* the last progress */
};

static int setup(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct error err = ERROR_INIT;
    fixture->fake = upload_double_start();
    strcpy(fixture->folder, "/tmp/slipway-upload-XXXXXX");
    const struct store_options options = {.path = mkdtemp(fixture->folder),
                                          .map_size_bytes = 1 << 20};
    if (store_open(&options, &fixture->store, &err) != ERR_OK)
        fail_msg("%s", err.text);
    fixture->data = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        fixture->data[i] = (char)(i * 2654435761u >> 24);
    fixture->digest = digest_of(DIGEST_SHA256, fixture->data, SIZE);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    registries_free(fixture->registries);
    store_close(fixture->store);
    upload_double_stop(fixture->fake);
    autofd int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file_remove_tree(tmp, fixture->folder + strlen("/tmp/"), &err);
    free(fixture->data);
    free(fixture);
    return 0;
}

static enum errc find_credentials(void *self, const char *host, const char *path,
                                  struct registry_credentials *out, struct error *err)
{
    (void)self, (void)host, (void)path, (void)err;
    *out = (struct registry_credentials){0};
    return ERR_OK;
}

static struct registry_host *host_of(struct fixture *fixture)
{
    autofree char *endpoint = xasprintf("http://%s", fixture->fake->host);
    const char *const endpoints[] = {endpoint};
    const struct registry_options registry = {
        .host = fixture->fake->host,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .upload = fixture->wish,
        .chunk_bytes = fixture->chunk_bytes,
    };
    const struct registries_options options = {
        .registries = &registry,
        .registry_count = 1,
        .credentials = {.find = find_credentials},
        .user_agent = "slipway-test",
        .store = fixture->store,
    };
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    if ((fixture->registries == NULL &&
         registries_new(&options, &fixture->registries, &err) != ERR_OK) ||
        registries_host(fixture->registries, fixture->fake->host, &host, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return host;
}

static void on_sent(void *arg, uint64_t bytes)
{
    struct fixture *fixture = arg;
    fixture->sent = bytes;
}

/* With a session opened beforehand where `kept`. */
static enum errc upload_with(struct fixture *fixture, bool kept, const struct cancel *cancel,
                             struct error *err)
{
    static const struct registry_credentials nobody;
    struct repository repository;
    struct registry_client client;
    struct upload_session session = {0};
    struct stop stop;
    stop_init(&stop, cancel);
    repository_init(&repository, &host_of(fixture)->endpoints[0], "team/app", &nobody);
    registry_client_open(&client, &repository, &stop);
    if (kept)
        assert_int_equal(upload_session_open(&client, &session, err), ERR_OK);
    const struct http_body body = {.data = fixture->data, .fd = -1, .size = SIZE};
    const struct upload_blob blob = {
        .digest = &fixture->digest, .body = &body, .sent = on_sent, .sent_arg = fixture};
    enum errc code = upload_blob(&client, kept ? &session : NULL, &blob, err);
    assert_false(upload_session_is_open(&session));
    registry_client_close(&client);
    repository_deinit(&repository);
    return code;
}

static enum errc upload(struct fixture *fixture, struct error *err)
{
    return upload_with(fixture, false, NULL, err);
}

static void must_upload(struct fixture *fixture)
{
    struct error err = ERROR_INIT;
    if (upload(fixture, &err) != ERR_OK)
        fail_msg("%s: %s", error_name(err.code), err.text);
    struct upload_double *fake = fixture->fake;
    assert_int_equal(fake->blob_size, SIZE);
    assert_memory_equal(fake->blob, fixture->data, SIZE);
    assert_int_equal(fake->unsized, 0);
}

static size_t requests(struct fixture *fixture, const char *method)
{
    autofree char *prefix = xasprintf("%s ", method);
    return http_double_count(fixture->fake->http, prefix);
}

/* The next process: the same store, nothing else. */
static void restart(struct fixture *fixture)
{
    registries_free(fixture->registries);
    fixture->registries = NULL;
    fixture->fake->refused = 0;
    fixture->fake->received = 0;
}

/* --- ways --- */

static void one_put_is_the_first_way(void **state)
{
    struct fixture *fixture = *state;
    must_upload(fixture);
    assert_int_equal(requests(fixture, "POST"), 1);
    assert_int_equal(requests(fixture, "PUT"), 1);
    assert_int_equal(requests(fixture, "PATCH") + requests(fixture, "HEAD"), 0);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(fixture->sent, SIZE);
}

static void a_kept_session_is_used(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    assert_int_equal(upload_with(fixture, true, NULL, &err), ERR_OK);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->commits, 1);
}

/* Each refusal of a PUT with a body leads to PATCH; the next one begins there, after a restart too.
 */
static void patch_where_put_is_refused(void **state)
{
    static const int statuses[] = {404, 405, 501};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct fixture *fixture = *state;
        fixture->fake->put_status = statuses[i];
        must_upload(fixture);
        assert_int_equal(fixture->fake->refused, 1);
        assert_int_equal(requests(fixture, "PATCH"), 1);
        assert_int_equal(fixture->sent, SIZE);
        assert_string_equal(fixture->fake->ranges_seen, "");

        fixture->fake->refused = 0;
        must_upload(fixture);
        restart(fixture);
        must_upload(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        assert_int_equal(requests(fixture, "PATCH"), 3);
        teardown(state);
        setup(state);
    }
}

static void chunks_where_one_patch_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->put_status = 405;
    fixture->chunk_bytes = 40000;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH", .times = 1, .status = 416};
    must_upload(fixture);
    assert_string_equal(fixture->fake->ranges_seen, "0-39999 40000-79999 80000-100000 ");
    fixture->fake->refused = 0;
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 0);
}

static void one_post_is_the_last_way(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->put_status = 405;
    fixture->fake->patch_status = 405;
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 3);
    restart(fixture);
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(fixture->fake->state, 0);
}

static void no_way_is_left(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->put_status = 405;
    fixture->fake->patch_status = 501;
    fixture->fake->post_status = 202;
    assert_int_equal(upload(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(err.status, 405);
    assert_non_null(strstr(err.text, "PUT "));
    assert_int_equal(fixture->fake->state, 0); /* no session is left either */
    struct learned learned;
    bool found = false;
    assert_int_equal(learned_get(fixture->store, fixture->fake->host, &found, &learned, &err),
                     ERR_OK);
    assert_false(found);
}

static void a_configured_way_is_the_only_one(void **state)
{
    static const struct {
        enum upload_way way;
        const char *method;
        int put, patch, post;
    } cases[] = {
        {UPLOAD_WAY_PUT, "PUT", 405, 0, 0},
        {UPLOAD_WAY_PATCH, "PATCH", 0, 405, 0},
        {UPLOAD_WAY_CHUNKED, "PATCH", 0, 405, 0},
        {UPLOAD_WAY_POST, "POST", 0, 0, 405},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture *fixture = *state;
        struct error err = ERROR_INIT;
        fixture->wish = cases[i].way;
        must_upload(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        assert_int_equal(requests(fixture, cases[i].method), 1);

        fixture->fake->put_status = cases[i].put;
        fixture->fake->patch_status = cases[i].patch;
        fixture->fake->post_status = cases[i].post;
        fixture->fake->commits = 0;
        assert_int_equal(upload(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
        assert_int_equal(fixture->fake->refused, 1);
        assert_int_equal(fixture->fake->commits, 0);
        teardown(state);
        setup(state);
    }
}

static void a_transient_error_changes_nothing(void **state)
{
    static const int statuses[] = {500, 502, 503, 429, 403};
    struct fixture *fixture = *state;
    must_upload(fixture);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct error err = ERROR_INIT;
        upload_double_forget(fixture->fake);
        fixture->fake->faults[0] = (struct upload_fault){
            .method = "PUT", .times = 1, .with_body = true, .status = statuses[i]};
        assert_int_not_equal(upload(fixture, &err), ERR_OK);
        assert_int_equal(err.status, statuses[i]);
        assert_int_equal(requests(fixture, "PATCH"), 0);
        must_upload(fixture);
    }
    assert_int_equal(requests(fixture, "PATCH"), 0);
}

static void what_is_configured_is_known(void **state)
{
    struct fixture *fixture = *state;
    fixture->wish = UPLOAD_WAY_PUT;
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PUT", .times = 1, .status = 404, .forget = true};
    must_upload(fixture);
    assert_int_equal(fixture->fake->sessions, 2);
}

/* A way that has worked is not given up for a single 404. */
static void a_404_of_a_known_way_is_a_mood(void **state)
{
    struct fixture *fixture = *state;
    must_upload(fixture);
    upload_double_forget(fixture->fake);
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PUT", .times = 1, .status = 404, .forget = true};
    must_upload(fixture);
    assert_int_equal(requests(fixture, "PATCH"), 0);
    assert_int_equal(fixture->fake->sessions, 3);
}

/* --- sizes --- */

static void the_body_limit_is_found_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->body_limit = 50000;
    fixture->chunk_bytes = 50000;
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 1);
    assert_string_equal(fixture->fake->ranges_seen, "0-49999 50000-99999 100000-100000 ");
    restart(fixture);
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    assert_int_equal(fixture->fake->received, SIZE);
}

/* One byte over the limit is refused, the limit itself is not. */
static void the_limit_is_inclusive(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->body_limit = SIZE;
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    fixture->fake->body_limit = SIZE - 1;
    fixture->chunk_bytes = SIZE - 1;
    restart(fixture);
    must_upload(fixture);
    assert_int_equal(fixture->fake->refused, 1);
}

static void a_chunk_is_not_shorter_than_the_registry_wants(void **state)
{
    struct fixture *fixture = *state;
    fixture->wish = UPLOAD_WAY_CHUNKED;
    fixture->chunk_bytes = 10000;
    fixture->fake->chunk_least = "60000";
    must_upload(fixture);
    assert_string_equal(fixture->fake->ranges_seen, "0-59999 60000-100000 ");
}

static void a_limit_below_the_shortest_chunk_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->chunk_bytes = 50000;
    fixture->fake->body_limit = 55000;
    fixture->fake->chunk_least = "60000";
    assert_int_equal(upload(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(err.status, 413);
    assert_int_equal(fixture->fake->state, 0);
}

/* --- lost answers --- */

static void a_lost_answer_to_a_commit_is_asked_for(void **state)
{
    static const struct upload_fault ends[] = {
        {.method = "PUT", .times = 1, .effect = true, .drop = true},
        {.method = "PUT", .times = 1, .effect = true, .status = 404},
        {.method = "PUT", .times = 1, .effect = true, .status = 404, .code = "BLOB_UPLOAD_UNKNOWN"},
        {.method = "PUT", .times = 1, .effect = true, .status = 500},
        {.method = "PUT", .times = 1, .effect = true, .status = 504},
    };
    static const enum upload_way ways[] = {UPLOAD_WAY_PUT, UPLOAD_WAY_PATCH, UPLOAD_WAY_AUTO};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
            struct fixture *fixture = *state;
            fixture->wish = ways[way];
            fixture->fake->faults[0] = ends[i];
            must_upload(fixture);
            assert_int_equal(fixture->fake->received, SIZE);
            assert_int_equal(fixture->fake->commits, 1);
            assert_int_equal(requests(fixture, "HEAD"), 1);
            teardown(state);
            setup(state);
        }
}

static void what_did_not_arrive_is_sent_again(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 1, .drop = true};
    must_upload(fixture);
    assert_int_equal(requests(fixture, "HEAD"), 1);
    assert_int_equal(requests(fixture, "PUT"), 2);
    assert_int_equal(fixture->fake->sessions, 1);

    upload_double_forget(fixture->fake);
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 9, .drop = true};
    struct error err = ERROR_INIT;
    assert_int_equal(upload(fixture, &err), ERR_CONNECTION_LOST);
    assert_int_equal(fixture->fake->faults[0].times, 7); /* twice, then it is time to wait */
    assert_int_equal(fixture->fake->state, 0);
}

/* Only the commit is repeated when all the bytes are there. */
static void a_commit_alone_is_repeated(void **state)
{
    struct fixture *fixture = *state;
    fixture->wish = UPLOAD_WAY_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 1, .drop = true};
    must_upload(fixture);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(requests(fixture, "PATCH"), 1);
}

/* --- resuming --- */

static void half_a_patch_is_not_sent_again(void **state)
{
    struct fixture *fixture = *state;
    fixture->wish = UPLOAD_WAY_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){
        .method = "PATCH", .times = 1, .effect = true, .half = true, .drop = true};
    must_upload(fixture);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->received, SIZE + SIZE - SIZE / 2);
    assert_string_equal(fixture->fake->ranges_seen, "50000-100000 ");
    assert_int_equal(fixture->sent, SIZE);
}

static void half_a_put_is_not_sent_again(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->faults[0] = (struct upload_fault){
        .method = "PUT", .times = 1, .effect = true, .half = true, .status = 502};
    must_upload(fixture);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_string_equal(fixture->fake->ranges_seen, "50000-100000 ");
}

static void a_session_lost_at_half_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    fixture->wish = UPLOAD_WAY_CHUNKED;
    fixture->chunk_bytes = 30000;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH",
                                                     .skip = 2,
                                                     .times = 1,
                                                     .forget = true,
                                                     .status = 404,
                                                     .code = "BLOB_UPLOAD_UNKNOWN"};
    must_upload(fixture);
    assert_int_equal(fixture->fake->sessions, 2);
    assert_int_equal(requests(fixture, "HEAD"), 1);
    assert_int_equal(fixture->fake->received, 90000 + SIZE);
}

static void a_session_that_is_always_lost_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->wish = UPLOAD_WAY_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH",
                                                     .times = 99,
                                                     .forget = true,
                                                     .status = 404,
                                                     .code = "BLOB_UPLOAD_UNKNOWN"};
    assert_int_equal(upload(fixture, &err), ERR_UPLOAD_UNKNOWN);
    assert_int_equal(fixture->fake->sessions, 3);
}

static void ranges_of_any_form(void **state)
{
    static const struct {
        enum range_form form;
        const char *seen;
    } cases[] = {
        {RANGE_PLAIN, "0-59999 60000-100000 "},
        {RANGE_BYTES, "0-59999 60000-100000 "},
        {RANGE_ABSENT, "0-59999 60000-100000 "},
        {RANGE_HALF, "0-59999 30000-89999 60000-100000 80001-100000 90001-100000 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture *fixture = *state;
        fixture->wish = UPLOAD_WAY_CHUNKED;
        fixture->chunk_bytes = 60000;
        fixture->fake->ranges = cases[i].form;
        must_upload(fixture);
        size_t size = strlen(cases[i].seen);
        assert_true(strncmp(fixture->fake->ranges_seen, cases[i].seen, size) == 0);
        teardown(state);
        setup(state);
    }
}

/* "0--1" after every PATCH: our own count is believed once. */
static void a_range_that_does_not_advance(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->ranges = RANGE_EMPTY;
    fixture->wish = UPLOAD_WAY_PATCH;
    must_upload(fixture);
    assert_int_equal(fixture->fake->received, SIZE);

    restart(fixture);
    fixture->wish = UPLOAD_WAY_CHUNKED;
    fixture->chunk_bytes = 30000;
    assert_int_equal(upload(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_non_null(strstr(err.text, "nothing was added"));
    assert_int_equal(fixture->fake->received, 60000);

    /* Where the way is free, another one is found. */
    restart(fixture);
    fixture->wish = UPLOAD_WAY_AUTO;
    fixture->fake->body_limit = 60000;
    error_clear(&err);
    assert_int_equal(upload(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(err.status, 413);
}

static void ranges_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long long bytes; /* -1: not understood */
    } cases[] = {
        {"0-99", 100},
        {"bytes=0-99", 100},
        {"bytes 0-99", 100},
        {"0--1", 0},
        {"bytes=0--1", 0},
        {"0-0", 0},
        {"0-1", 2},
        {NULL, -1},
        {"", -1},
        {"1-5", -1},
        {"0-", -1},
        {"0-9x", -1},
        {"0--2", -1},
        {"bytes", -1},
        {"0-+5", -1},
        {"0-99/100", -1},
        {"0-9223372036854775807999", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 77;
        bool good = upload_range_parse(cases[i].text, &bytes);
        assert_int_equal(good, cases[i].bytes >= 0);
        assert_int_equal(bytes, good ? (uint64_t)cases[i].bytes : 77);
    }
}

/* --- where it is sent --- */

static void every_location_is_followed(void **state)
{
    for (int form = LOCATION_RELATIVE; form <= LOCATION_AMPERSAND; form++) {
        struct fixture *fixture = *state;
        fixture->fake->locations = (enum location_form)form;
        fixture->wish = UPLOAD_WAY_CHUNKED;
        fixture->chunk_bytes = 30000;
        must_upload(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        teardown(state);
        setup(state);
    }
}

/* As the rules of url_follow() want it: https stays https, and a public registry leads to no
 * private address. */
static void a_location_that_must_not_be_followed(void **state)
{
    static const char *const locations[] = {
        "https://127.0.0.1/v2/x", "https://localhost:5000/x",       "https://[::1]/x",
        "https://192.168.1.1/x",  "https://169.254.169.254/latest", "http://r.example.com/v2",
        "//10.0.0.1/x",
    };
    struct fixture *fixture = *state;
    static const struct registry_credentials nobody;
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    host_of(fixture);
    assert_int_equal(registries_host(fixture->registries, "r.example.com", &host, &err), ERR_OK);
    struct repository repository;
    struct registry_client client;
    repository_init(&repository, &host->endpoints[0], "team/app", &nobody);
    registry_client_open(&client, &repository, NULL);
    autourl struct url url = {0};
    assert_int_equal(registry_client_url(&client, "blobs/uploads/", &url, &err), ERR_OK);
    for (size_t i = 0; i < sizeof locations / sizeof locations[0]; i++) {
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        struct upload_session session = {0};
        autofree char *line = xasprintf("Location: %s", locations[i]);
        buf_append(&response.headers, line, strlen(line) + 1);
        error_clear(&err);
        assert_int_equal(upload_session_begin(&client, &url, &response, &session, &err),
                         ERR_ADDRESS_REFUSED);
        assert_false(upload_session_is_open(&session));
    }
    registry_client_close(&client);
    repository_deinit(&repository);
}

static void bodies_sent_elsewhere_carry_no_authorization(void **state)
{
    struct fixture *fixture = *state;
    struct upload_double *fake = fixture->fake;
    struct upload_double *other = upload_double_start();
    struct error err = ERROR_INIT;
    autofree char *origin = xasprintf("http://%s", other->host);
    fake->bearer = true;
    fake->redirect = origin;
    other->sessions = 1; /* the session that the URL names */
    other->state = 1;
    assert_int_equal(upload(fixture, &err), ERR_OK);
    assert_int_equal(other->blob_size, SIZE);
    assert_int_equal(other->authorized, 0);
    assert_true(fake->authorized >= 2); /* the POST and the PUT that was sent on */
    upload_double_stop(other);
}

static void a_redirect_to_a_stranger_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->redirect = "ftp://127.0.0.1";
    assert_int_equal(upload(fixture, &err), ERR_REGISTRY_ANSWER);
    assert_int_equal(fixture->fake->commits, 0);
}

/* --- tokens, stalls, cancels --- */

static void a_token_that_ends_in_the_middle_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->bearer = true;
    fixture->wish = UPLOAD_WAY_CHUNKED;
    fixture->chunk_bytes = 30000;
    must_upload(fixture);
    assert_int_equal(fixture->fake->tokens, 1);
    assert_int_equal(fixture->fake->received, SIZE);

    /* The first token is taken back: what begins the next upload finds that out, not a body. */
    fixture->fake->revoked = 1;
    fixture->fake->received = 0;
    must_upload(fixture);
    assert_int_equal(fixture->fake->tokens, 2);
    assert_int_equal(fixture->fake->received, SIZE);
}

static void a_401_in_the_middle_is_answered(void **state)
{
    struct fixture *fixture = *state;
    fixture->fake->bearer = true;
    fixture->wish = UPLOAD_WAY_CHUNKED;
    fixture->chunk_bytes = 30000;
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PATCH", .skip = 1, .times = 1, .revoke = true};
    must_upload(fixture);
    assert_int_equal(fixture->fake->tokens, 2);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->commits, 1);
    assert_int_equal(fixture->fake->received, SIZE + 30000);
}

/* The registry stops reading: given up by rate, asked about, and taken back. */
static void a_stalled_body_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    struct registry_host *host = host_of(fixture);
    const struct transport_options options = {
        .host = host->name, .user_agent = "test", .idle_limit = 2, .stall_s = 1};
    transport_free(host->transport);
    host->transport = transport_new(&options);
    http_double_stall(fixture->fake->http, "PUT");
    assert_int_equal(upload(fixture, &err), ERR_TIMEOUT);
    assert_non_null(strstr(err.text, "stalled"));
    assert_int_equal(requests(fixture, "PUT"), 1);
    assert_int_equal(requests(fixture, "HEAD"), 1);
    assert_int_equal(requests(fixture, "DELETE"), 1);
    http_double_stall(fixture->fake->http, NULL);
    must_upload(fixture);
}

static void a_cancelled_upload_is_taken_back(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_INIT;
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_int_equal(upload_with(fixture, false, &cancel, &err), ERR_CANCELLED);
    assert_int_equal(fixture->fake->commits, 0);
    assert_int_equal(fixture->fake->state, 0);
    cancel_deinit(&cancel);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_put_is_the_first_way),
        TEST(a_kept_session_is_used),
        TEST(patch_where_put_is_refused),
        TEST(chunks_where_one_patch_is_refused),
        TEST(one_post_is_the_last_way),
        TEST(no_way_is_left),
        TEST(a_configured_way_is_the_only_one),
        TEST(a_transient_error_changes_nothing),
        TEST(what_is_configured_is_known),
        TEST(a_404_of_a_known_way_is_a_mood),
        TEST(the_body_limit_is_found_once),
        TEST(the_limit_is_inclusive),
        TEST(a_chunk_is_not_shorter_than_the_registry_wants),
        TEST(a_limit_below_the_shortest_chunk_is_an_error),
        TEST(a_lost_answer_to_a_commit_is_asked_for),
        TEST(what_did_not_arrive_is_sent_again),
        TEST(a_commit_alone_is_repeated),
        TEST(half_a_patch_is_not_sent_again),
        TEST(half_a_put_is_not_sent_again),
        TEST(a_session_lost_at_half_is_replaced),
        TEST(a_session_that_is_always_lost_ends_it),
        TEST(ranges_of_any_form),
        TEST(a_range_that_does_not_advance),
        TEST(ranges_are_read),
        TEST(every_location_is_followed),
        TEST(a_location_that_must_not_be_followed),
        TEST(bodies_sent_elsewhere_carry_no_authorization),
        TEST(a_redirect_to_a_stranger_is_refused),
        TEST(a_token_that_ends_in_the_middle_is_replaced),
        TEST(a_401_in_the_middle_is_answered),
        TEST(a_stalled_body_is_given_up),
        TEST(a_cancelled_upload_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
