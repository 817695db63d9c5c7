#include "upstream/push/layer_push.h"

#include "base/mem.h"
#include "store/batch.h"
#include "store/known_locations.h"
#include "tests/support/http_double.h"
#include "tests/support/push_test.h"

#include "tests/unit/upstream/push/layer_push_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct push_test *test;
    struct http_double *http;
    struct registries *registries;
    struct script script;
    char host[64];
    struct digest layer;
    struct descriptor blob;
    struct push_target result;
    struct layer_outcome outcome; /* of the last attempt */
    pthread_mutex_t lock;         /* guards what follows */
    struct buf log;
    int sessions;
    int further_attempts; /* of the same push */
};

static void note(struct scene *scene, const char *what, const char *more)
{
    buf_format(&scene->log, "%s%s%s%s", scene->log.size ? ", " : "", what, *more ? " " : "", more);
}

/* The value of a query's member, with %2F and %3A undone. */
static void query_value(const char *query, const char *name, char out[256])
{
    const char *at = strstr(query, name);
    size_t used = 0;
    for (at = at ? at + strlen(name) : ""; *at && *at != '&' && used < 255; used++) {
        bool escaped = *at == '%';
        out[used] = !escaped ? *at : at[1] == '2' ? '/' : ':';
        at += escaped ? 3 : 1;
    }
    out[used] = '\0';
}

static bool is_there(const struct scene *scene, const char *repository)
{
    autofree char *word = xasprintf(" %s ", repository);
    return scene->script.there && strstr(scene->script.there, word);
}

static void open_session(struct scene *scene, struct double_answer *answer)
{
    answer->status = 202;
    snprintf(answer->headers, sizeof answer->headers, "Location: /v2/s/%d\r\n", ++scene->sessions);
}

static void answer_mount(struct scene *scene, const char *from, struct double_answer *answer)
{
    const struct script *script = &scene->script;
    answer->drop = script->mount_drops;
    if (is_there(scene, from))
        answer->status = 201;
    else if (script->mount_leads_away)
        answer->status = 202;
    else if (script->mount_status)
        answer->status = script->mount_status;
    else
        open_session(scene, answer);
}

/* Every token names how many repositories it is for. */
static void give_token(struct scene *scene, const char *query, struct double_answer *answer)
{
    const struct script *script = &scene->script;
    char more[64] = "";
    size_t scopes = 0;
    for (const char *at = query; (at = strstr(at, "scope=")); at++)
        scopes++;
    if (strstr(query, "x%2Flib") || strstr(query, "x/lib"))
        snprintf(more, sizeof more, "+x/lib");
    note(scene, "TOKEN", more);
    bool refused = more[0] && script->no_token;
    answer->status = refused ? 403 : 200;
    snprintf(answer->body, sizeof answer->body, "{\"token\":\"for-%s\"}",
             more[0] && !script->token_is_narrow ? "both" : "one");
}

static bool lacks_token(const struct scene *scene, const struct double_request *request)
{
    if (!scene->script.bearer)
        return false;
    bool mount = strstr(request->query, "mount=") != NULL;
    const char *wanted = mount && scene->script.token_is_narrow ? "Bearer for-both" : "Bearer for-";
    return strncmp(request->authorization, wanted, strlen(wanted)) != 0;
}

static void refuse_token(const struct scene *scene, const struct double_request *request,
                         struct double_answer *answer)
{
    char from[256];
    query_value(request->query, "from=", from);
    bool sent = request->authorization[0] != '\0';
    answer->status = 401;
    snprintf(answer->headers, sizeof answer->headers,
             "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\"%s%s%s\r\n",
             http_double_port(scene->http),
             sent ? ",error=\"insufficient_scope\",scope=\"repository:" : "", sent ? from : "",
             sent ? ":pull\"" : "");
}

static void answer_upload(struct scene *scene, const struct double_request *request,
                          struct double_answer *answer)
{
    char from[256];
    query_value(request->query, "from=", from);
    if (from[0]) {
        note(scene, "MOUNT", from);
        answer_mount(scene, from, answer);
    } else {
        note(scene, "POST", "");
        open_session(scene, answer);
    }
}

/* Half of the layer arrives before a PUT goes wrong. */
static void answer_session(struct scene *scene, const char *method, struct double_answer *answer)
{
    struct script *script = &scene->script;
    answer->status = 201;
    if (strcmp(method, "GET") == 0) {
        answer->status = 204;
        snprintf(answer->headers, sizeof answer->headers, "Range: 0-9\r\n");
    } else if (strcmp(method, "PUT") == 0 && script->puts_fail > 0) {
        script->puts_fail--;
        answer->status = 503;
    } else if (strcmp(method, "PUT") == 0 && script->put_status) {
        answer->status = script->put_status;
    }
}

static void answer_head(struct scene *scene, const struct double_request *request,
                        struct double_answer *answer)
{
    const char *path = request->path + strlen("/v2/");
    autofree char *repository = xstrndup(path, (size_t)(strstr(path, "/blobs/") - path));
    note(scene, "HEAD", "");
    answer->status = scene->script.head_status     ? scene->script.head_status
                     : is_there(scene, repository) ? 200
                                                   : 404;
    if (answer->status == 200)
        snprintf(answer->headers, sizeof answer->headers, "Content-Length: %llu\r\n",
                 (unsigned long long)scene->blob.size);
}

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    struct scene *scene = self;
    const char *session = strstr(request->path, "/v2/s/");
    pthread_mutex_lock(&scene->lock);
    if (strcmp(request->path, "/token") == 0)
        give_token(scene, request->query, answer);
    else if (lacks_token(scene, request))
        refuse_token(scene, request, answer);
    else if (session) {
        note(scene, request->method, session + strlen("/v2/s/"));
        answer_session(scene, request->method, answer);
    } else if (strcmp(request->method, "HEAD") == 0)
        answer_head(scene, request, answer);
    else if (strcmp(request->method, "POST") == 0)
        answer_upload(scene, request, answer);
    pthread_mutex_unlock(&scene->lock);
}

/* --- setting a scene --- */

static void make_registries(struct scene *scene)
{
    struct error err = ERROR_INIT;
    autofree char *endpoint = xasprintf("http://127.0.0.1:%u", http_double_port(scene->http));
    const char *const endpoints[] = {endpoint};
    const struct registry_options registry = {
        .host = scene->host, .endpoints = endpoints, .endpoint_count = 1};
    const struct registries_options options = {
        .registries = &registry, .registry_count = 1, .user_agent = "slipway-test"};
    if (registries_new(&options, &scene->registries, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static void make_layer(struct scene *scene, uint64_t raw_size)
{
    static const char content[] = "the bytes of a layer";
    struct error err = ERROR_INIT;
    struct layer_form form = {.codec = CODEC_GZIP, .size = sizeof content, .raw_size = raw_size};
    struct batch *batch = batch_begin(scene->test->store, BATCH_VOLATILE);
    assert_int_equal(batch_put_blob(batch, content, sizeof content, &form.digest, &err), ERR_OK);
    scene->layer = digest_of(DIGEST_SHA256, "layer", 5);
    batch_put_layer(batch, &scene->layer, &form);
    assert_int_equal(batch_commit(batch, &err), ERR_OK);
    scene->blob = (struct descriptor){.digest = form.digest, .size = form.size};
}

static struct registry_credentials credentials_of(char user[2])
{
    if (user[0] == '\0')
        return (struct registry_credentials){.username = NULL};
    return (struct registry_credentials){.username = user, .password = user};
}

static void know(struct scene *scene, const char *word, size_t size, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct known_location known = {.digest = *digest};
    struct location_key key;
    const char *at = memchr(word, '@', size);
    char user[2] = {at ? at[1] : '\0', '\0'};
    struct registry_credentials credentials = credentials_of(user);
    bool here = strncmp(word, "r/", 2) == 0;
    size_t skipped = here ? 1 : 0;
    snprintf(known.source, sizeof known.source, "%s%.*s", here ? scene->host : "",
             (int)((at ? (size_t)(at - word) : size) - skipped), word + skipped);
    location_key_make(&credentials, &key);
    location_sign(&known, &key);
    if (known_locations_add(scene->test->store, &scene->layer, &known, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static void know_all(struct scene *scene, const char *words)
{
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");
        know(scene, at, size, &scene->blob.digest);
        at += size;
    }
}

static struct scene *scene_new(const struct script *script, uint64_t raw_size, const char *known)
{
    struct scene *scene = xcalloc(1, sizeof *scene);
    scene->script = *script;
    scene->log.limit_bytes = 65536;
    pthread_mutex_init(&scene->lock, NULL);
    scene->test = push_test_new(NULL);
    scene->http = http_double_start(handle, scene);
    snprintf(scene->host, sizeof scene->host, "127.0.0.1:%u", http_double_port(scene->http));
    if (script->host)
        snprintf(scene->host, sizeof scene->host, "%s", script->host);
    make_registries(scene);
    make_layer(scene, raw_size);
    know_all(scene, known);
    return scene;
}

static void scene_free(struct scene *scene)
{
    registries_free(scene->registries);
    http_double_stop(scene->http);
    push_test_free(scene->test);
    pthread_mutex_destroy(&scene->lock);
    buf_deinit(&scene->log);
    free(scene);
}

/* One attempt to bring the layer into the target, by `user` ("" is anonymous). */
static enum errc attempt(struct scene *scene, const char *user, struct error *err)
{
    char name[2] = {user[0], '\0'};
    struct registry_credentials credentials = credentials_of(name);
    struct registry_host *host = NULL;
    struct repository repository;
    struct target_push push;
    if (registries_host(scene->registries, scene->host, &host, err) != ERR_OK)
        fail_msg("%s", err->text);
    repository_init(&repository, &host->endpoints[0],
                    scene->script.path ? scene->script.path : "x/app", &credentials);
    target_push_init(&push, scene->test->store, &repository, NULL, "target", &scene->test->cancel,
                     &scene->result);
    struct push_layer layer = {.blob = &scene->blob, .layer = scene->layer};
    digest_short(&layer.layer, layer.id);
    struct unfinished_upload upload = {.begun = false};
    enum errc code = ERR_OK;
    for (int i = 0; i <= scene->further_attempts; i++) {
        scene->outcome = (struct layer_outcome){.end = LAYER_NONE};
        code = layer_attempt(&push, &layer, &upload, &scene->outcome, err);
    }
    upload_give_up(&repository, &upload);
    target_push_deinit(&push);
    repository_deinit(&repository);
    return code;
}

/* What is known of the layer afterwards, in the notation above but for the credentials: "@" when
 * there were any. */
static char *known_now(struct scene *scene)
{
    struct error err = ERROR_INIT;
    autobuf struct buf text = BUF_INIT(65536);
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    assert_int_equal(known_locations_get(scene->test->store, &scene->layer, list, &err), ERR_OK);
    for (size_t i = 0; i < list->count; i++) {
        const char *source = list->items[i].source;
        size_t host = strlen(scene->host);
        bool here = strncmp(source, scene->host, host) == 0;
        buf_format(&text, "%s%s%s%s", i ? " " : "", here ? "r" : "", source + (here ? host : 0),
                   list->items[i].hmac[0] ? "@" : "");
    }
    return buf_take(&text);
}

/* --- what is asked --- */

/* The challenge is known before a push gets to its layers. */
static void learn_challenge(struct scene *scene)
{
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    registries_host(scene->registries, scene->host, &host, &err);
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofree char *field =
        xasprintf("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\"",
                  http_double_port(scene->http));
    buf_append(&response.headers, field, strlen(field) + 1);
    assert_true(auth_learn(host->endpoints[0].auth, &response, NULL));
}

static void expect_end(const struct row *row, const struct scene *scene)
{
    bool sent = strstr(row->log, "PUT") != NULL;
    enum layer_end want = row->mounted ? LAYER_MOUNTED : sent ? LAYER_UPLOADED : LAYER_EXISTED;
    if (scene->outcome.end != want)
        fail_msg("%s: it ended as %d instead of %d", row->shows, scene->outcome.end, want);
    if (strcmp(scene->outcome.source, row->mounted ? row->mounted : "") != 0)
        fail_msg("%s: from \"%s\"", row->shows, scene->outcome.source);
    if (scene->outcome.sent_bytes != (sent ? scene->blob.size : 0))
        fail_msg("%s: %llu bytes", row->shows, (unsigned long long)scene->outcome.sent_bytes);
    /* What comes of it is counted by its push alone (upstream/push/layer_set.h). */
    const struct push_layers none = {0};
    assert_memory_equal(&scene->result.layers, &none, sizeof none);
    assert_int_equal(scene->result.bytes_uploaded, 0);
}

static void expect_row(const struct row *row)
{
    struct scene *scene = scene_new(&row->script, row->raw_size, row->known);
    struct error err = ERROR_INIT;
    if (row->script.bearer)
        learn_challenge(scene);
    enum errc code = attempt(scene, row->user, &err);
    if (code != row->code)
        fail_msg("%s: %s", row->shows, err.text);
    if (strcmp(buf_cstr(&scene->log), row->log) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", row->shows, buf_cstr(&scene->log), row->log);
    autofree char *known = known_now(scene);
    if (row->known_after && strcmp(known, row->known_after) != 0)
        fail_msg("%s: known is \"%s\" instead of \"%s\"", row->shows, known, row->known_after);
    if (code == ERR_OK)
        expect_end(row, scene);
    scene_free(scene);
}

static void what_is_asked_and_in_which_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_row(&rows[i]);
}

static void a_further_attempt_does_not_ask_again(void **state)
{
    (void)state;
    const struct script script = {.put_status = 403};
    struct scene *scene = scene_new(&script, BIG, "r/x/lib@2 r/x/app");
    struct error err = ERROR_INIT;
    scene->further_attempts = 1;
    assert_int_equal(attempt(scene, "", &err), ERR_DENIED);
    assert_string_equal(buf_cstr(&scene->log), "HEAD, MOUNT x/lib, PUT 1, DELETE 1, "
                                               "MOUNT x/lib, PUT 2, DELETE 2");
    scene_free(scene);
}

/* What was begun is asked for and goes on: no check, no mount, no other session. */
static void an_upload_that_broke_off_goes_on(void **state)
{
    (void)state;
    const struct script script = {.puts_fail = 2};
    struct scene *scene = scene_new(&script, BIG, "r/x/other@2 r/x/lib@2");
    struct error err = ERROR_INIT;
    scene->further_attempts = 1;
    assert_int_equal(attempt(scene, "", &err), ERR_OK);
    assert_string_equal(buf_cstr(&scene->log),
                        "MOUNT x/lib, MOUNT x/other, DELETE 1, HEAD, "
                        "PUT 2, HEAD, GET 2, PUT 2, HEAD, GET 2, " /* and no further */
                        "HEAD, GET 2, PUT 2");
    assert_int_equal(scene->outcome.end, LAYER_UPLOADED);
    assert_int_equal(scene->outcome.sent_bytes, scene->blob.size);
    scene_free(scene);
}

/* Without an answer nothing is known. */
static void a_question_that_failed_is_asked_again(void **state)
{
    (void)state;
    const struct script script = {.head_status = 429};
    struct scene *scene = scene_new(&script, MIDDLE, "");
    struct error err = ERROR_INIT;
    scene->further_attempts = 1;
    assert_int_equal(attempt(scene, "", &err), ERR_TOO_MANY_REQUESTS);
    assert_string_equal(buf_cstr(&scene->log), "HEAD, HEAD");
    scene_free(scene);
}

/* libcurl asks once more on a fresh connection, so the double hears it twice. */
static void a_mount_whose_connection_drops_is_an_upload(void **state)
{
    (void)state;
    const struct script script = {.mount_drops = true};
    struct scene *scene = scene_new(&script, SMALL, "r/x/lib");
    struct error err = ERROR_INIT;
    assert_int_equal(attempt(scene, "", &err), ERR_OK);
    assert_non_null(strstr(buf_cstr(&scene->log), "MOUNT x/lib"));
    assert_non_null(strstr(buf_cstr(&scene->log), "POST, PUT"));
    assert_int_equal(scene->outcome.end, LAYER_UPLOADED);
    scene_free(scene);
}

/* The manifest names one blob; that the layer exists as another one does not help it. */
static void other_compressions_of_the_layer_are_passed_over(void **state)
{
    (void)state;
    const struct script script = {.there = " x/lib x/app "};
    struct scene *scene = scene_new(&script, SMALL, "");
    struct digest zstd = digest_of(DIGEST_SHA256, "zstd", 4);
    struct error err = ERROR_INIT;
    know(scene, "r/x/lib", 7, &zstd);
    know(scene, "r/x/app", 7, &zstd);
    assert_int_equal(attempt(scene, "", &err), ERR_OK);
    assert_string_equal(buf_cstr(&scene->log), "POST, PUT 1");
    autofree char *known = known_now(scene);
    assert_string_equal(known, "r/x/lib r/x/app r/x/app");
    scene_free(scene);
}

/* What has no diffID is known under its own digest, and is as large as it is. */
static void a_blob_that_is_no_layer_of_an_image(void **state)
{
    (void)state;
    const struct script script = {.there = " x/lib "};
    struct scene *scene = scene_new(&script, UNKNOWN, "");
    struct error err = ERROR_INIT;
    scene->layer = scene->blob.digest;
    know(scene, "r/x/lib", 7, &scene->blob.digest);
    assert_int_equal(attempt(scene, "", &err), ERR_OK);
    assert_string_equal(buf_cstr(&scene->log), "MOUNT x/lib");
    autofree char *known = known_now(scene);
    assert_string_equal(known, "r/x/lib r/x/app");
    scene->script.there = NULL;
    buf_clear(&scene->log);
    assert_int_equal(attempt(scene, "", &err), ERR_OK);
    assert_string_equal(buf_cstr(&scene->log), "HEAD, MOUNT x/lib, PUT 1");
    scene_free(scene);
}

/* --- what needs no request --- */

static void what_is_settled_asks_nothing(void **state)
{
    (void)state;
    const struct script script = {.host = NULL};
    struct scene *scene = scene_new(&script, BIG, "r/x/lib r/x/app");
    struct error err = ERROR_INIT;
    const struct registry_credentials credentials = {.username = NULL};
    struct registry_host *host = NULL;
    struct repository repository;
    struct target_push push;
    assert_int_equal(registries_host(scene->registries, scene->host, &host, &err), ERR_OK);
    repository_init(&repository, &host->endpoints[0], "x/app", &credentials);
    target_push_init(&push, scene->test->store, &repository, NULL, "target", &scene->test->cancel,
                     &scene->result);
    struct push_layer layer = {.blob = &scene->blob, .layer = scene->layer};
    struct unfinished_upload upload = {.begun = false};
    struct layer_outcome outcome = {.end = LAYER_NONE};
    assert_false(layer_is_settled(&push, &layer, &outcome));
    assert_int_equal(outcome.end, LAYER_NONE);
    target_push_learn(&push, &scene->blob.digest);
    assert_true(layer_is_settled(&push, &layer, &outcome));
    assert_int_equal(outcome.end, LAYER_EXISTED);
    scene->blob.foreign = true;
    assert_true(layer_is_settled(&push, &layer, &outcome));
    assert_int_equal(outcome.end, LAYER_SKIPPED);
    outcome.end = LAYER_NONE;
    assert_int_equal(layer_attempt(&push, &layer, &upload, &outcome, &err), ERR_OK);
    assert_int_equal(outcome.end, LAYER_SKIPPED);
    assert_string_equal(buf_cstr(&scene->log), "");
    target_push_deinit(&push);
    repository_deinit(&repository);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_and_in_which_order),
        cmocka_unit_test(a_further_attempt_does_not_ask_again),
        cmocka_unit_test(an_upload_that_broke_off_goes_on),
        cmocka_unit_test(a_question_that_failed_is_asked_again),
        cmocka_unit_test(a_mount_whose_connection_drops_is_an_upload),
        cmocka_unit_test(other_compressions_of_the_layer_are_passed_over),
        cmocka_unit_test(a_blob_that_is_no_layer_of_an_image),
        cmocka_unit_test(what_is_settled_asks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
