#include "tests/support/upload_test.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/store_local.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

int upload_test_setup(void **state)
{
    struct upload_fixture *fixture = xcalloc(1, sizeof *fixture);
    struct error err = ERROR_INIT;
    fixture->fake = upload_double_start();
    const struct store_options options = {.map_size_bytes = 1 << 20};
    if (store_open_local(test_folder_make(fixture->folder), &options, &fixture->store, &err) !=
        ERR_OK)
        fail_msg("%s", err.text);
    fixture->data = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        fixture->data[i] = (char)(i * 2654435761u >> 24);
    fixture->digest = digest_of(DIGEST_SHA256, fixture->data, SIZE);
    *state = fixture;
    return 0;
}

int upload_test_teardown(void **state)
{
    struct upload_fixture *fixture = *state;
    registries_free(fixture->registries);
    store_close(fixture->store);
    upload_double_stop(fixture->fake);
    test_folder_remove(fixture->folder);
    free(fixture->data);
    free(fixture);
    return 0;
}

static enum errc find_credentials(void *self, const char *host, const char *path,
                                  const struct credentials_refusal *refused,
                                  struct registry_credentials *out, struct error *err)
{
    (void)refused;
    (void)self, (void)host, (void)path, (void)err;
    *out = (struct registry_credentials){0};
    return ERR_OK;
}

struct registry_host *upload_test_host(struct upload_fixture *fixture)
{
    autofree char *endpoint = xasprintf("http://%s", fixture->fake->host);
    const char *const endpoints[] = {endpoint};
    const struct registry_options registry = {
        .host = fixture->fake->host,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .upload = fixture->selector,
        .chunk_bytes = fixture->chunk_bytes,
        .times = fixture->times,
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
    struct upload_fixture *fixture = arg;
    fixture->sent = bytes;
}

enum errc upload_test_run(struct upload_fixture *fixture, struct unfinished_upload *unfinished,
                          struct cancel *cancel, struct error *err)
{
    static const struct registry_credentials nobody;
    struct repository repository;
    struct registry_client client;
    repository_init(&repository, &upload_test_host(fixture)->endpoints[0], "team/app", &nobody);
    registry_client_open(&client, &repository, cancel);
    const struct http_body body = {.data = fixture->data, .fd = -1, .size = SIZE};
    const struct upload_blob blob = {
        .digest = &fixture->digest, .body = &body, .sent = on_sent, .sent_arg = fixture};
    enum errc code = upload_blob(&client, unfinished, &blob, err);
    if (unfinished && !unfinished->begun)
        assert_false(upload_session_is_open(&unfinished->session));
    registry_client_close(&client);
    repository_deinit(&repository);
    return code;
}

enum errc upload_test(struct upload_fixture *fixture, struct error *err)
{
    return upload_test_run(fixture, NULL, NULL, err);
}

void upload_test_must(struct upload_fixture *fixture)
{
    struct error err = ERROR_INIT;
    if (upload_test(fixture, &err) != ERR_OK)
        fail_msg("%s: %s", error_name(err.code), err.text);
    upload_test_arrived(fixture);
}

void upload_test_open(struct upload_fixture *fixture, struct unfinished_upload *unfinished)
{
    static const struct registry_credentials nobody;
    struct error err = ERROR_INIT;
    struct repository repository;
    struct registry_client client;
    repository_init(&repository, &upload_test_host(fixture)->endpoints[0], "team/app", &nobody);
    registry_client_open(&client, &repository, NULL);
    assert_int_equal(upload_session_open(&client, DIGEST_SHA256, &unfinished->session, &err),
                     ERR_OK);
    registry_client_close(&client);
    repository_deinit(&repository);
}

void upload_test_give_up(struct upload_fixture *fixture, struct unfinished_upload *unfinished)
{
    static const struct registry_credentials nobody;
    struct repository repository;
    repository_init(&repository, &upload_test_host(fixture)->endpoints[0], "team/app", &nobody);
    upload_give_up(&repository, unfinished);
    assert_false(upload_session_is_open(&unfinished->session) || unfinished->begun);
    repository_deinit(&repository);
}

void upload_test_arrived(struct upload_fixture *fixture)
{
    struct upload_double *fake = fixture->fake;
    assert_int_equal(fake->blob_size, SIZE);
    assert_memory_equal(fake->blob, fixture->data, SIZE);
    assert_int_equal(fake->unsized, 0);
}

size_t upload_test_requests(struct upload_fixture *fixture, const char *method)
{
    autofree char *prefix = xasprintf("%s ", method);
    return http_double_count(fixture->fake->http, prefix);
}

void upload_test_restart(struct upload_fixture *fixture)
{
    registries_free(fixture->registries);
    fixture->registries = NULL;
    fixture->fake->refused = 0;
    fixture->fake->received = 0;
}
