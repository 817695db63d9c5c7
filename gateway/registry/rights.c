#include "gateway/registry/registry.h"

#include "gateway/access/access.h"
#include "gateway/push/mirrors.h"

#include <stdio.h>
#include <string.h>

#define BIT(OPERATION) (1U << (OPERATION))

/* What a request needs in its repository: one of these operations. */
struct need {
    unsigned any;
    unsigned scope; /* of the challenge, which names what the client will need next, too */
    bool reads;
    bool pushes; /* on to the targets of the repository */
};

static struct need need_of(const struct v2_request *front)
{
    const char *method = front->request->method;
    enum v2_endpoint endpoint = front->path.endpoint;
    if (endpoint != V2_UPLOAD && strcmp(method, "GET") == 0)
        return (struct need){
            .any = BIT(OPERATION_PULL), .scope = BIT(OPERATION_PULL), .reads = true};
    if (endpoint != V2_UPLOAD && strcmp(method, "HEAD") == 0)
        return (struct need){.any = BIT(OPERATION_PULL) | BIT(OPERATION_PUSH),
                             .scope = BIT(OPERATION_PULL),
                             .reads = true};
    if (endpoint != V2_UPLOAD && strcmp(method, "DELETE") == 0)
        return (struct need){.any = BIT(OPERATION_DELETE), .scope = BIT(OPERATION_DELETE)};
    return (struct need){.any = BIT(OPERATION_PUSH),
                         .scope = BIT(OPERATION_PULL) | BIT(OPERATION_PUSH),
                         .pushes = endpoint == V2_UPLOADS || endpoint == V2_MANIFEST};
}

/* The operation that was asked about last, and the rule that decided. */
struct asked {
    enum operation operation;
    int rule;
};

/* The best answer for any of the operations. */
static enum access_answer ask(const struct v2_request *front, unsigned any, struct asked *asked)
{
    enum access_answer best = ACCESS_NO;
    for (unsigned i = 0; i < OPERATION_COUNT && best != ACCESS_YES; i++) {
        if ((any & BIT(i)) == 0)
            continue;
        enum access_answer answer =
            access_ask(front->gateway->access, front->request->caller, (enum operation)i,
                       front->path.repository, &asked->rule);
        asked->operation = (enum operation)i;
        best = answer < best ? answer : best;
    }
    return best;
}

static void tell(const struct v2_request *front, const struct asked *asked, const struct error *why)
{
    autorequester struct requester by;
    requester_of(front->request, &by);
    access_tell_denied(front->gateway->access, &by, asked->operation, front->path.repository,
                       asked->rule, why);
}

static void refuse(const struct v2_request *front, enum access_answer answer, unsigned scope,
                   const struct error *why, struct reply *reply)
{
    v2_refuse(reply, why);
    if (answer != ACCESS_NO)
        access_challenge(front->gateway->access, front->request, answer, front->path.repository,
                         scope, reply);
}

/* What arrives goes on to the targets of its repository. */
static bool may_push_on(const struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct mirror_route route;
    autosettings const struct settings *settings = runtime_settings(front->gateway->runtime);
    if (mirrors_route(settings, front->path.repository, &route, &err) != ERR_OK)
        return true; /* it leads nowhere; who puts something there is told */
    autorequester struct requester by;
    requester_of(front->request, &by);
    for (size_t i = 0; i < route.count && err.code == ERR_OK; i++)
        access_check_target(front->gateway->access, &by, front->path.repository,
                            &route.targets[i].repository, &err);
    if (err.code == ERR_OK)
        return true;
    v2_refuse(reply, &err);
    return false;
}

/* Whoever has shown something is told that it is good, whatever it gives: helm and oras log in so.
 */
static bool admits_ping(const struct v2_request *front, struct reply *reply)
{
    const struct caller *caller = front->request->caller;
    if (caller == NULL || caller->proof != PROOF_NONE)
        return true;
    struct error err = ERROR_INIT;
    access_explain(ACCESS_LOGIN, caller, OPERATION_PULL, "", &err);
    refuse(front, ACCESS_LOGIN, 0, &err, reply);
    return false;
}

bool v2_admits(struct v2_request *front, struct reply *reply)
{
    enum v2_endpoint endpoint = front->path.endpoint;
    if (!access_is_on(front->gateway->access))
        return true;
    if (endpoint == V2_PING)
        return admits_ping(front, reply);
    if (endpoint == V2_CATALOG)
        return true; /* it lists what may be pulled */
    struct asked asked = {.operation = OPERATION_PULL};
    struct error err = ERROR_INIT;
    const struct need need = need_of(front);
    enum access_answer answer = ask(front, need.any, &asked);
    if (answer == ACCESS_YES)
        return !need.pushes || may_push_on(front, reply);
    access_explain(answer, front->request->caller, asked.operation, front->path.repository, &err);
    if (answer != ACCESS_WIDER)
        tell(front, &asked, &err);
    front->hidden = answer == ACCESS_NO && need.reads;
    if (!front->hidden)
        refuse(front, answer, need.scope, &err, reply);
    return front->hidden;
}

bool v2_may_mount(const struct v2_request *front, const char *from)
{
    return access_ask(front->gateway->access, front->request->caller, OPERATION_PULL, from, NULL) ==
           ACCESS_YES;
}

enum errc v2_check_moves(const struct gateway *gateway, const struct requester *by,
                         const char *repository, const char *const *tags, size_t tag_count,
                         const struct digest *manifest, struct error *err)
{
    int rule = 0;
    enum access_answer answer =
        access_ask(gateway->access, by->caller, OPERATION_TAG_MOVE, repository, &rule);
    struct repository_manifest there;
    bool found = false;
    if (answer == ACCESS_YES)
        return ERR_OK;
    for (size_t i = 0; i < tag_count; i++) {
        if (repository_tag(gateway->runtime->store, repository, tags[i], &found, &there, err) !=
            ERR_OK)
            return err->code;
        if (found && !digest_equal(&there.digest, manifest)) {
            access_explain(ACCESS_NO, by->caller, OPERATION_TAG_MOVE, repository, err);
            error_wrap(err, "the tag %s is another manifest's", tags[i]);
            access_tell_denied(gateway->access, by, OPERATION_TAG_MOVE, repository, rule, err);
            return err->code;
        }
    }
    return ERR_OK;
}
