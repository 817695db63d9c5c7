#include "tests/support/push_test.h"

#include "base/file.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/batch.h"
#include "store/store_local.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static enum errc find_credentials(void *self, const char *host, const char *path,
                                  const struct credentials_refusal *refused,
                                  struct registry_credentials *out, struct error *err)
{
    (void)refused;
    (void)host;
    (void)path;
    (void)err;
    const char *password = self;
    *out = (struct registry_credentials){0};
    if (password) {
        out->username = xstrdup("ci");
        out->password = xstrdup(password);
    }
    return ERR_OK;
}

struct push_test *push_test_new(const char *password)
{
    struct push_test *test = xcalloc(1, sizeof *test);
    struct error err = ERROR_INIT;
    test_folder_make(test->folder);
    const struct store_options store = {.map_size_bytes = 1 << 24};
    if (store_open_local(test->folder, &store, &test->store, &err) != ERR_OK)
        fail_msg("%s", err.text);
    const struct executor_options threads = {.threads_max = 64};
    if (executor_new(&threads, &test->executor, &err) != ERR_OK)
        fail_msg("%s", err.text);
    test->password = password;
    cancel_init(&test->cancel);
    pthread_mutex_init(&test->lock, NULL);
    test->events = xstrdup("");
    return test;
}

struct upstream *push_test_upstream(struct push_test *test, const char *host)
{
    autofree char *endpoint = xasprintf("http://%s", host);
    const char *const endpoints[] = {endpoint};
    const struct registry_options registry = {
        .host = host,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .retry_wait_ms = 10,
        .times = test->times,
        .plain_http = true,
        .schema1_fallback = true,
    };
    const struct upstream_options options = {
        .store = test->store,
        .executor = test->executor,
        .registries = {.registries = &registry,
                       .registry_count = 1,
                       .credentials = {.find = find_credentials,
                                       .self = (void *)(uintptr_t)test->password},
                       .user_agent = "slipway-test"},
    };
    struct error err = ERROR_INIT;
    if (test->upstream == NULL && upstream_new(&options, &test->upstream, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return test->upstream;
}

void push_test_free(struct push_test *test)
{
    upstream_free(test->upstream);
    executor_free(test->executor);
    store_close(test->store);
    test_folder_remove(test->folder);
    cancel_deinit(&test->cancel);
    pthread_mutex_destroy(&test->lock);
    free(test->events);
    free(test);
}

void push_test_all(struct push_test *test, const struct push_request *requests, size_t count,
                   const struct progress *progress, struct cancel *cancel,
                   struct push_target *results)
{
    struct push push = {.manifest = requests[0].manifest,
                        .referrers = (struct push_referrer *)(uintptr_t)requests[0].referrers,
                        .referrer_count = requests[0].referrer_count,
                        .targets = results,
                        .target_count = count};
    const struct push_options options = {.upstream = test->upstream,
                                         .progress = progress,
                                         .cancel = cancel,
                                         .remembers = requests[0].remembers};
    for (size_t i = 0; i < count; i++)
        results[i] = (struct push_target){
            .reference = requests[i].target, .state = PUSH_QUEUED, .attempts = 1};
    push_all(&options, &push);
}

enum errc push_test_one(struct push_test *test, const struct push_request *request,
                        const struct progress *progress, struct cancel *cancel,
                        struct push_target *result)
{
    push_test_all(test, request, 1, progress, cancel, result);
    return result->error.code;
}

static struct batch *begin(struct push_test *test)
{
    return batch_begin(test->store, BATCH_VOLATILE);
}

static void commit(struct batch *batch)
{
    struct error err = ERROR_INIT;
    assert_int_equal(batch_commit(batch, &err), ERR_OK);
}

static struct digest put(struct batch *batch, const void *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    assert_int_equal(batch_put_blob(batch, data, size, &digest, &err), ERR_OK);
    return digest;
}

static void put_config(struct batch *batch, struct made_image *image)
{
    autobuf struct buf text = BUF_INIT(1 << 20);
    char digest[DIGEST_TEXT_MAX];
    buf_text(&text, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                    "\"diff_ids\":[");
    for (size_t i = 0; i < image->layer_count; i++)
        buf_format(&text, "%s\"%s\"", i ? "," : "", digest_text(&image->diff_ids[i], digest));
    buf_text(&text, "]}}");
    image->config = put(batch, text.data, text.size);
}

static void put_manifest(struct batch *batch, struct made_image *image, const char *letters,
                         size_t size)
{
    autobuf struct buf text = BUF_INIT(1 << 20);
    char digest[DIGEST_TEXT_MAX];
    struct descriptor config = {.digest = image->config};
    autoblob struct blob blob = BLOB_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(batch_open_blob(batch, &image->config, &blob, &err), ERR_OK);
    config.size = blob.size;
    buf_format(&text,
               "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"config\":{"
               "\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"%s\",\"size\":%llu},"
               "\"layers\":[",
               digest_text(&config.digest, digest), (unsigned long long)config.size);
    for (size_t i = 0; i < image->layer_count; i++) {
        bool foreign = letters[i] >= 'A' && letters[i] <= 'Z';
        buf_format(&text,
                   "%s{\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP
                   "\",\"digest\":\"%s\",\"size\":%zu%s}",
                   i ? "," : "", digest_text(&image->layers[i], digest), size,
                   foreign ? ",\"urls\":[\"https://example.com/x\"]" : "");
    }
    buf_text(&text, "]}");
    image->manifest = (struct descriptor){.media_type = MEDIA_OCI_MANIFEST, .size = text.size};
    image->manifest.digest = put(batch, text.data, text.size);
}

struct made_image push_test_image(struct push_test *test, const char *letters, size_t size)
{
    struct made_image image = {.layer_count = strlen(letters)};
    struct batch *batch = begin(test);
    autofree char *content = xmalloc(size);
    for (size_t i = 0; i < image.layer_count; i++) {
        memset(content, letters[i], size);
        image.diff_ids[i] = digest_of(DIGEST_SHA256, &letters[i], 1);
        image.layers[i] = digest_of(DIGEST_SHA256, content, size);
        if (letters[i] >= 'a')
            put(batch, content, size);
    }
    put_config(batch, &image);
    put_manifest(batch, &image, letters, size);
    commit(batch);
    return image;
}

struct descriptor push_test_index(struct push_test *test, const struct made_image *images,
                                  size_t count)
{
    autobuf struct buf text = BUF_INIT(1 << 20);
    char digest[DIGEST_TEXT_MAX];
    buf_text(&text, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":[");
    for (size_t i = 0; i < count; i++)
        buf_format(&text, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", i ? "," : "",
                   images[i].manifest.media_type, digest_text(&images[i].manifest.digest, digest),
                   (unsigned long long)images[i].manifest.size);
    buf_text(&text, "]}");
    struct batch *batch = begin(test);
    struct descriptor index = {.media_type = MEDIA_OCI_INDEX, .size = text.size};
    index.digest = put(batch, text.data, text.size);
    commit(batch);
    return index;
}

static void record(void *self, const struct progress_event *event)
{
    struct push_test *test = self;
    pthread_mutex_lock(&test->lock);
    if (event->kind == PROGRESS_BYTES) {
        test->byte_events++;
        test->last_current = event->current;
    } else {
        char *longer =
            xasprintf("%s%s %s\n", test->events, event->id ? event->id : "-", event->status);
        free(test->events);
        test->events = longer;
    }
    pthread_mutex_unlock(&test->lock);
}

struct push_request push_test_request(const struct descriptor *manifest, const char *host,
                                      const char *rest)
{
    struct push_request request = {.manifest = *manifest};
    struct error err = ERROR_INIT;
    autofree char *text = xasprintf("%s/%s", host, rest);
    if (reference_parse(text, &request.target, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return request;
}

enum errc push_test_push(struct push_test *test, const struct descriptor *manifest,
                         const char *host)
{
    struct push_request request = push_test_request(manifest, host, "team/app:1");
    const struct progress progress = {.emit = record, .self = test};
    push_test_upstream(test, host);
    return push_test_one(test, &request, &progress, &test->cancel, &test->result);
}

size_t push_test_events(struct push_test *test, const char *event)
{
    size_t count = 0;
    size_t size = strlen(event);
    for (const char *line = test->events; *line; line += strcspn(line, "\n") + 1)
        count += strncmp(line, event, size) == 0 && line[size] == '\n';
    return count;
}

void push_test_expect(const struct push_test *test, enum errc code, enum errc want)
{
    if (code != want)
        fail_msg("%s instead of %s: %s", error_name(code), error_name(want),
                 test->result.error.text);
    assert_int_equal(test->result.state, want == ERR_OK ? PUSH_PUSHED : PUSH_FAILED);
}

void push_test_expect_layers(const struct push_test *test, unsigned existed, unsigned uploaded,
                             unsigned skipped)
{
    assert_int_equal(test->result.layers.existed, existed);
    assert_int_equal(test->result.layers.uploaded, uploaded);
    assert_int_equal(test->result.layers.skipped, skipped);
    assert_int_equal(test->result.layers.mounted, 0);
}
