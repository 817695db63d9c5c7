#include "upstream/client/exchange.h"

#include "base/mem.h"
#include "tests/support/http_double.h"
#include "upstream/auth/token_fetch.h"

#include <stdio.h>
#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A registry whose one good password is "new", and that refuses others in this way. */
struct scene {
    int refusal;
    bool renews; /* there is a new password to be had */
    unsigned asked;
    unsigned denied;
};

static void answer(void *self, const struct double_request *request, struct double_answer *out)
{
    struct scene *scene = self;
    char *good = basic_authorization("u", "new");
    out->status = request->authorization[0] == '\0'           ? 401
                  : strcmp(request->authorization, good) != 0 ? scene->refusal
                                                              : 200;
    if (out->status == 401)
        snprintf(out->headers, sizeof out->headers, "WWW-Authenticate: Basic realm=\"r\"\r\n");
    secret_free(good);
}

static enum errc find(void *self, const char *host, const char *path,
                      const struct credentials_refusal *refused, struct registry_credentials *out,
                      struct error *err)
{
    struct scene *scene = self;
    (void)host, (void)path, (void)err;
    assert_non_null(refused);
    assert_string_equal(refused->credentials->password, "old");
    scene->asked++;
    scene->denied += refused->denied;
    *out = (struct registry_credentials){.username = xstrdup("u"),
                                         .password = xstrdup(scene->renews ? "new" : "old")};
    return ERR_OK;
}

static int ask(struct scene *scene, bool expire, size_t *requests)
{
    char user[] = "u", old[] = "old";
    struct http_double *server = http_double_start(answer, scene);
    autofree char *host = xasprintf("127.0.0.1:%u", http_double_port(server));
    autofree char *url = xasprintf("http://%s", host);
    const char *const endpoints[] = {url};
    const struct registry_options option = {
        .host = host, .endpoints = endpoints, .endpoint_count = 1};
    const struct registries_options options = {
        .registries = &option, .registry_count = 1, .credentials = {.find = find, .self = scene}};
    const struct registry_credentials credentials = {
        .username = user, .password = old, .expire = expire};
    struct registries *registries = NULL;
    struct registry_host *registry = NULL;
    struct repository repository;
    struct registry_client client;
    struct error err = ERROR_INIT;
    assert_int_equal(registries_new(&options, &registries, &err), ERR_OK);
    assert_int_equal(registries_host(registries, host, &registry, &err), ERR_OK);
    repository_init(&repository, &registry->endpoints[0], "team/app", &credentials);
    registry_client_open(&client, &repository, NULL);
    struct url at = {0};
    struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {
        .method = "GET", .answer_limit_bytes = 4096, .deadline = HTTP_ANSWER};
    assert_int_equal(registry_client_url(&client, "tags/list", &at, &err), ERR_OK);
    assert_int_equal(exchange(&client, &at, &request, &response, &err), ERR_OK);
    if (response.status != 200 && !expire) { /* the first one learned the scheme, no more */
        http_response_deinit(&response);
        response = (struct http_response)HTTP_RESPONSE_INIT;
        assert_int_equal(exchange(&client, &at, &request, &response, &err), ERR_OK);
    }
    int status = response.status;
    http_response_deinit(&response);
    url_deinit(&at);
    registry_client_close(&client);
    repository_deinit(&repository);
    registry_host_release(registry);
    registries_free(registries);
    *requests = http_double_count(server, "GET");
    http_double_stop(server);
    return status;
}

static void refused_credentials_are_asked_for_again(void **state)
{
    (void)state;
    static const struct {
        int refusal;
        bool expire, renews;
        int status;
        unsigned asked, denied;
    } cases[] = {
        {401, false, true, 200, 1, 0}, {401, true, true, 200, 1, 0},  {403, true, true, 200, 1, 1},
        {403, false, true, 403, 0, 0}, {403, true, false, 403, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene scene = {.refusal = cases[i].refusal, .renews = cases[i].renews};
        size_t requests = 0;
        int status = ask(&scene, cases[i].expire, &requests);
        if (status != cases[i].status || scene.asked != cases[i].asked ||
            scene.denied != cases[i].denied || requests > 4)
            fail_msg("case %zu: %d, %u, %u, %zu", i, status, scene.asked, scene.denied, requests);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_credentials_are_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
