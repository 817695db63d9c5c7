/*
 * An event of the audit stream (audit.h), as a value: what happened, who did it, and whence.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_AUDIT_EVENT_H
#define SLIPWAY_GATEWAY_ACCESS_AUDIT_EVENT_H

#include "gateway/access/identity.h"
#include "gateway/http/request.h"
#include "store/push.h"

/* Their names, in docs/audit.schema.json, are for ever; what each has beside the common fields is
 * in docs/audit.md. */
#define AUDIT_ACTIONS(X)                                                                           \
    X(AUDIT_TOKEN, "token.issue")                                                                  \
    X(AUDIT_LOGIN, "login")                                                                        \
    X(AUDIT_DENY, "policy.deny")                                                                   \
    X(AUDIT_PUSH, "push.accept")                                                                   \
    X(AUDIT_TARGET, "target.end")                                                                  \
    X(AUDIT_TAG_MOVE, "tag.move")                                                                  \
    X(AUDIT_DELETE, "delete")                                                                      \
    X(AUDIT_CANCEL, "push.cancel")                                                                 \
    X(AUDIT_RETRY, "push.retry")                                                                   \
    X(AUDIT_PAUSE, "target.pause")                                                                 \
    X(AUDIT_RESUME, "target.resume")                                                               \
    X(AUDIT_RECONCILE, "target.reconcile")                                                         \
    X(AUDIT_BACKFILL, "target.backfill")                                                           \
    X(AUDIT_COLLECT, "collection")                                                                 \
    X(AUDIT_CHECK, "check")                                                                        \
    X(AUDIT_BACKUP, "backup")                                                                      \
    X(AUDIT_ROBOT_CREATE, "robot.create")                                                          \
    X(AUDIT_ROBOT_DISABLE, "robot.disable")                                                        \
    X(AUDIT_ROBOT_REMOVE, "robot.remove")                                                          \
    X(AUDIT_RELOAD, "configuration.reload")                                                        \
    X(AUDIT_LOST, "audit.lost")

enum audit_action {
#define X(action, name) action,
    AUDIT_ACTIONS(X)
#undef X
};

enum audit_outcome {
    AUDIT_SUCCESS,
    AUDIT_DENIED, /* credentials, policy */
    AUDIT_FAILURE,
};

/* Where a request came from: a value, for what goes on after the request is gone. */
#define AUDIT_AGENT_MAX 256
struct audit_origin {
    char address[NET_ADDRESS_TEXT_MAX]; /* "" where it came by control.sock */
    char agent[AUDIT_AGENT_MAX + 1];    /* User-Agent, cut */
    char request[REQUEST_ID_MAX];
};

/* What is NULL, "" or 0 is left out. All is borrowed for the call. */
struct audit_event {
    enum audit_action action;
    enum audit_outcome outcome;
    const struct error *error; /* why not: its code and text */
    const char *reason;        /* the same, where it is no error */

    const struct identity *actor; /* NULL: `by` */
    const struct push_by *by;     /* NULL, or nobody: the gateway itself did it, or nobody is asked
                                     who they are */
    const struct audit_origin *origin;

    const char *push; /* id */
    const char *repository;
    const char *tag;
    const struct digest *digest;
    const struct digest *was; /* AUDIT_TAG_MOVE: of the manifest that the tag pointed to */
    const char *object;    /* what else it is about: the user of a login that was refused, a robot,
                              a target's name, a folder */
    const char *operation; /* AUDIT_DENY: operation_name() */
    int rule;              /* AUDIT_DENY: that of the policy, 0 where none matched */
    uint64_t count;        /* AUDIT_LOST: lines; AUDIT_CANCEL, AUDIT_RETRY: targets; AUDIT_COLLECT,
                              AUDIT_CHECK: what was found */
    const struct push_target *targets;
    size_t target_count; /* AUDIT_TARGETS_MAX are written, and how many there are */
};

#define AUDIT_TEXT_MAX 1024 /* bytes of a text; what is longer is cut */
#define AUDIT_TARGETS_MAX 64

#endif
