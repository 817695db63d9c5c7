#include "gateway/registry/registry.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/push/mirrored_push.h"
#include "gateway/push/push_log.h"
#include "gateway/registry/document.h"
#include "gateway/registry/layers.h"
#include "gateway/registry/listed.h"
#include "gateway/registry/pushable.h"
#include "image/referrer_list.h"
#include "store/blob.h"

#include <inttypes.h>
#include <string.h>

#define CONTENT_TYPE_MAX 1024

struct manifest_job {
    struct gateway *gateway;
    struct requester by;
    char repository[REPOSITORY_NAME_MAX + 1];
    const char *tags[TAGS_MAX]; /* each owned, and there once; none: put under its digest alone */
    size_t tag_count;
    struct digest was[TAGS_MAX]; /* that each tag named just before; DIGEST_NONE: nothing */
    bool by_digest;
    struct digest digest; /* DIGEST_NONE until the bytes are there, by tag */
    char *content_type;   /* owned; NULL when there is none */
    char via[VIA_TEXT_MAX + 1];

    struct buf body; /* gone when it is in the store */
    uint64_t size;   /* its */
    struct v2_document document;
    char *referrer; /* owned; with a subject: the descriptor in its list of referrers */
    struct listed_referrers listed;
    struct push push; /* to the targets of its repository */
    struct job *job;  /* when it waits for them */
};

static struct store *store_of(const struct manifest_job *self)
{
    return self->gateway->runtime->store;
}

static void drop(void *arg)
{
    struct manifest_job *self = arg;
    for (size_t i = 0; i < self->tag_count; i++)
        free((char *)(uintptr_t)self->tags[i]);
    requester_deinit(&self->by);
    free(self->content_type);
    free(self->referrer);
    buf_deinit(&self->body);
    v2_document_deinit(&self->document);
    listed_referrers_deinit(&self->listed);
    push_deinit(&self->push);
    free(self);
}

/* ---- what came ---- */

static enum errc too_large(struct error *err)
{
    return fail(err, ERR_JSON_TOO_LARGE, 0, "the manifest has more than %zu bytes",
                MANIFEST_LIMIT_BYTES);
}

static enum errc read_body(struct job *job, struct manifest_job *self, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    while (source_pull(&body, &data, &size, err) == ERR_OK && size > 0) {
        if (job_document(job, self->body.size + size, err) != ERR_OK)
            return err->code;
        buf_append(&self->body, data, size);
        if (self->body.overflowed)
            return too_large(err);
    }
    return err->code;
}

static enum errc find_digest(struct manifest_job *self, struct error *err)
{
    char wanted[DIGEST_TEXT_MAX], came[DIGEST_TEXT_MAX];
    const struct digest expected = self->digest;
    self->digest = digest_of(self->by_digest ? expected.algorithm : DIGEST_SHA256,
                             buf_cstr(&self->body), self->body.size);
    if (!self->by_digest || digest_equal(&self->digest, &expected))
        return ERR_OK;
    return fail(err, ERR_DIGEST_INVALID, 0, "the manifest that came has the digest %s, not %s",
                digest_text(&self->digest, came), digest_text(&expected, wanted));
}

/* distribution-spec, "Push": what a manifest refers to has to be there before it, but for its
 * subject. */
static enum errc find_part(const struct manifest_job *self, const struct v2_reference *reference,
                           bool *held, uint64_t *size, struct error *err)
{
    struct store *store = store_of(self);
    const struct digest *digest = &reference->descriptor->digest;
    struct repository_manifest manifest;
    *held = false;
    if (reference->manifest &&
        repository_manifest(store, self->repository, digest, held, &manifest, err) != ERR_OK)
        return err->code;
    if (*held) {
        *size = manifest.size;
        return ERR_OK;
    }
    if (repository_has_blob(store, self->repository, digest, held, err) != ERR_OK || !*held)
        return err->code;
    return blob_stat(store, digest, size, err);
}

/* What is of another size than its descriptor says could be pushed nowhere. */
static enum errc check_part(const struct manifest_job *self, const struct v2_reference *reference,
                            bool *held, struct error *err)
{
    uint64_t size = 0;
    if (find_part(self, reference, held, &size, err) != ERR_OK)
        return err->code;
    if (!*held || size == reference->descriptor->size)
        return ERR_OK;
    return fail(err, ERR_MANIFEST_INVALID, 0,
                "number %zu of the manifest's \"%s\" has %" PRIu64 " bytes, not %" PRIu64,
                reference->position, reference->member, size, reference->descriptor->size);
}

static enum errc check_references(const struct manifest_job *self, struct error *err)
{
    const struct v2_document *document = &self->document;
    const struct v2_reference *missing = NULL;
    size_t count = 0;
    for (size_t i = 0; i < document->reference_count; i++) {
        bool held = false;
        if (check_part(self, &document->references[i], &held, err) != ERR_OK)
            return err->code;
        held |= listed_referrers_had(&self->listed, &document->references[i].descriptor->digest);
        count += !held;
        if (!held && missing == NULL)
            missing = &document->references[i];
    }
    if (missing == NULL)
        return ERR_OK;
    char digest[DIGEST_TEXT_MAX];
    return fail(err, ERR_MANIFEST_BLOB_UNKNOWN, 0,
                "%s lacks %zu of what the manifest refers to, first of all number %zu of its "
                "\"%s\", %s",
                self->repository, count, missing->position, missing->member,
                digest_text(&missing->descriptor->digest, digest));
}

/* What has to outlast the JSON. */
static enum errc look_at(struct manifest_job *self, struct error *err)
{
    struct v2_document *document = &self->document;
    autoturn struct json_turn turn = json_turn_take(self->size);
    if (v2_document_parse(buf_cstr(&self->body), self->size, self->content_type, document, err) !=
        ERR_OK)
        return err->code;
    if (document->manifest.has_subject)
        v2_document_descriptor(document, &self->digest, self->size, &self->referrer, err);
    v2_document_forget(document);
    return err->code;
}

/* One that is the list of several subjects is none. */
static enum errc look_for_lists(struct job *job, struct manifest_job *self, struct error *err)
{
    const struct manifest *manifest = &self->document.manifest;
    for (size_t i = 0; i < self->tag_count; i++)
        if (referrer_list_is(self->tags[i], manifest))
            return listed_referrers_read(store_of(self), job_cancelled(job), self->repository,
                                         self->tags[i], manifest, &self->listed, err);
    return ERR_OK;
}

static enum errc take_manifest(struct job *job, struct manifest_job *self, struct error *err)
{
    if (read_body(job, self, err) != ERR_OK || find_digest(self, err) != ERR_OK)
        return err->code;
    self->size = self->body.size;
    if (v2_check_moves(self->gateway, &self->by, self->repository, self->tags, self->tag_count,
                       &self->digest, err) != ERR_OK ||
        look_at(self, err) != ERR_OK || look_for_lists(job, self, err) != ERR_OK)
        return err->code;
    return check_references(self, err);
}

/* ---- into the store and to its targets ---- */

static enum errc put_blob(const struct manifest_job *self, struct batch *batch, struct error *err)
{
    struct blob_writer *writer = NULL;
    if (blob_writer_open(batch, &writer, err) != ERR_OK)
        return err->code;
    if (blob_writer_write(writer, buf_cstr(&self->body), self->body.size, err) != ERR_OK) {
        blob_writer_abort(writer);
        return err->code;
    }
    return blob_writer_commit(writer, &self->digest, err);
}

static void put_names(const struct manifest_job *self, struct batch *batch)
{
    const struct manifest *manifest = &self->document.manifest;
    struct manifest_entry entry = {
        .repository = self->repository,
        .manifest = {.digest = self->digest, .size = self->size},
        .subject = manifest->has_subject ? &manifest->subject.digest : NULL,
        .descriptor = self->referrer,
    };
    memcpy(entry.manifest.media_type, manifest->media_type, MEDIA_TYPE_MAX);
    if (self->tag_count == 0)
        batch_put_manifest(batch, &entry);
    for (size_t i = 0; i < self->tag_count; i++) {
        entry.tag = self->tags[i];
        batch_put_manifest(batch, &entry);
    }
    listed_referrers_put(&self->listed, self->repository, batch);
    v2_put_layers(store_of(self), manifest, batch);
}

/* For the audit stream. Of two that move one tag in the same moment, both may find what was before
 * the first. */
static enum errc look_at_tags(struct manifest_job *self, struct error *err)
{
    for (size_t i = 0; i < self->tag_count; i++) {
        struct repository_manifest there;
        bool found = false;
        if (repository_tag(store_of(self), self->repository, self->tags[i], &found, &there, err) !=
            ERR_OK)
            return err->code;
        self->was[i] = found ? there.digest : (struct digest){.algorithm = DIGEST_NONE};
    }
    return ERR_OK;
}

/* With its names, and its push if that is made after the answer. */
static enum errc commit_whole(struct manifest_job *self, struct push *push, struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_DURABLE);
    if (look_at_tags(self, err) != ERR_OK || put_blob(self, batch, err) != ERR_OK)
        return err->code;
    put_names(self, batch);
    if (push)
        batch_put_push(batch, push);
    return batch_commit(mem_take(&batch), err);
}

/* The bytes alone, for the push to read: nothing is promised yet. */
static enum errc commit_bytes(struct manifest_job *self, struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_VOLATILE);
    if (put_blob(self, batch, err) != ERR_OK)
        return err->code;
    buf_deinit(&self->body);
    return batch_commit(mem_take(&batch), err);
}

static enum errc commit_names(struct manifest_job *self, struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_DURABLE);
    if (look_at_tags(self, err) != ERR_OK || batch_hold_blob(batch, &self->digest, err) != ERR_OK)
        return err->code;
    put_names(self, batch);
    return batch_commit(mem_take(&batch), err);
}

/* ---- the request ---- */

/* There are mirrors, and none of them is meant: that may be a name with a typing error. */
static bool goes_nowhere(const struct manifest_job *self)
{
    return self->push.target_count == 0 &&
           RUNTIME_SETTING(self->gateway->runtime, mirror_count) > 0;
}

static void answer(struct job *job, const struct manifest_job *self)
{
    const struct manifest *manifest = &self->document.manifest;
    struct reply reply = REPLY_INIT(201);
    v2_location(&reply, self->repository, "manifests", &self->digest);
    v2_digest_header(&reply, "Docker-Content-Digest", &self->digest);
    if (manifest->has_subject)
        v2_digest_header(&reply, "OCI-Subject", &manifest->subject.digest);
    for (size_t i = 0; self->by_digest && i < self->tag_count; i++)
        reply_header(&reply, "OCI-Tag", "%s", self->tags[i]);
    if (goes_nowhere(self)) /* distribution-spec, "Warnings" */
        reply_header(&reply, "Warning", "299 - \"no mirror matches %s: it is kept in the gateway\"",
                     self->repository);
    v2_answer(job, &reply);
}

static void tell_one(const struct manifest_job *self, const char *tag)
{
    char text[DIGEST_TEXT_MAX];
    log_event(LOG_INFO, "manifest.put",
              LOG_FIELDS(log_text("repository", self->repository), log_text("tag", tag),
                         log_text("digest", digest_text(&self->digest, text))),
              "manifest put");
}

static void tell_moved(const struct manifest_job *self)
{
    const struct error none = ERROR_INIT;
    for (size_t i = 0; i < self->tag_count; i++) {
        const struct audit_event event = {.action = AUDIT_TAG_MOVE,
                                          .repository = self->repository,
                                          .tag = self->tags[i],
                                          .digest = &self->digest,
                                          .was = &self->was[i]};
        if (self->was[i].algorithm != DIGEST_NONE && !digest_equal(&self->was[i], &self->digest))
            requester_tell(&self->by, self->gateway->runtime->audit, event, &none);
    }
}

static void tell(const struct manifest_job *self)
{
    if (goes_nowhere(self))
        log_event(LOG_INFO, "mirror.none", LOG_FIELDS(log_text("repository", self->repository)),
                  "no mirror matches the repository: what is put stays here");
    if (self->tag_count == 0)
        tell_one(self, "");
    for (size_t i = 0; i < self->tag_count; i++)
        tell_one(self, self->tags[i]);
}

static void conclude(struct job *job, const struct manifest_job *self, const struct error *err)
{
    if (err->code != ERR_OK) {
        v2_answer_error(job, err);
        return;
    }
    tell(self);
    tell_moved(self);
    answer(job, self);
}

/* ---- to its targets ---- */

static void tell_accepted(const struct manifest_job *self)
{
    push_log_accepted(&self->push);
    audit_push_accepted(self->gateway->runtime->audit, &self->push, &self->by.origin);
}

/* The targets have it: now it gets its names. */
static void on_pushed(void *arg)
{
    struct manifest_job *self = arg;
    struct job *job = self->job;
    struct error err = ERROR_INIT;
    if (mirrored_push_judge(&self->push, &err) == ERR_OK) {
        commit_names(self, &err);
        conclude(job, self, &err);
    } else {
        struct reply reply = REPLY_INIT(500);
        v2_refuse(&reply, &err);
        reply_targets_failed(&reply, err.code);
        v2_answer(job, &reply);
    }
    job_over(job);
}

/* The client waits for the targets. */
static void push_and_wait(struct job *job, struct manifest_job *self)
{
    const struct push_options options = {
        .cancel = job_cancelled(job), .remembers = true, .ended = on_pushed, .self = self};
    self->job = job;
    job_document_over(job);
    pushes_accept(store_of(self), &self->push);
    tell_accepted(self);
    job_continue(job);
    push_queue_run(self->gateway->queue, &options, &self->push);
}

static enum errc plan(struct job *job, struct manifest_job *self, struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(self->gateway->runtime);
    struct descriptor descriptor = {.digest = self->digest, .size = self->size};
    memcpy(descriptor.media_type, self->document.manifest.media_type, MEDIA_TYPE_MAX);
    if (mirrored_push_plan(settings, self->repository, self->tags, self->tag_count, &descriptor,
                           &self->push, err) != ERR_OK)
        return err->code;
    memcpy(self->push.via, self->via, sizeof self->via);
    caller_by(self->by.caller, &self->push.by);
    if (self->push.target_count == 0)
        return ERR_OK;
    return pushable_check(store_of(self), job_cancelled(job), &self->document.manifest, err);
}

/* True when the answer has to wait for the targets. */
static bool keep(struct manifest_job *self, struct error *err)
{
    bool stored = push_stored_targets(&self->push) > 0;
    if (self->push.target_count > 0 && !stored)
        return commit_bytes(self, err) == ERR_OK;
    if (commit_whole(self, stored ? &self->push : NULL, err) == ERR_OK && stored) {
        tell_accepted(self);
        push_queue_start(self->gateway->queue, &self->push);
    }
    return false;
}

/* distribution-spec, "Pushing Manifests" */
static void run(struct job *job, void *arg)
{
    struct manifest_job *self = arg;
    struct error err = ERROR_INIT;
    if (take_manifest(job, self, &err) == ERR_OK) {
        job_received(job);
        if (plan(job, self, &err) == ERR_OK && keep(self, &err)) {
            push_and_wait(job, self);
            return;
        }
    }
    conclude(job, self, &err);
}

static enum errc check_length(const struct request *request, struct error *err)
{
    bool known = false;
    uint64_t length = 0;
    if (request_length(request, &known, &length, err) != ERR_OK)
        return err->code;
    return known && length > MANIFEST_LIMIT_BYTES ? too_large(err) : ERR_OK;
}

static void add_tag(struct manifest_job *self, const char *tag)
{
    for (size_t i = 0; i < self->tag_count; i++)
        if (strcmp(self->tags[i], tag) == 0)
            return;
    self->tags[self->tag_count++] = xstrdup(tag);
}

/* distribution-spec after 1.1.1, "Pushing Manifests": PUT manifests/DIGEST?tag=T1&tag=T2 */
static enum errc take_tag(struct manifest_job *self, const char *tag, struct error *err)
{
    struct reference reference = {.tag = ""};
    struct error why = ERROR_INIT;
    if (!self->by_digest)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "the parameter \"tag\" goes with a manifest that is put under its digest");
    if (reference_set_tag(&reference, tag, &why) != ERR_OK)
        return fail(err, ERR_TAG_INVALID, 0, "%s", why.text);
    if (self->tag_count == TAGS_MAX)
        return fail(err, ERR_TAGS_TOO_MANY, 0,
                    "more than %d tags of one manifest; put it again "
                    "with the others",
                    TAGS_MAX);
    add_tag(self, tag);
    return ERR_OK;
}

static enum errc take_tags(struct manifest_job *self, const struct v2_request *front,
                           struct error *err)
{
    if (!self->by_digest)
        add_tag(self, front->path.tag);
    for (size_t i = 0; i < front->query.count; i++) {
        const struct query_parameter *item = &front->query.items[i];
        if (strcmp(item->name, "tag") == 0 && take_tag(self, item->value, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static struct manifest_job *job_new(const struct v2_request *front)
{
    const char *content_type = request_header(front->request, "Content-Type");
    struct manifest_job *self = xcalloc(1, sizeof *self);
    *self = (struct manifest_job){.gateway = front->gateway,
                                  .digest = front->path.digest,
                                  .by_digest = front->path.tag[0] == '\0',
                                  .body = BUF_INIT(MANIFEST_LIMIT_BYTES)};
    memcpy(self->repository, front->path.repository, sizeof self->repository);
    memcpy(self->via, front->via, sizeof self->via);
    requester_of(front->request, &self->by);
    if (content_type)
        self->content_type = xstrndup(content_type, CONTENT_TYPE_MAX);
    return self;
}

struct job *v2_put_manifest(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct manifest_job *self = job_new(front);
    if (check_length(front->request, &err) == ERR_OK && take_tags(self, front, &err) == ERR_OK)
        return v2_start(front, JOB_PUSH, run, drop, self, reply);
    drop(self);
    v2_refuse(reply, &err);
    return NULL;
}
