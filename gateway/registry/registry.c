#include "gateway/registry/registry.h"

#include "base/buf.h"

#include <string.h>

#define VERSION_HEADER "Docker-Distribution-API-Version"
#define ALLOW_MAX_BYTES 64

/* ---- endpoints ---- */

typedef struct job *v2_handler(struct v2_request *front, struct reply *reply);

/* HEAD is wherever GET is. */
static const struct endpoint {
    enum v2_endpoint endpoint;
    const char *method;
    v2_handler *handler;
} endpoints[] = {
    {V2_PING, "GET", v2_ping},
    {V2_CATALOG, "GET", v2_list_repositories},
    {V2_BLOB, "GET", v2_get_blob},
    {V2_BLOB, "DELETE", v2_delete_blob},
    {V2_UPLOADS, "POST", v2_begin_upload},
    {V2_UPLOAD, "GET", v2_get_upload},
    {V2_UPLOAD, "PATCH", v2_patch_upload},
    {V2_UPLOAD, "PUT", v2_put_upload},
    {V2_UPLOAD, "DELETE", v2_cancel_upload},
    {V2_MANIFEST, "GET", v2_get_manifest},
    {V2_MANIFEST, "PUT", v2_put_manifest},
    {V2_MANIFEST, "DELETE", v2_delete_manifest},
    {V2_TAGS, "GET", v2_list_tags},
    {V2_REFERRERS, "GET", v2_list_referrers},
};
#define ENDPOINT_COUNT (sizeof endpoints / sizeof endpoints[0])

static v2_handler *find_handler(enum v2_endpoint endpoint, const char *method)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < ENDPOINT_COUNT; i++)
        if (endpoints[i].endpoint == endpoint && strcmp(endpoints[i].method, wanted) == 0)
            return endpoints[i].handler;
    return NULL;
}

/* RFC 9110, 15.5.6: a 405 says which methods there are. */
static void refuse_method(const struct v2_request *front, struct reply *reply)
{
    autobuf struct buf allow = BUF_INIT(ALLOW_MAX_BYTES);
    for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
        if (endpoints[i].endpoint != front->path.endpoint)
            continue;
        bool get = strcmp(endpoints[i].method, "GET") == 0;
        buf_format(&allow, "%s%s", allow.size > 0 ? ", " : "",
                   get ? "GET, HEAD" : endpoints[i].method);
    }
    struct error err = ERROR_INIT;
    fail(&err, ERR_METHOD, 0, "this endpoint takes %s", buf_cstr(&allow));
    v2_refuse(reply, &err);
    reply_header(reply, "Allow", "%s", buf_cstr(&allow));
}

/* A text that can be no tag names no manifest; only putting one under it is a mistake. */
static enum errc parse_path(const struct request *request, struct v2_path *path, struct error *err)
{
    if (v2_path_parse(request->path, path, err) != ERR_TAG_INVALID ||
        strcmp(request->method, "PUT") == 0)
        return err->code;
    err->code = ERR_MANIFEST_NOT_HELD;
    return err->code;
}

static struct job *dispatch(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (parse_path(front->request, &front->path, &err) != ERR_OK ||
        query_parse(front->request->query, &front->query, &err) != ERR_OK) {
        v2_refuse(reply, &err);
        return NULL;
    }
    v2_handler *handler = find_handler(front->path.endpoint, front->request->method);
    if (handler == NULL)
        refuse_method(front, reply);
    else if (v2_admits(front, reply))
        return handler(front, reply);
    return NULL;
}

struct job *v2_route(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct v2_request front = {.gateway = gateway, .request = request};
    const char *own = store_id(gateway->runtime->store);
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    /* Before anything of it is taken: in a ring each push would wait for another one of itself. */
    if (via_read(request_header(request, VIA_HEADER), own, front.via, &err) != ERR_OK) {
        v2_refuse(reply, &err);
    } else {
        job = dispatch(&front, reply);
        query_deinit(&front.query);
    }
    if (job == NULL)
        reply_header(reply, VERSION_HEADER, "registry/2.0");
    return job;
}

/* No name has an upper-case letter; of its own size, because the look takes as long then. */
const char *v2_looked_in(const struct v2_request *front, char name[REPOSITORY_NAME_MAX + 1])
{
    snprintf(name, REPOSITORY_NAME_MAX + 1, "%s", front->path.repository);
    if (front->hidden)
        name[strlen(name) - 1] = 'A';
    return name;
}

/* ---- jobs ---- */

struct job *v2_start(const struct v2_request *front, enum job_class class,
                     void (*run)(struct job *job, void *self), void (*drop)(void *self), void *self,
                     struct reply *reply)
{
    const struct job_work work = {.class = class, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (job_start(front->gateway->jobs, &work, front->request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    v2_refuse(reply, &err);
    return NULL;
}

void v2_answer(struct job *job, struct reply *reply)
{
    reply_header(reply, VERSION_HEADER, "registry/2.0");
    job_answer(job, reply);
}

void v2_answer_error(struct job *job, const struct error *err)
{
    struct reply reply = REPLY_INIT(500);
    v2_refuse(&reply, err);
    v2_answer(job, &reply);
}
