#include "gateway/server/routes.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/api/backup.h"
#include "gateway/api/check.h"
#include "gateway/api/collections.h"
#include "gateway/api/images.h"
#include "gateway/api/layers.h"
#include "gateway/api/push_events.h"
#include "gateway/api/push_list.h"
#include "gateway/api/pushes.h"
#include "gateway/api/reload.h"
#include "gateway/api/robots.h"
#include "gateway/api/sweeps.h"
#include "gateway/api/targets.h"
#include "gateway/http/error_body.h"
#include "gateway/registry/path.h"
#include "gateway/registry/registry.h"
#include "gateway/server/guard.h"
#include "gateway/server/metrics_page.h"
#include "gateway/service/control.h"
#include "gateway/service/version.h"
#include "store/health.h"

#include <string.h>

/* ---- handlers of a few lines ---- */

/* Whoever asks does so every few seconds: not a line of the log each time. */
static void not_ready(struct reply *reply, const struct error *why)
{
    reply->status = 503;
    reply_header(reply, MHD_HTTP_HEADER_RETRY_AFTER, "2");
    reply_json(reply, error_body(why));
}

static struct job *get_health(struct gateway *gateway, const struct request *request,
                              struct reply *reply)
{
    (void)gateway;
    (void)request;
    reply->status = 200;
    reply_json(reply, xstrdup("{\"status\":\"alive\"}"));
    return NULL;
}

static struct job *get_ready(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    (void)request;
    struct error err = ERROR_INIT;
    if (jobs_closed(gateway->jobs)) {
        fail(&err, ERR_STOPPING, 0, "the gateway is stopping");
        reply_error(reply, &err);
        return NULL;
    }
    if (store_health(gateway->runtime->store, &err) != STORE_WELL) {
        not_ready(reply, &err);
        return NULL;
    }
    reply->status = 200;
    reply_json(reply, xstrdup("{\"status\":\"ready\"}"));
    return NULL;
}

static struct job *get_version(struct gateway *gateway, const struct request *request,
                               struct reply *reply)
{
    (void)gateway;
    (void)request;
    reply->status = 200;
    reply_json(reply, version_json());
    return NULL;
}

static struct job *token_route(struct gateway *gateway, const struct request *request,
                               struct reply *reply)
{
    return access_token(gateway->access, request, reply);
}

/* ---- the table ---- */

enum need_kind { FREE, PUSHES, MEASURES, READS, READS_ALL, CONTROLS, CONTROLS_ALL, ADMINISTERS };

/* What a caller needs for a row, where that is not the handler's to ask. */
static const struct need {
    bool asked;
    enum operation operation;
    bool anywhere; /* the handler asks about which repository */
} needs[] = {
    [FREE] = {.asked = false},
    [PUSHES] = {true, OPERATION_PUSH, true},
    [MEASURES] = {true, OPERATION_QUEUE_READ, false},
    [READS] = {true, OPERATION_QUEUE_READ, true},
    [READS_ALL] = {true, OPERATION_QUEUE_READ, false},
    [CONTROLS] = {true, OPERATION_QUEUE_CONTROL, true},
    [CONTROLS_ALL] = {true, OPERATION_QUEUE_CONTROL, false},
    [ADMINISTERS] = {true, OPERATION_ADMIN, false},
};

/* The first row for a path and method counts. */
/* clang-format off */
static const struct row {
    const char *path;    /* one segment may be in braces; a star: whatever begins so */
    const char *methods; /* as in an Allow header; NULL: the handler decides */
    route_handler *handler;
    const char *takes; /* the media type of a body below /v1/ */
    enum need_kind needs;
    bool documents;    /* no archive: whatever a form could make is refused */
    bool anyone;       /* by whatever name the gateway is asked */
    bool ops;          /* also at ops.listen */
} rows[] = {
    {"/v2", NULL, v2_route, NULL, FREE, false, false, false},
    {"/v2/*", NULL, v2_route, NULL, FREE, false, false, false},
    {"/v1/images", "POST, PUT", images_post, "application/x-tar", PUSHES, false, false, false},
    {"/v1/layers", "POST, PUT", layers_post, "application/octet-stream", PUSHES, false, false, false},
    {"/v1/layers/{diff_id}", "GET, HEAD", layers_get, NULL, PUSHES, false, false, false},
    {"/v1/pushes", "POST", pushes_post, "application/json", PUSHES, true, false, false},
    {"/v1/pushes", "GET, HEAD", pushes_list, NULL, READS, false, false, false},
    {"/v1/pushes/retry", "POST", pushes_retry, "application/json", CONTROLS_ALL, true, false, false},
    {"/v1/pushes/{id}/retry", "POST", push_retry, "application/json", CONTROLS, true, false, false},
    {"/v1/pushes/{id}/events", "GET", push_events, NULL, READS, false, false, false},
    {"/v1/pushes/{id}", "GET, HEAD", push_get, NULL, READS, false, false, false},
    {"/v1/pushes/{id}", "DELETE", push_delete, NULL, CONTROLS, false, false, false},
    {"/v1/targets", "GET, HEAD", targets_list, NULL, READS_ALL, false, false, false},
    {"/v1/targets/{name}/pause", "POST", target_pause, "application/json", CONTROLS_ALL, true, false, false},
    {"/v1/targets/{name}/resume", "POST", target_resume, "application/json", CONTROLS_ALL, true, false, false},
    {"/v1/gc", "POST", collections_post, "application/json", ADMINISTERS, true, false, false},
    {"/v1/reload", "POST", reload_post, "application/json", ADMINISTERS, true, false, false},
    {"/v1/backup", "POST", backup_post, "application/json", ADMINISTERS, true, false, false},
    {"/v1/check", "POST", check_post, "application/json", ADMINISTERS, true, false, false},
    {"/v1/check", "GET, HEAD", check_get, NULL, ADMINISTERS, false, false, false},
    {"/v1/check", "DELETE", check_delete, NULL, ADMINISTERS, false, false, false},
    {"/v1/quarantine", "GET, HEAD", quarantine_get, NULL, ADMINISTERS, false, false, false},
    {"/v1/targets/{name}/reconcile", "POST", target_reconcile, "application/json", CONTROLS_ALL, true, false, false},
    {"/v1/targets/{name}/reconcile", "GET, HEAD, DELETE", target_reconcile, NULL, CONTROLS_ALL, false, false, false},
    {"/v1/targets/{name}/backfill", "POST", target_backfill, "application/json", CONTROLS_ALL, true, false, false},
    {"/v1/targets/{name}/backfill", "GET, HEAD, DELETE", target_backfill, NULL, CONTROLS_ALL, false, false, false},
    {"/v1/robots", "GET, HEAD", robots_list, NULL, ADMINISTERS, false, false, false},
    {"/v1/robots", "POST", robots_post, "application/json", ADMINISTERS, true, false, false},
    {"/v1/robots/{name}", "DELETE", robot_delete, NULL, ADMINISTERS, false, false, false},
    {"/v1/robots/{name}/disable", "POST", robot_disable, "application/json", ADMINISTERS, true, false, false},
    {"/token", NULL, token_route, NULL, FREE, false, false, false},
    {"/healthz", "GET, HEAD", get_health, NULL, FREE, false, true, true},
    {"/readyz", "GET, HEAD", get_ready, NULL, FREE, false, true, true},
    {"/metrics", "GET, HEAD", metrics_page_get, NULL, MEASURES, false, false, true},
    {"/v1/version", "GET, HEAD", get_version, NULL, FREE, false, false, false},
};
/* clang-format on */
#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* What is in braces is one segment. */
static bool matches(const struct row *row, const char *path)
{
    size_t fixed = strcspn(row->path, "{*");
    const char *rest = row->path + fixed;
    if (strncmp(row->path, path, fixed) != 0)
        return false;
    if (*rest == '*')
        return true;
    path += fixed;
    if (*rest == '{') {
        path += strcspn(path, "/");
        rest = strchr(rest, '}') + 1;
    }
    return strcmp(path, rest) == 0;
}

static struct path_shown show_v2(const char *path)
{
    struct v2_form form;
    if (!v2_path_form(path, &form))
        return (struct path_shown){.pattern = PATH_OTHER};
    return (struct path_shown){.pattern = form.pattern,
                               .part = form.last,
                               .value = form.last ? form.tail.at : NULL,
                               .name = form.name.at,
                               .name_size = form.name.size};
}

/* What the log calls the part of a path that a pattern leaves open. */
static const char *part_name(const char *open)
{
    if (strncmp(open, "{name}", 6) == 0)
        return "target";
    return strncmp(open, "{diff_id}", 9) == 0 ? "diff_id" : "id";
}

struct path_shown route_show(const char *path)
{
    size_t at = 0;
    while (at < ROW_COUNT && !matches(&rows[at], path))
        at++;
    if (at == ROW_COUNT)
        return (struct path_shown){.pattern = PATH_OTHER};
    if (rows[at].handler == v2_route)
        return show_v2(path);
    size_t fixed = strcspn(rows[at].path, "{");
    if (rows[at].path[fixed] == '\0')
        return (struct path_shown){.pattern = rows[at].path};
    return (struct path_shown){.pattern = rows[at].path,
                               .part = part_name(rows[at].path + fixed),
                               .value = path + fixed,
                               .value_size = strcspn(path + fixed, "/")};
}

static bool allows(const struct row *row, const char *method)
{
    size_t size = strlen(method);
    if (row->methods == NULL)
        return true;
    for (const char *at = row->methods; (at = strstr(at, method)) != NULL; at += size)
        if ((at == row->methods || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0'))
            return size > 0;
    return false;
}

static void refuse_method(const struct request *request, const char *allowed, struct reply *reply)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_METHOD, 0, "%.200s takes %s, not %.20s", request->path, allowed,
         request->method);
    reply_error(reply, &err);
    reply_header(reply, "Allow", "%s", allowed);
}

/* No page of a stranger finds anything to change at ops.listen, and nobody there is asked for
 * credentials. */
static bool admit(const struct gateway *gateway, bool ops, const struct row *row,
                  const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    const struct need *need = &needs[row->needs];
    autosettings const struct settings *settings = runtime_settings(gateway->runtime);
    if ((!row->anyone && !ops && guard_sender(settings, request, &err) != ERR_OK) ||
        (row->takes && guard_body(request, row->documents, row->takes, &err) != ERR_OK)) {
        reply_error(reply, &err);
        return false;
    }
    bool open = row->needs == MEASURES && !access_is_on(gateway->access);
    return !need->asked || ops || open ||
           control_admits(gateway, request, need->operation, need->anywhere, reply);
}

static struct job *find(struct gateway *gateway, bool ops, const struct request *request,
                        struct reply *reply)
{
    autobuf struct buf allowed = BUF_INIT(200);
    const struct row *first = NULL;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct row *row = &rows[i];
        if (!matches(row, request->path) || (ops && !row->ops))
            continue;
        if (first && strcmp(first->path, row->path) != 0)
            continue; /* what has a name of its own is no id */
        first = row;
        if (allows(row, request->method))
            return admit(gateway, ops, row, request, reply) ? row->handler(gateway, request, reply)
                                                            : NULL;
        buf_format(&allowed, "%s%s", allowed.size > 0 ? ", " : "", row->methods);
    }
    if (allowed.size > 0) {
        refuse_method(request, buf_cstr(&allowed), reply);
        return NULL;
    }
    struct error err = ERROR_INIT;
    fail(&err, ERR_NOT_FOUND, 0, "there is nothing at %.200s", request->path);
    reply_error(reply, &err);
    return NULL;
}

struct job *route(void *gateway, const struct request *request, struct reply *reply)
{
    return find(gateway, false, request, reply);
}

struct job *route_ops(void *gateway, const struct request *request, struct reply *reply)
{
    return find(gateway, true, request, reply);
}
