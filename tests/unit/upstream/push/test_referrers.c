#include "upstream/push/referrers.h"

#include "base/mem.h"
#include "store/batch.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- a push with one --- */

static struct push_referrer put_artifact(struct push_test *test, const struct made_image *subject,
                                         const char *name)
{
    char config[DIGEST_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    struct push_referrer referrer = {.manifest = {.media_type = MEDIA_OCI_MANIFEST}};
    struct error err = ERROR_INIT;
    struct digest empty;
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    assert_int_equal(batch_put_blob(batch, "{}", 2, &empty, &err), ERR_OK);
    autofree char *text =
        xasprintf("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_EMPTY
                  "\",\"digest\":\"%s\",\"size\":2},\"layers\":[],\"annotations\":{\"name\":\"%s\"}"
                  ",\"subject\":{\"mediaType\":"
                  "\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":%llu}}",
                  digest_text(&empty, config), name, digest_text(&subject->manifest.digest, digest),
                  (unsigned long long)subject->manifest.size);
    referrer.manifest.size = strlen(text);
    assert_int_equal(batch_put_blob(batch, text, strlen(text), &referrer.manifest.digest, &err),
                     ERR_OK);
    assert_int_equal(batch_commit(batch, &err), ERR_OK);
    return referrer;
}

static enum errc push_signed(struct push_test *test, struct fake_registry *fake,
                             const struct push_referrer *referrer, const struct made_image *image)
{
    const char *host = fake_registry_host(fake);
    struct push_request request = push_test_request(&image->manifest, host, "team/app:1");
    request.referrers = referrer;
    request.referrer_count = 1;
    push_test_upstream(test, host);
    return push_test_one(test, &request, NULL, &test->cancel, &test->result);
}

static void test_who_keeps_the_list(void **state)
{
    (void)state;
    for (int keeps = 0; keeps <= 1; keeps++) {
        struct push_test *test = push_test_new(NULL);
        struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
        struct http_double *http = fake_registry_http(fake);
        struct made_image image = push_test_image(test, "a", 1000);
        struct push_referrer referrer = put_artifact(test, &image, "signature");
        char digest[DIGEST_TEXT_MAX];
        char tag[REFERRER_LIST_TAG_MAX];
        autofree char *path =
            xasprintf("/manifests/%s", digest_text(&referrer.manifest.digest, digest));
        autofree char *list =
            xasprintf("manifests/%s", referrer_list_tag(&image.manifest.digest, tag));
        autofree char *headers =
            xasprintf("OCI-Subject: %s\r\n", digest_text(&image.manifest.digest, digest));
        const struct fake_rule rule = {"PUT", path, 1, .effect = true, .headers = headers};
        if (keeps)
            fake_registry_rule(fake, rule);
        if (push_signed(test, fake, &referrer, &image) != ERR_OK)
            fail_msg("%s", test->result.error.text);
        assert_true(digest_equal(&test->result.digest, &image.manifest.digest));
        assert_true(fake_registry_has(fake, path + 1));
        assert_int_equal(fake_registry_has(fake, list), !keeps);
        /* The image by digest, what refers to it, its list, and the tag last. */
        assert_int_equal(http_double_count(http, "PUT /v2/team/app/manifests/"), keeps ? 3 : 4);
        autofree char *put_referrer = xasprintf("PUT /v2/team/app%s", path);
        assert_true(http_double_position(http, put_referrer) <
                    http_double_position(http, "PUT /v2/team/app/manifests/1"));
        fake_registry_stop(fake);
        push_test_free(test);
    }
}

static void test_a_failed_referrer_fails_the_push(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", 1000);
    struct push_referrer referrer = put_artifact(test, &image, "signature");
    char digest[DIGEST_TEXT_MAX];
    autofree char *path =
        xasprintf("/manifests/%s", digest_text(&referrer.manifest.digest, digest));
    fake_registry_rule(fake, (struct fake_rule){"PUT", path, 1000, .status = 403});
    assert_int_equal(push_signed(test, fake, &referrer, &image), ERR_DENIED);
    assert_non_null(strstr(test->result.error.text, "referrer "));
    /* Nobody sees an image by its tag whose signature is missing. */
    assert_false(fake_registry_has(fake, "manifests/1"));
    fake_registry_stop(fake);
    push_test_free(test);
}

/* --- lists that several pushes change at once --- */

static char *turn_of(const char *host, const char *path, const char *tag)
{
    struct registry_host named = {.name = (char *)(uintptr_t)host};
    struct endpoint endpoint = {.host = &named};
    struct repository repository = {.endpoint = &endpoint, .path = path};
    const struct target_push push = {.repository = &repository};
    return referrers_turn(&push, tag);
}

static void test_a_turn_for_each_list(void **state)
{
    (void)state;
    autofree char *turn = turn_of("r.example.com", "team/app", "a");
    autofree char *same = turn_of("r.example.com", "team/app", "a");
    autofree char *host = turn_of("s.example.com", "team/app", "a");
    autofree char *path = turn_of("r.example.com", "team/lib", "a");
    autofree char *tag = turn_of("r.example.com", "team/app", "b");
    assert_string_equal(turn, same);
    assert_string_not_equal(turn, host);
    assert_string_not_equal(turn, path);
    assert_string_not_equal(turn, tag);
}

/* A registry that has every blob, keeps one list, and nothing else. */
struct list_registry {
    struct http_double *http;
    pthread_mutex_t lock; /* guards what follows */
    char list[16000];     /* "": none */
};

static void put_manifest(struct list_registry *registry, const struct double_request *request,
                         bool is_list, struct double_answer *answer)
{
    char text[DIGEST_TEXT_MAX];
    struct digest digest = digest_of(DIGEST_SHA256, request->body, request->body_size);
    if (is_list)
        snprintf(registry->list, sizeof registry->list, "%s", request->body);
    snprintf(answer->headers, sizeof answer->headers, "Docker-Content-Digest: %s\r\n",
             digest_text(&digest, text));
    answer->status = 201;
}

static void keep_list(void *self, const struct double_request *request,
                      struct double_answer *answer)
{
    struct list_registry *registry = self;
    bool is_list = strstr(request->path, "/manifests/sha256-") != NULL;
    pthread_mutex_lock(&registry->lock);
    if (strcmp(request->method, "PUT") == 0) {
        put_manifest(registry, request, is_list, answer);
    } else if (strcmp(request->method, "HEAD") == 0) { /* their configs */
        strcpy(answer->headers, "Content-Length: 2\r\n");
    } else if (is_list) {
        answer->status = registry->list[0] ? 200 : 404;
        snprintf(answer->headers, sizeof answer->headers, "Content-Type: %s\r\n", MEDIA_OCI_INDEX);
        snprintf(answer->body, sizeof answer->body, "%s", registry->list);
    }
    pthread_mutex_unlock(&registry->lock);
}

struct referrer_push {
    struct push_test *test;
    struct push_request request;
    struct push_target result;
    pthread_t thread;
};

static void *push_one(void *arg)
{
    struct referrer_push *push = arg;
    push_test_one(push->test, &push->request, NULL, &push->test->cancel, &push->result);
    return NULL;
}

static struct descriptor put_signature(struct push_test *test, const struct made_image *subject,
                                       int number)
{
    char name[16];
    snprintf(name, sizeof name, "%d", number);
    return put_artifact(test, subject, name).manifest;
}

static void test_no_change_of_a_list_is_lost(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    struct push_test *test = push_test_new(NULL);
    struct list_registry registry = {.lock = PTHREAD_MUTEX_INITIALIZER};
    registry.http = http_double_start(keep_list, &registry);
    autofree char *host = xasprintf("127.0.0.1:%u", http_double_port(registry.http));
    struct made_image image = push_test_image(test, "a", 1000);
    struct referrer_push *pushes = xcalloc(COUNT, sizeof *pushes);
    push_test_upstream(test, host);
    for (int i = 0; i < COUNT; i++) {
        const struct descriptor manifest = put_signature(test, &image, i);
        pushes[i].test = test;
        pushes[i].request = push_test_request(&manifest, host, "team/app");
        pushes[i].request.target.digest = manifest.digest;
    }
    for (int i = 0; i < COUNT; i++)
        pthread_create(&pushes[i].thread, NULL, push_one, &pushes[i]);
    for (int i = 0; i < COUNT; i++) {
        pthread_join(pushes[i].thread, NULL);
        assert_int_equal(pushes[i].result.error.code, ERR_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        char digest[DIGEST_TEXT_MAX];
        assert_non_null(
            strstr(registry.list, digest_text(&pushes[i].request.manifest.digest, digest)));
    }
    free(pushes);
    http_double_stop(registry.http);
    push_test_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_keeps_the_list),
        cmocka_unit_test(test_a_failed_referrer_fails_the_push),
        cmocka_unit_test(test_a_turn_for_each_list),
        cmocka_unit_test(test_no_change_of_a_list_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
