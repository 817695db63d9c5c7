#include "gateway/registry/registry.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/http/http_range.h"
#include "gateway/push/mirrored_push.h"
#include "gateway/queue/push_targets.h"
#include "store/blob.h"
#include "store/blob_upload.h"
#include "store/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Every kind of job here, a copy of what it needs of the request. */
struct upload_job {
    struct gateway *gateway;
    char repository[REPOSITORY_NAME_MAX + 1];
    char id[V2_ID_MAX + 1];
    struct digest digest; /* of the blob, where the request names it; or its algorithm alone */
    bool has_range;       /* the client says where its bytes belong */
    struct byte_range range;
    char client[IDENTITY_NAME_MAX + 1]; /* who begins a session: a name, else an address */
    char via[VIA_TEXT_MAX + 1];
};

static struct store *store_of(const struct upload_job *self)
{
    return self->gateway->runtime->store;
}

static void note_client(const struct request *request, struct upload_job *self)
{
    const struct caller *caller = request->caller;
    const struct net_address site = net_address_site(&request->peer.address);
    if (caller && caller->identity.name)
        snprintf(self->client, sizeof self->client, "%s", caller->identity.name);
    else
        net_address_text(&site, self->client);
}

static struct upload_job *new_job(const struct v2_request *front)
{
    struct upload_job *self = xcalloc(1, sizeof *self);
    self->gateway = front->gateway;
    memcpy(self->repository, front->path.repository, sizeof self->repository);
    memcpy(self->id, front->path.id, sizeof self->id);
    memcpy(self->via, front->via, sizeof self->via);
    note_client(front->request, self);
    return self;
}

static struct job *start(const struct v2_request *front, enum job_class class,
                         struct upload_job *self, void (*run)(struct job *job, void *self),
                         struct reply *reply)
{
    return v2_start(front, class, run, free, self, reply);
}

/* ---- answers ---- */

static void put_session(struct reply *reply, const char *repository, const char *id, uint64_t size)
{
    reply_header(reply, "Location", "/v2/%s/blobs/uploads/%s", repository, id);
    reply_header(reply, "Docker-Upload-UUID", "%s", id);
    /* "0-0" is nothing, too: the specification has no other form. */
    reply_header(reply, "Range", "0-%" PRIu64, size > 0 ? size - 1 : 0);
}

static void answer_session(struct job *job, const struct upload_job *self, const char *id,
                           uint64_t size)
{
    struct reply reply = REPLY_INIT(202);
    put_session(&reply, self->repository, id, size);
    v2_answer(job, &reply);
}

static void answer_blob(struct job *job, const struct upload_job *self)
{
    struct reply reply = REPLY_INIT(201);
    v2_location(&reply, self->repository, "blobs", &self->digest);
    v2_digest_header(&reply, "Docker-Content-Digest", &self->digest);
    v2_answer(job, &reply);
}

/* Bytes that do not follow those that are there: the answer says where to go on. */
static void answer_range(struct job *job, const struct upload_job *self, uint64_t size)
{
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(416);
    fail(&err, ERR_UPLOAD_RANGE, 0,
         "the next byte of this upload is number %" PRIu64 ", not %" PRIu64, size,
         self->range.first);
    v2_refuse(&reply, &err);
    put_session(&reply, self->repository, self->id, size);
    v2_answer(job, &reply);
}

/* ---- a blob has come in ---- */

static bool is_paused(void *queue, const struct mirror_target *target)
{
    return push_queue_is_paused(queue, target->name, target->repository.host);
}

/* Commits `batch`, which brings the blob or not: it is in the repository, and may leave. `event` is
 * that of the log. */
static enum errc commit_blob(const struct upload_job *self, const char *event, struct batch *batch,
                             struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    uint64_t size = 0;
    batch_put_member(batch, self->repository, &self->digest);
    if (batch_commit(batch, err) != ERR_OK ||
        blob_stat(store_of(self), &self->digest, &size, err) != ERR_OK)
        return err->code;
    mirrored_push_early(self->gateway->runtime, self->repository, &self->digest, size, self->via,
                        is_paused, self->gateway->queue);
    log_event(LOG_INFO, event,
              LOG_FIELDS(log_text("repository", self->repository),
                         log_text("digest", digest_text(&self->digest, digest)),
                         log_number("bytes", size)),
              "blob is in the repository");
    return ERR_OK;
}

static enum errc check_size(const struct upload_job *self, uint64_t size, struct error *err)
{
    uint64_t limit = RUNTIME_SETTING(self->gateway->runtime, limits.archive_bytes);
    if (size > limit)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the blob has more than the %" PRIu64 " bytes of limits.archive", limit);
    return ERR_OK;
}

/* ---- POST: a session, a whole blob, or a mount ---- */

static void begin_session(struct job *job, const struct upload_job *self)
{
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    struct error err = ERROR_INIT;
    if (blob_upload_begin(store_of(self), self->repository, self->client, self->digest.algorithm,
                          id, &err) != ERR_OK)
        v2_answer_error(job, &err);
    else
        answer_session(job, self, id, 0);
}

static void run_begin(struct job *job, void *arg)
{
    begin_session(job, arg);
}

static enum errc mount(const struct upload_job *self, struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_DURABLE);
    if (batch_hold_blob(batch, &self->digest, err) != ERR_OK)
        return err->code;
    return commit_blob(self, "blob.mounted", mem_take(&batch), err);
}

/* distribution-spec, "Mounting a blob from another repository": what cannot be mounted is sent. */
static void run_mount(struct job *job, void *arg)
{
    const struct upload_job *self = arg;
    struct error err = ERROR_INIT;
    if (mount(self, &err) == ERR_OK)
        answer_blob(job, self);
    else if (err.code == ERR_BLOB_UNKNOWN)
        begin_session(job, self);
    else
        v2_answer_error(job, &err);
}

static enum errc receive(struct job *job, const struct upload_job *self, struct blob_writer *writer,
                         struct digester *digester, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    while (source_pull(&body, &data, &size, err) == ERR_OK) {
        if (size == 0)
            return ERR_OK;
        digester_update(digester, data, size);
        if (check_size(self, job_body_bytes(job), err) != ERR_OK ||
            blob_writer_write(writer, data, size, err) != ERR_OK)
            break;
    }
    return err->code;
}

/* The writer has ended when this returns. */
static enum errc receive_blob(struct job *job, const struct upload_job *self,
                              struct blob_writer *writer, struct error *err)
{
    char wanted[DIGEST_TEXT_MAX], came[DIGEST_TEXT_MAX];
    struct digester *digester = digester_new(self->digest.algorithm);
    if (receive(job, self, writer, digester, err) == ERR_OK) {
        struct digest digest = digester_finish(digester);
        if (!digest_equal(&digest, &self->digest))
            fail(err, ERR_DIGEST_INVALID, 0, "the bytes that came have the digest %s, not %s",
                 digest_text(&digest, came), digest_text(&self->digest, wanted));
    }
    digester_free(digester);
    if (err->code == ERR_OK)
        return blob_writer_commit(writer, &self->digest, err);
    blob_writer_abort(writer);
    return err->code;
}

static enum errc take_whole(struct job *job, const struct upload_job *self, struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_DURABLE);
    struct blob_writer *writer = NULL;
    if (blob_writer_open(batch, &writer, err) != ERR_OK ||
        receive_blob(job, self, writer, err) != ERR_OK)
        return err->code;
    return commit_blob(self, "upload.finished", mem_take(&batch), err);
}

/* distribution-spec, "Single POST" */
static void run_whole(struct job *job, void *arg)
{
    const struct upload_job *self = arg;
    struct error err = ERROR_INIT;
    if (take_whole(job, self, &err) == ERR_OK)
        answer_blob(job, self);
    else
        v2_answer_error(job, &err);
}

static bool may_mount(void *front, const char *from)
{
    return v2_may_mount(front, from);
}

/* *found: what is to be mounted is there, and the caller may pull it there. Without `from` it may
 * be in any repository. What is not found is sent. */
static enum errc find_mount(struct v2_request *front, struct digest *digest, bool *found,
                            struct error *err)
{
    struct store *store = front->gateway->runtime->store;
    const char *from = query_value(&front->query, "from", NULL);
    if (v2_query_digest(&front->query, "mount", digest, err) != ERR_OK)
        return err->code;
    if (from == NULL || *from == '\0')
        return repositories_have_blob(store, digest, may_mount, front, found, err);
    if (repository_name_check(from, strlen(from), err) != ERR_OK)
        return err->code;
    *found = false;
    return v2_may_mount(front, from) ? repository_has_blob(store, from, digest, found, err)
                                     : ERR_OK;
}

/* A body that is longer than it may be, or that there is no room for, is refused before it comes.
 */
static enum errc check_length(const struct v2_request *front, const struct upload_job *self,
                              struct error *err)
{
    bool known = false;
    uint64_t length = 0;
    if (request_length(front->request, &known, &length, err) != ERR_OK)
        return err->code;
    if (known && self->has_range && length != self->range.size)
        return fail(err, ERR_SIZE_INVALID, 0,
                    "Content-Range is of %" PRIu64 " bytes, Content-Length %" PRIu64,
                    self->range.size, length);
    if (known && check_size(self, length, err) != ERR_OK)
        return err->code;
    return known && length == 0 ? ERR_OK : store_check_room(store_of(self), err);
}

/* distribution-spec after 1.1.1, "Pushing a blob in chunks": refused before the bytes come. */
static enum errc plan_session(const struct v2_request *front, struct upload_job *self,
                              struct error *err)
{
    const char *name = query_value(&front->query, "digest-algorithm", NULL);
    if (name && (self->digest.algorithm = digest_algorithm_find(name)) == DIGEST_NONE)
        return fail(err, ERR_DIGEST_INVALID, 0,
                    "digest-algorithm \"%.40s\" is neither sha256 nor sha512", name);
    return store_check_room(store_of(self), err);
}

static enum errc plan_begin(struct v2_request *front, struct upload_job *self,
                            void (**run)(struct job *job, void *self), struct error *err)
{
    bool found = false;
    *run = run_begin;
    if (query_value(&front->query, "mount", NULL)) {
        if (find_mount(front, &self->digest, &found, err) != ERR_OK)
            return err->code;
        if (found)
            *run = run_mount;
        return ERR_OK;
    }
    if (query_value(&front->query, "digest", NULL) == NULL)
        return plan_session(front, self, err);
    *run = run_whole;
    if (v2_query_digest(&front->query, "digest", &self->digest, err) != ERR_OK)
        return err->code;
    return check_length(front, self, err);
}

struct job *v2_begin_upload(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct upload_job *self = new_job(front);
    void (*run)(struct job * job, void *self) = NULL;
    if (plan_begin(front, self, &run, &err) == ERR_OK)
        return start(front, run == run_whole ? JOB_BLOB : JOB_BRIEF, self, run, reply);
    free(self);
    v2_refuse(reply, &err);
    return NULL;
}

/* ---- GET: how far it is ---- */

struct job *v2_get_upload(struct v2_request *front, struct reply *reply)
{
    const struct v2_path *path = &front->path;
    struct error err = ERROR_INIT;
    uint64_t size = 0;
    if (blob_upload_offset(front->gateway->runtime->store, path->repository, path->id, &size,
                           &err) != ERR_OK) {
        v2_refuse(reply, &err);
        return NULL;
    }
    reply->status = 204;
    put_session(reply, path->repository, path->id, size);
    return NULL;
}

/* ---- PATCH and PUT: bytes ---- */

/* A younger request for the same session: if this one still waits for bytes, its client has given
 * it up. */
static bool interrupt(void *job)
{
    struct error why = ERROR_INIT;
    fail(&why, ERR_UPLOAD_BUSY, 0, "another request has taken over this upload");
    return job_interrupt(job, &why);
}

static enum errc append_body(struct job *job, const struct upload_job *self,
                             struct blob_upload *upload, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    while (source_pull(&body, &data, &size, err) == ERR_OK && size > 0) {
        if (check_size(self, blob_upload_size(upload) + size, err) != ERR_OK ||
            blob_upload_write(upload, data, size, err) != ERR_OK)
            return err->code;
    }
    if (err->code == ERR_OK && self->has_range && job_body_bytes(job) != self->range.size)
        return fail(err, ERR_SIZE_INVALID, 0,
                    "Content-Range is of %" PRIu64 " bytes, %" PRIu64 " came", self->range.size,
                    job_body_bytes(job));
    return err->code;
}

/* Open the session and add the body. NULL when that failed, and was answered: what came before is
 * kept in the session. */
static struct blob_upload *append(struct job *job, const struct upload_job *self)
{
    const struct overtaken overtaken = {.call = interrupt, .self = job};
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    job_gather(job);
    if (blob_upload_open(store_of(self), self->repository, self->id, &overtaken, &upload, &err) !=
        ERR_OK) {
        v2_answer_error(job, &err);
        return NULL;
    }
    uint64_t size = blob_upload_size(upload);
    if (self->has_range && self->range.first != size) {
        blob_upload_close(upload);
        answer_range(job, self, size);
        return NULL;
    }
    if (append_body(job, self, upload, &err) == ERR_OK)
        return upload;
    blob_upload_close(upload);
    v2_answer_error(job, &err);
    return NULL;
}

/* distribution-spec, "Pushing a blob in chunks" */
static void run_patch(struct job *job, void *arg)
{
    const struct upload_job *self = arg;
    struct blob_upload *upload = append(job, self);
    if (upload == NULL)
        return;
    uint64_t size = blob_upload_size(upload);
    blob_upload_close(upload);
    answer_session(job, self, self->id, size);
}

/* `upload` is taken. */
static enum errc finish(const struct upload_job *self, struct blob_upload *upload,
                        struct error *err)
{
    autobatch struct batch *batch = batch_begin(store_of(self), BATCH_DURABLE);
    if (blob_upload_finish(upload, batch, &self->digest, err) != ERR_OK)
        return err->code;
    return commit_blob(self, "upload.finished", mem_take(&batch), err);
}

static void run_put(struct job *job, void *arg)
{
    const struct upload_job *self = arg;
    struct error err = ERROR_INIT;
    struct blob_upload *upload = append(job, self);
    if (upload == NULL)
        return;
    if (finish(self, upload, &err) == ERR_OK)
        answer_blob(job, self);
    else
        v2_answer_error(job, &err);
}

/* What can be refused before the body: a session that is not there, a Content-Range that is none,
 * too many bytes. */
static enum errc check_append(const struct v2_request *front, struct upload_job *self,
                              struct error *err)
{
    const char *range = request_header(front->request, "Content-Range");
    uint64_t size = 0;
    self->has_range = range != NULL;
    if (blob_upload_offset(store_of(self), self->repository, self->id, &size, err) != ERR_OK ||
        (range && content_range_parse(range, &self->range, err) != ERR_OK))
        return err->code;
    return check_length(front, self, err);
}

struct job *v2_patch_upload(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct upload_job *self = new_job(front);
    if (check_append(front, self, &err) == ERR_OK)
        return start(front, JOB_BLOB, self, run_patch, reply);
    free(self);
    v2_refuse(reply, &err);
    return NULL;
}

struct job *v2_put_upload(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct upload_job *self = new_job(front);
    if (check_append(front, self, &err) == ERR_OK &&
        v2_query_digest(&front->query, "digest", &self->digest, &err) == ERR_OK)
        return start(front, JOB_BLOB, self, run_put, reply);
    free(self);
    v2_refuse(reply, &err);
    return NULL;
}

/* ---- DELETE ---- */

static void run_cancel(struct job *job, void *arg)
{
    const struct upload_job *self = arg;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(204);
    if (blob_upload_cancel(store_of(self), self->repository, self->id, &err) != ERR_OK)
        v2_refuse(&reply, &err);
    v2_answer(job, &reply);
}

struct job *v2_cancel_upload(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    uint64_t size = 0;
    if (blob_upload_offset(front->gateway->runtime->store, front->path.repository, front->path.id,
                           &size, &err) == ERR_OK)
        return start(front, JOB_BRIEF, new_job(front), run_cancel, reply);
    v2_refuse(reply, &err);
    return NULL;
}
