#include "gateway/registry/registry.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/push/mirrored_push.h"

#include <string.h>

/* distribution-spec, "Content Management": taken out of the repository here, not upstream. */

struct delete_job {
    struct runtime *runtime;
    struct requester by;
    enum v2_endpoint endpoint; /* V2_BLOB or V2_MANIFEST */
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
};

/* Somebody else may have been faster. */
static enum errc take_out(const struct delete_job *self, struct error *err)
{
    struct store *store = self->runtime->store;
    bool found = false;
    if (self->endpoint == V2_BLOB) {
        if (repository_remove_blob(store, self->repository, &self->digest, &found, err) == ERR_OK &&
            !found)
            fail(err, ERR_BLOB_NOT_HELD, 0, "%s has no such blob", self->repository);
        return err->code;
    }
    if ((self->tag[0] ? repository_remove_tag(store, self->repository, self->tag, &found, err)
                      : repository_remove_manifest(store, self->repository, &self->digest, &found,
                                                   err)) == ERR_OK &&
        !found)
        fail(err, ERR_MANIFEST_NOT_HELD, 0, "%s has no such manifest", self->repository);
    return err->code;
}

static void drop(void *arg)
{
    struct delete_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

static void run(struct job *job, void *arg)
{
    const struct delete_job *self = arg;
    struct error err = ERROR_INIT;
    const struct audit_event said = {.action = AUDIT_DELETE,
                                     .repository = self->repository,
                                     .tag = self->tag,
                                     .digest = self->tag[0] ? NULL : &self->digest};
    take_out(self, &err);
    requester_tell(&self->by, self->runtime->audit, said, &err);
    if (err.code != ERR_OK) {
        v2_answer_error(job, &err);
        return;
    }
    if (self->endpoint == V2_BLOB)
        mirrored_push_early_end(self->runtime, self->repository, &self->digest);
    char digest[DIGEST_TEXT_MAX];
    bool has_tag = self->tag[0] != '\0';
    const char *event = self->endpoint == V2_BLOB ? "blob.deleted"
                        : has_tag                 ? "tag.deleted"
                                                  : "manifest.deleted";
    log_event(LOG_INFO, event,
              LOG_FIELDS(log_text("repository", self->repository), log_text("tag", self->tag),
                         log_text("digest", has_tag ? "" : digest_text(&self->digest, digest))),
              "deleted from its repository");
    struct reply reply = REPLY_INIT(202);
    v2_answer(job, &reply);
}

static struct job *start(const struct v2_request *front, struct reply *reply)
{
    struct delete_job *self = xcalloc(1, sizeof *self);
    self->runtime = front->gateway->runtime;
    requester_of(front->request, &self->by);
    self->endpoint = front->path.endpoint;
    self->digest = front->path.digest;
    memcpy(self->repository, front->path.repository, sizeof self->repository);
    memcpy(self->tag, front->path.tag, sizeof self->tag);
    return v2_start(front, JOB_BRIEF, run, drop, self, reply);
}

struct job *v2_delete_blob(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (v2_find_blob(front, &err) == ERR_OK)
        return start(front, reply);
    v2_refuse(reply, &err);
    return NULL;
}

struct job *v2_delete_manifest(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    if (v2_find_manifest(front, &manifest, &err) == ERR_OK)
        return start(front, reply);
    v2_refuse(reply, &err);
    return NULL;
}
