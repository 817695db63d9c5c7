#include "tests/unit/store/store_test.h"

#include "base/base64.h"
#include "base/clock.h"
#include "gateway/access/token_endpoint.h"
#include "gateway/http/daemon.h"
#include "tests/support/http_daemon.h"
#include "tests/support/jobs_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define BLOBS 2
#define FORM "application/x-www-form-urlencoded"
#define EXCHANGE "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
#define JWT_TYPE_PARAMETER "subject_token_type=urn:ietf:params:oauth:token-type:jwt"

/* ---- sources ---- */

static bool ann_is_there;

static enum errc password(void *self, const char *name, const char *given,
                          const struct net_address *peer, struct login *out, struct error *err)
{
    (void)self;
    (void)peer;
    if (strcmp(name, "guess") == 0)
        return (fail)(err, ERR_TOO_MANY, 0, "too many");
    if (strcmp(name, "ann") != 0 || strcmp(given, "p w+&") != 0)
        return (fail)(err, ERR_UNAUTHENTICATED, 0, "no such user or another password");
    out->identity = (struct identity){.kind = IDENTITY_USER, .name = xstrdup("ann")};
    strcpy(out->fingerprint, "of-ann");
    return ERR_OK;
}

static enum errc jwt(void *self, const char *token, const struct net_address *peer,
                     struct login *out, struct error *err)
{
    (void)self;
    (void)peer;
    if (strcmp(token, "a.b.c") != 0)
        return (fail)(err, ERR_UNAUTHENTICATED, 0, "the token is refused");
    out->identity = (struct identity){.kind = IDENTITY_CI, .name = xstrdup("ci-app")};
    out->ttl_s = 600;
    return ERR_OK;
}

static bool still_valid(void *self, const struct identity *identity, const char *fingerprint)
{
    (void)self;
    return ann_is_there && strcmp(identity->name, "ann") == 0 && strcmp(fingerprint, "of-ann") == 0;
}

static bool known(void *self, const char *name, const char *given)
{
    (void)self;
    return strcmp(name, "ann") == 0 && strcmp(given, "p w+&") == 0;
}

static unsigned retry_after_s(void *self, const struct net_address *peer)
{
    (void)self;
    (void)peer;
    return 17;
}

static bool may(void *self, const struct identity *who, enum operation operation,
                const char *repository)
{
    (void)self;
    if (who->kind == IDENTITY_ANONYMOUS)
        return operation == OPERATION_PULL && repository && strcmp(repository, "public") == 0;
    return operation != OPERATION_DELETE;
}

/* ---- a gateway that has nothing else ---- */

struct scene {
    struct store *store;
    struct executor *executor;
    struct token_endpoint endpoint;
    struct daemon *daemon;
    struct request_handler handler;
    struct http_daemon client;
};

static struct job *answer(void *self, const struct request *request, struct reply *reply)
{
    const struct scene *scene = self;
    return token_endpoint_answer(&scene->endpoint, request, reply);
}

static struct path_shown show(const char *path)
{
    (void)path;
    return (struct path_shown){.pattern = PATH_OTHER};
}

static void start(struct scene *scene)
{
    struct error err = ERROR_INIT;
    struct sockaddr_storage storage = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = 0;
    memcpy(&storage, &address, sizeof address);
    const struct daemon_options options = {.handler = &scene->handler,
                                           .threads = 1,
                                           .connections = 10,
                                           .head_ms = HEAD_MS,
                                           .idle_ms = IDLE_MS,
                                           .drain_ms = DRAIN_MS};
    assert_ok(daemon_start(&options, &scene->daemon, &err), &err);
    assert_ok(daemon_listen(scene->daemon, &storage, sizeof address, &port, &err), &err);
    scene->client.port = (uint16_t)port;
}

static int set_up(void **state)
{
    static const struct sources sources = {password, jwt, still_valid, known, retry_after_s, NULL};
    static const struct executor_options threads = {.threads_max = 4};
    static const struct jobs_limits limits = {2, BLOBS, 2};
    struct error err = ERROR_INIT;
    struct scene *scene = xcalloc(1, sizeof *scene);
    void *folder = NULL;
    if (make_folder(&folder) != 0)
        return -1;
    scene->store = open_store(folder);
    scene->client.self = folder;
    assert_ok(executor_new(&threads, &scene->executor, &err), &err);
    scene->endpoint = (struct token_endpoint){.issuer = {.issuer = "slipway:1", .service = "gw"},
                                              .sources = &sources,
                                              .rights = {.may = may},
                                              .jobs = jobs_new(&limits, scene->executor),
                                              .token_ttl_s = 3600};
    assert_ok(token_keys_open(scene->store, TOKEN_KEYS_PERIOD_S, TOKEN_LOGIN_S, clock_wall_s(),
                              &scene->endpoint.issuer.keys, &err),
              &err);
    scene->handler = (struct request_handler){
        .answer = answer, .show = show, .self = scene, .jobs = scene->endpoint.jobs};
    start(scene);
    ann_is_there = true;
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    void *folder = scene->client.self;
    daemon_close(scene->daemon);
    jobs_close(scene->endpoint.jobs);
    jobs_wait(scene->endpoint.jobs, JOBS_TEST_MS);
    daemon_wait(scene->daemon, 10000);
    daemon_stop(scene->daemon);
    jobs_free(scene->endpoint.jobs);
    executor_free(scene->executor);
    token_keys_close(scene->endpoint.issuer.keys);
    store_close(scene->store);
    free(scene);
    return remove_folder(&folder);
}

/* The answer's status is this; its body, owned. */
static json_t *send_text(const struct scene *scene, const char *request, int status)
{
    autobuf struct buf out = BUF_INIT((size_t)1 << 20);
    char wanted[32];
    http_daemon_ask(&scene->client, request, &out);
    snprintf(wanted, sizeof wanted, "HTTP/1.1 %d ", status);
    const char *body = strstr(buf_cstr(&out), "\r\n\r\n");
    if (strncmp(buf_cstr(&out), wanted, strlen(wanted)) != 0 || body == NULL)
        fail_msg("%s\n%s", request, buf_cstr(&out));
    if (status == 200)
        assert_non_null(strstr(buf_cstr(&out), "Cache-Control: no-store\r\n"));
    if (status == 429)
        assert_non_null(strstr(buf_cstr(&out), "Retry-After: 17\r\n"));
    if (status == 401)
        assert_non_null(strstr(buf_cstr(&out), "WWW-Authenticate: Basic realm="));
    return json_loads(body + 4, 0, NULL);
}

static json_t *get(const struct scene *scene, const char *query, const char *login, int status)
{
    autofree char *encoded = login ? base64_encode(login, strlen(login)) : NULL;
    autofree char *request =
        xasprintf("GET /token?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s\r\n", query,
                  login ? "Authorization: Basic " : "", login ? encoded : "", login ? "\r\n" : "");
    return send_text(scene, request, status);
}

static json_t *post(const struct scene *scene, const char *type, const char *body, int status)
{
    autofree char *request =
        xasprintf("POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\n"
                  "Content-Length: %zu\r\n\r\n%s",
                  type, strlen(body), body);
    return send_text(scene, request, status);
}

static void refused(json_t *body, const char *error)
{
    assert_string_equal(json_text(body, "error"), error);
    assert_non_null(json_object_get(body, "errors"));
    json_decref(body);
}

/* Takes the answer: a token of this name with this scope. */
static void granted(const struct scene *scene, json_t *body, const char *name, const char *scope,
                    int64_t expires_in)
{
    struct error err = ERROR_INIT;
    autotoken struct token token = {.kind = TOKEN_ACCESS};
    assert_string_equal(json_text(body, "token"), json_text(body, "access_token"));
    assert_string_equal(json_text(body, "scope"), scope);
    assert_non_null(json_text(body, "issued_at"));
    assert_int_equal(json_integer_value(json_object_get(body, "expires_in")), expires_in);
    assert_ok(token_read(&scene->endpoint.issuer, TOKEN_ACCESS, json_text(body, "token"),
                         clock_wall_s(), &token, &err),
              &err);
    autofree char *held = scopes_text(&token.scopes);
    assert_string_equal(held, scope);
    assert_string_equal(identity_text(&token.identity), name);
    json_decref(body);
}

/* ---- tests ---- */

static void a_get_is_answered(void **state)
{
    const struct scene *scene = *state;
    granted(scene, get(scene, "service=gw", NULL, 200), "anonymous", "", 3600);
    granted(
        scene,
        get(scene, "scope=repository:public:pull,push&scope=repository:a:pull&scope=", NULL, 200),
        "anonymous", "repository:public:pull", 3600);
    granted(scene,
            get(scene, "scope=repository:a:pull,push%20repository:b:pull+repository:b:push&scope=",
                "ann:p w+&", 200),
            "ann", "repository:a:pull,push repository:b:pull,push", 3600);
    refused(get(scene, "", "ann:wrong", 401), "invalid_grant");
    refused(get(scene, "", "eve:p w+&", 401), "invalid_grant");
    json_decref(get(scene, "", "guess:x", 429));
    refused(get(scene, "scope=%zz", NULL, 400), "invalid_request");
    autojson json_t *offline = get(scene, "offline_token=true", "ann:p w+&", 200);
    assert_non_null(json_text(offline, "refresh_token"));
    autojson json_t *anonymous = get(scene, "offline_token=true", NULL, 200);
    assert_null(json_text(anonymous, "refresh_token"));
}

static void a_form_is_answered(void **state)
{
    const struct scene *scene = *state;
    granted(scene,
            post(scene, FORM,
                 "grant_type=password&username=ann&password=p+w%2B%26&scope=repository:a:pull+"
                 "repository:b:push",
                 200),
            "ann", "repository:a:pull repository:b:push", 3600);
    granted(scene,
            post(scene, FORM "; charset=utf-8",
                 EXCHANGE "&subject_token=a.b.c&" JWT_TYPE_PARAMETER "&scope=registry:catalog:*",
                 200),
            "ci-app", "registry:catalog:*", 600);
    refused(post(scene, FORM, "grant_type=password&username=ann&password=x", 401), "invalid_grant");
    refused(post(scene, FORM, "grant_type=password&username=ann", 400), "invalid_request");
    refused(post(scene, FORM, "grant_type=password&username=ann&password=x&password=y", 400),
            "invalid_request");
    refused(post(scene, FORM, "grant_type=client_credentials", 400), "unsupported_grant_type");
    refused(post(scene, FORM, "", 400), "invalid_request");
    refused(post(scene, FORM, EXCHANGE "&subject_token=x.y.z&" JWT_TYPE_PARAMETER, 401),
            "invalid_grant");
    refused(post(scene, FORM, EXCHANGE "&subject_token=a.b.c&subject_token_type=saml2", 400),
            "invalid_request");
    refused(post(scene, FORM,
                 EXCHANGE "&subject_token=a.b.c&" JWT_TYPE_PARAMETER "&scope=repository:a:%ff%zz",
                 400),
            "invalid_request");
}

/* After which clients ask by GET. */
static void other_forms_are_not_found(void **state)
{
    const struct scene *scene = *state;
    json_decref(post(scene, "application/json", "{}", 404));
    json_decref(post(scene, FORM "x", "a=b", 404));
    json_decref(send_text(scene,
                          "PUT /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          "Content-Length: 0\r\n\r\n",
                          405));
    json_decref(send_text(scene,
                          "GET /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          "Authorization: Bearer x\r\n\r\n",
                          401));
    refused(send_text(scene,
                      "GET /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                      "Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n\r\n",
                      400),
            "invalid_request");
}

static void a_form_has_a_limit(void **state)
{
    const struct scene *scene = *state;
    static const char head[] = "grant_type=password&username=ann&password=p+w%2B%26&x=";
    for (size_t size = TOKEN_FORM_MAX; size <= TOKEN_FORM_MAX + 1; size++) {
        autofree char *body = xcalloc(1, size + 1);
        memset(body, 'x', size);
        memcpy(body, head, sizeof head - 1);
        json_decref(post(scene, FORM, body, size <= TOKEN_FORM_MAX ? 200 : 400));
    }
}

static void a_form_does_not_wait_for_uploads(void **state)
{
    const struct scene *scene = *state;
    char text[200];
    struct job_script script;
    struct job_connection uploads[BLOBS];
    job_script_init(&script);
    for (unsigned i = 0; i < BLOBS; i++)
        jobs_test_start(scene->endpoint.jobs, JOB_BLOB, &script, GATED, i, &uploads[i]);
    job_script_wait(&script, &script.ran, BLOBS);
    json_decref(post(scene, FORM, "grant_type=password&username=ann&password=p+w%2B%26", 200));
    job_script_open(&script);
    for (unsigned i = 0; i < BLOBS; i++) {
        job_end(uploads[i].job);
        assert_int_equal(jobs_test_finish(&uploads[i], text), 200);
    }
    assert_true(jobs_wait(scene->endpoint.jobs, JOBS_TEST_MS)); /* they have the script */
}

static void a_refresh_token_ends_with_its_login(void **state)
{
    const struct scene *scene = *state;
    autojson json_t *login =
        post(scene, FORM, "grant_type=password&username=ann&password=p+w%2B%26&access_type=offline",
             200);
    const char *refresh = json_text(login, "refresh_token");
    autofree char *form =
        xasprintf("grant_type=refresh_token&refresh_token=%s&scope=repository:a:pull", refresh);
    granted(scene, post(scene, FORM, form, 200), "ann", "repository:a:pull", 3600);
    autojson json_t *again = post(scene, FORM, form, 200);
    assert_string_equal(json_text(again, "refresh_token"), refresh);
    ann_is_there = false;
    refused(post(scene, FORM, form, 401), "invalid_grant");
    ann_is_there = true;

    /* An access token is none. */
    autofree char *other =
        xasprintf("grant_type=refresh_token&refresh_token=%s", json_text(login, "access_token"));
    refused(post(scene, FORM, other, 401), "invalid_grant");
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_is_answered),
        cmocka_unit_test(a_form_is_answered),
        cmocka_unit_test(other_forms_are_not_found),
        cmocka_unit_test(a_form_has_a_limit),
        cmocka_unit_test(a_form_does_not_wait_for_uploads),
        cmocka_unit_test(a_refresh_token_ends_with_its_login),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
