#include "upstream/push/push.h"

#include "base/log.h"
#include "store/references.h"
#include "upstream/client/endpoints.h"
#include "upstream/client/registry.h"
#include "upstream/push/manifest_push.h"
#include "upstream/push/push_retry.h"

/* What the endpoints of one target are tried with. */
struct attempt {
    struct store *store;
    const struct push_request *request;
    const struct progress *progress;
    struct cancel *cancel;
    struct registry_credentials credentials; /* owned by push_target() */
    const char *target;
    struct push_result *result;
};

/* The first request to an endpoint. */
struct greeting {
    struct target_push *push;
    bool last; /* there is no other endpoint to be tried */
};

static enum errc greet_once(void *self, struct error *err)
{
    const struct greeting *greeting = self;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, greeting->push->repository, &greeting->push->stop);
    return registry_ping(&client, err);
}

/* A registry that says "later" is waited for. Where nobody answers, there may never have been one:
 * only one that is known from before, and cannot be reached in another way, is worth the wait. */
static bool greeting_helps(void *self, const struct error *err)
{
    const struct greeting *greeting = self;
    if (is_transport_error(err->code))
        return greeting->last && error_retriable(err->code) &&
               atomic_load(&greeting->push->repository->endpoint->answered);
    return err->code == ERR_TOO_MANY_REQUESTS || err->code == ERR_REGISTRY_FAULT;
}

static void tell_greeting(void *self, const char *words)
{
    const struct greeting *greeting = self;
    const struct progress_event event = {
        .kind = PROGRESS_MESSAGE,
        .target = greeting->push->target,
        .status = words,
    };
    progress_emit(greeting->push->progress, &event);
}

static enum errc push_connected(struct target_push *push, const struct push_request *request,
                                bool last, struct error *err)
{
    struct greeting greeting = {.push = push, .last = last};
    const struct push_work work = {
        .what = push->target,
        .attempt = greet_once,
        .helps = greeting_helps,
        .tell = tell_greeting,
        .self = &greeting,
    };
    if (push_retry(push, &work, err) != ERR_OK)
        return err->code;
    return manifest_push(push, request, err);
}

static enum errc push_to_endpoint(void *self, struct endpoint *endpoint, bool last,
                                  struct error *err)
{
    const struct attempt *attempt = self;
    struct repository repository;
    struct target_push push;
    repository_init(&repository, endpoint, attempt->request->target.path, &attempt->credentials);
    push_init(&push, attempt->store, &repository, attempt->progress, attempt->target,
              attempt->cancel, attempt->result);
    push_share(&push, attempt->request->known);
    enum errc code = push_connected(&push, attempt->request, last, err);
    push_deinit(&push);
    repository_deinit(&repository);
    return code;
}

/* By digest only what has that digest can be pushed, and not under a tag at the same time. */
static enum errc check_target(const struct push_request *request, struct error *err)
{
    const struct reference *target = &request->target;
    char text[REFERENCE_TEXT_MAX];
    bool by_digest = target->digest.algorithm != DIGEST_NONE;
    if (by_digest && (target->tag[0] || !digest_equal(&target->digest, &request->manifest.digest)))
        return fail(err, ERR_DIGEST_REFERENCE, 0, "cannot push a digest reference: %s",
                    reference_text(target, text));
    if (!by_digest && target->tag[0] == '\0')
        return fail(err, ERR_NO_TAG, 0, "%s has no tag to push", reference_text(target, text));
    return ERR_OK;
}

static void tell(const struct attempt *attempt, const char *words)
{
    const struct progress_event event = {
        .kind = PROGRESS_MESSAGE,
        .target = attempt->target,
        .status = words,
    };
    progress_emit(attempt->progress, &event);
}

static void tell_start(const struct attempt *attempt)
{
    char name[REFERENCE_NAME_MAX + 1];
    autobuf struct buf words = BUF_INIT(REFERENCE_TEXT_MAX + 64);
    buf_format(&words, "The push refers to repository [%s]",
               reference_name(&attempt->request->target, name));
    tell(attempt, buf_cstr(&words));
}

static void tell_end(const struct attempt *attempt)
{
    char digest[DIGEST_TEXT_MAX];
    const char *tag = attempt->request->target.tag;
    autobuf struct buf words = BUF_INIT(REFERENCE_TEXT_MAX + 64);
    digest_text(&attempt->result->digest, digest);
    buf_format(&words, "%s: digest: %s size: %llu", tag[0] ? tag : digest, digest,
               (unsigned long long)attempt->result->size);
    tell(attempt, buf_cstr(&words));
}

/* The image is where it should be: a record that cannot be written does not change that. */
static void record_digest(const struct attempt *attempt)
{
    struct reference by_digest = attempt->request->target;
    by_digest.tag[0] = '\0';
    by_digest.digest = attempt->result->digest;
    struct error err = ERROR_INIT;
    const struct descriptor *manifest = &attempt->request->manifest;
    if (references_put(attempt->store, &by_digest, &manifest->digest, manifest->media_type, &err) !=
        ERR_OK)
        log_warn("%s: the digest reference is not recorded: %s", attempt->target, err.text);
}

static enum errc push_target(struct registries *registries, struct attempt *attempt,
                             struct error *err)
{
    const struct reference *target = &attempt->request->target;
    struct registry_host *host = NULL;
    if (check_target(attempt->request, err) != ERR_OK ||
        registries_host(registries, target->host, &host, err) != ERR_OK ||
        registries_credentials(registries, target->host, target->path, &attempt->credentials,
                               err) != ERR_OK)
        return err->code;
    tell_start(attempt);
    enum errc code = endpoints_try(host, push_to_endpoint, attempt, err);
    registry_credentials_clear(&attempt->credentials);
    if (code != ERR_OK)
        return code;
    record_digest(attempt);
    tell_end(attempt);
    return ERR_OK;
}

enum errc push_image(struct store *store, struct registries *registries,
                     const struct push_request *request, const struct progress *progress,
                     struct cancel *cancel, struct push_result *result)
{
    char target[REFERENCE_TEXT_MAX];
    *result = (struct push_result){
        .state = PUSH_RUNNING,
        .target = request->target,
        .optional = request->optional,
        .attempts = 1,
    };
    struct attempt attempt = {
        .store = store,
        .request = request,
        .progress = progress,
        .cancel = cancel,
        .target = reference_text(&request->target, target),
        .result = result,
    };
    enum errc code = push_target(registries, &attempt, &result->error);
    result->state = code == ERR_OK ? PUSH_PUSHED : PUSH_FAILED;
    return code;
}
