#include "gateway/registry/registry.h"

#include "base/buf.h"

#include <string.h>

#define VERSION_HEADER "Docker-Distribution-API-Version"
#define ALLOW_MAX_BYTES 64

/* ---- endpoints ---- */

typedef struct job *front_handler(struct front_request *front, struct reply *reply);

/* HEAD is wherever GET is. */
static const struct endpoint {
    enum front_endpoint endpoint;
    const char *method;
    front_handler *handler;
} endpoints[] = {
    {FRONT_PING, "GET", front_ping},
    {FRONT_CATALOG, "GET", front_list_repositories},
    {FRONT_BLOB, "GET", front_get_blob},
    {FRONT_BLOB, "DELETE", front_delete_blob},
    {FRONT_UPLOADS, "POST", front_begin_upload},
    {FRONT_UPLOAD, "GET", front_get_upload},
    {FRONT_UPLOAD, "PATCH", front_patch_upload},
    {FRONT_UPLOAD, "PUT", front_put_upload},
    {FRONT_UPLOAD, "DELETE", front_cancel_upload},
    {FRONT_MANIFEST, "GET", front_get_manifest},
    {FRONT_MANIFEST, "PUT", front_put_manifest},
    {FRONT_MANIFEST, "DELETE", front_delete_manifest},
    {FRONT_TAGS, "GET", front_list_tags},
    {FRONT_REFERRERS, "GET", front_list_referrers},
};
#define ENDPOINT_COUNT (sizeof endpoints / sizeof endpoints[0])

static front_handler *find_handler(enum front_endpoint endpoint, const char *method)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < ENDPOINT_COUNT; i++)
        if (endpoints[i].endpoint == endpoint && strcmp(endpoints[i].method, wanted) == 0)
            return endpoints[i].handler;
    return NULL;
}

/* RFC 9110, 15.5.6: a 405 says which methods there are. */
static void refuse_method(const struct front_request *front, struct reply *reply)
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
    front_refuse(reply, &err);
    reply_header(reply, "Allow", "%s", buf_cstr(&allow));
}

/* A text that can be no tag names no manifest; only putting one under it is a mistake. */
static enum errc parse_path(const struct request *request, struct front_path *path,
                            struct error *err)
{
    if (front_path_parse(request->path, path, err) != ERR_TAG_INVALID ||
        strcmp(request->method, "PUT") == 0)
        return err->code;
    err->code = ERR_MANIFEST_NOT_HELD;
    return err->code;
}

static struct job *dispatch(struct front_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (parse_path(front->request, &front->path, &err) != ERR_OK ||
        query_parse(front->request->query, &front->query, &err) != ERR_OK) {
        front_refuse(reply, &err);
        return NULL;
    }
    front_handler *handler = find_handler(front->path.endpoint, front->request->method);
    if (handler)
        return handler(front, reply);
    refuse_method(front, reply);
    return NULL;
}

/* A target that leads back here would have each push wait for another one of itself. */
static bool comes_from_itself(const struct gateway *gateway, const struct request *request)
{
    const char *agent = request_header(request, "User-Agent");
    return agent && strcmp(agent, gateway->engine->agent) == 0;
}

struct job *front_route(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct front_request front = {.gateway = gateway, .request = request};
    struct job *job = NULL;
    if (comes_from_itself(gateway, request)) {
        struct error err = ERROR_INIT;
        fail(&err, ERR_FORBIDDEN, 0, "this gateway is its own target: a mirror leads back to it");
        front_refuse(reply, &err);
    } else {
        job = dispatch(&front, reply);
        query_deinit(&front.query);
    }
    if (job == NULL)
        reply_header(reply, VERSION_HEADER, "registry/2.0");
    return job;
}

/* ---- jobs ---- */

struct job *front_start(const struct front_request *front, enum job_class class,
                        void (*run)(struct job *job, void *self), void (*drop)(void *self),
                        void *self, struct reply *reply)
{
    const struct job_work work = {.class = class, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (job_start(front->gateway->jobs, &work, front->request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    front_refuse(reply, &err);
    return NULL;
}

void front_answer(struct job *job, struct reply *reply)
{
    reply_header(reply, VERSION_HEADER, "registry/2.0");
    job_answer(job, reply);
}

void front_answer_error(struct job *job, const struct error *err)
{
    struct reply reply = REPLY_INIT(500);
    front_refuse(&reply, err);
    front_answer(job, &reply);
}
