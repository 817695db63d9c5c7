#include "gateway/api/pushes.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/stored_image.h"
#include "store/pushes.h"

#include <string.h>

/* ---- the body ---- */

static enum errc check_members(const json_t *root, struct error *err)
{
    const char *key = NULL;
    const json_t *value = NULL;
    if (!json_is_object(root))
        return fail(err, ERR_BAD_REQUEST, 0, "the body is no object");
    json_object_foreach((json_t *)(uintptr_t)root, key,
                        value) if (strcmp(key, "image") != 0 &&
                                   strcmp(key, "to") !=
                                       0) return fail(err, ERR_BAD_REQUEST, 0,
                                                      "there is no member \"%.100s\": image, to",
                                                      key);
    return ERR_OK;
}

static enum errc take_targets(const json_t *to, struct push_order *order, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    if (to != NULL && !json_is_array(to))
        return fail(err, ERR_BAD_REQUEST, 0, "\"to\" is no array");
    if (json_array_size(to) == 0)
        return fail(err, ERR_NO_TARGET, 0,
                    "no target: say where to with \"to\": [\"HOST/REPOSITORY:TAG\"]");
    json_array_foreach(to, i, item)
    {
        if (!json_is_string(item))
            return fail(err, ERR_BAD_REQUEST, 0, "to[%zu] is no string", i);
        if (push_order_add(order, json_string_value(item), err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

enum errc pushes_parse(const char *data, size_t size, struct push_order *order, struct error *err)
{
    autoturn struct json_turn turn = json_turn_take(size);
    autojson json_t *root = NULL;
    if (json_parse(data, size, PUSH_BODY_MAX, "the body", &root, err) != ERR_OK ||
        check_members(root, err) != ERR_OK)
        return err->code;
    const char *image = json_text(root, "image");
    if (image == NULL || *image == '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "\"image\" is missing, or no string");
    order->image = xstrdup(image);
    return take_targets(json_object_get(root, "to"), order, err);
}

/* ---- the job ---- */

static enum errc find_image(struct store *store, struct push_order *order, struct error *err)
{
    struct stored_image image;
    struct push *push = &order->push;
    if (stored_image_find(store, order->image, &image, err) != ERR_OK)
        return err->code;
    push->manifest = image.manifest;
    push->config = image.config;
    push->referrers = mem_take(&image.referrers);
    push->referrer_count = image.referrer_count;
    stored_image_deinit(&image);
    const char *tags[] = {image.tag};
    return push_expand_tags(push, tags, image.tag[0] ? 1 : 0,
                            "the target needs a tag, nothing else names one", err);
}

static bool may_pull(const struct push_call *self, const char *repository)
{
    return access_ask(self->gateway->access, self->by.caller, OPERATION_PULL, repository, NULL) ==
           ACCESS_YES;
}

/* A repository of the registry API may be called as its reference is written, with docker.io and
 * library/. */
static bool may_pull_as_written(const struct push_call *self)
{
    const char *image = self->order.image;
    size_t size = strcspn(image, "@");
    const char *slash = memrchr(image, '/', size);
    const char *base = slash ? slash : image;
    const char *colon = memchr(base, ':', size - (size_t)(base - image));
    autofree char *name = xstrndup(image, colon ? (size_t)(colon - image) : size);
    return may_pull(self, name);
}

/* Whoever may not pull it is told what is told of an image that is not held. A digest alone names
 * no repository: that is for those who may pull from all of them. */
static enum errc check_image(const struct push_call *self, struct error *err)
{
    const char *image = self->order.image;
    char name[REFERENCE_NAME_MAX + 1];
    struct reference reference;
    struct digest digest;
    struct error no_name = ERROR_INIT;
    bool may = digest_parse(image, &digest, &no_name) == ERR_OK ||
                       reference_parse(image, &reference, &no_name) != ERR_OK
                   ? may_pull(self, "")
                   : may_pull(self, mirrors_name(&reference, name)) && may_pull_as_written(self);
    return may ? ERR_OK : stored_image_unknown(image, err);
}

static enum errc take(struct push_call *self, const struct buf *body, struct error *err)
{
    struct store *store = self->gateway->runtime->store;
    if (pushes_parse(buf_cstr(body), body->size, &self->order, err) != ERR_OK ||
        push_call_check(self, err) != ERR_OK || check_image(self, err) != ERR_OK ||
        find_image(store, &self->order, err) != ERR_OK)
        return err->code;
    pushes_accept(store, &self->order.push);
    return ERR_OK;
}

static void run(struct job *job, void *arg)
{
    struct push_call *self = arg;
    struct error err = ERROR_INIT;
    autobuf struct buf body = BUF_INIT(PUSH_BODY_MAX);
    if (push_job_document(job, "the body", &body, &err) == ERR_OK) {
        job_received(job);
        if (!push_job_begin(job, self, &body))
            return;
        take(self, &body, &err);
    }
    buf_deinit(&body);
    if (err.code == ERR_OK) {
        push_job_send(job, self);
        return;
    }
    request_claim_release(&self->claim);
    push_job_refuse(job, &err);
}

static void free_self(void *arg)
{
    push_call_deinit(arg);
    free(arg);
}

static enum errc check_request(const struct request *request, struct error *err)
{
    bool known = false;
    uint64_t length = 0;
    if (request->query[0] != '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "there are no parameters: the body says all");
    if (request_length(request, &known, &length, err) != ERR_OK)
        return err->code;
    if (known && length > PUSH_BODY_MAX)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the body has more than %zu bytes", PUSH_BODY_MAX);
    return ERR_OK;
}

struct job *pushes_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct push_call *self = xcalloc(1, sizeof *self);
    struct job_work work = {.class = JOB_PUSH, .run = run, .free = free_self, .self = self};
    struct job *job = NULL;
    if (push_call_init(gateway, request, self, &err) != ERR_OK ||
        check_request(request, &err) != ERR_OK ||
        job_start(gateway->jobs, &work, request->peer, &job, &err) != ERR_OK) {
        free_self(self);
        reply_error(reply, &err);
        return NULL;
    }
    return job;
}
