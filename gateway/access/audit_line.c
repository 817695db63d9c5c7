#include "gateway/access/audit_line.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/utf8.h"

#include <string.h>

static const char *const action_names[] = {
#define X(action, name) [action] = (name),
    AUDIT_ACTIONS(X)
#undef X
};

static const char *const outcome_names[] = {"success", "denied", "failure"};

/* ---- texts ---- */

/* Whole characters; a byte of none as a question mark. */
static void put_cut(json_t *object, const char *key, const char *text, size_t limit)
{
    char shown[AUDIT_TEXT_MAX + 1];
    size_t size = 0;
    bool control = false;
    if (text == NULL || *text == '\0')
        return;
    for (size_t step; *text && size < limit; text += step) {
        step = utf8_next(text, &control);
        if (size + step > limit)
            break;
        memcpy(shown + size, step ? text : "?", step ? step : 1);
        step = step ? step : 1;
        size += step;
    }
    shown[size] = '\0';
    net_hide_userinfo(shown);
    json_object_set_new(object, key, json_string(shown));
}

static void put_text(json_t *object, const char *key, const char *text)
{
    put_cut(object, key, text, AUDIT_TEXT_MAX);
}

static void put_digest(json_t *object, const char *key, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    if (digest && digest->algorithm != DIGEST_NONE)
        json_object_set_new(object, key, json_string(digest_text(digest, text)));
}

static void put_error(json_t *object, const struct error *error)
{
    if (error == NULL || error->code == ERR_OK)
        return;
    put_text(object, "code", error_name(error->code));
    put_text(object, "reason", error->text);
}

/* ---- parts ---- */

static void put_claims(json_t *actor, const char *claims)
{
    struct error ignored = ERROR_INIT;
    json_t *value = NULL;
    if (claims && json_parse(claims, strlen(claims), AUDIT_CLAIMS_MAX, "the claims", &value,
                             &ignored) == ERR_OK)
        json_object_set_new(actor, "claims", value);
}

/* Without a name for anonymous callers and operators. */
static json_t *actor_value(const char *kind, const char *name)
{
    json_t *actor = json_object();
    put_text(actor, "kind", kind);
    put_text(actor, "id", name);
    return actor;
}

static void put_actor(json_t *root, const struct audit_event *event)
{
    const struct identity *identity = event->actor;
    json_t *actor = NULL;
    if (identity) {
        actor = actor_value(identity_kind_name(identity->kind), identity->name);
        put_text(actor, "issuer", identity->issuer);
        put_claims(actor, identity->claims);
    } else if (event->by && event->by->kind[0]) {
        actor = actor_value(event->by->kind, event->by->name);
    }
    if (actor)
        json_object_set_new(root, "actor", actor);
}

static void put_origin(json_t *root, const struct audit_origin *origin)
{
    if (origin == NULL)
        return;
    put_text(root, "address", origin->address);
    put_cut(root, "user_agent", origin->agent, AUDIT_AGENT_MAX);
    put_text(root, "request", origin->request);
}

static json_t *target_value(const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    json_t *value = json_object();
    put_text(value, "target", reference_text(&target->reference, text));
    put_text(value, "name", target->name);
    put_text(value, "state", push_state_name(target->state));
    return value;
}

static void put_targets(json_t *root, const struct push_target *targets, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count && i < AUDIT_TARGETS_MAX; i++)
        json_array_append_new(list, target_value(&targets[i]));
    json_object_set_new(root, "targets", list);
    if (count > AUDIT_TARGETS_MAX)
        json_put_number(root, "target_count", count);
}

static void put_object(json_t *root, const struct audit_event *event)
{
    put_text(root, "push", event->push);
    put_text(root, "repository", event->repository);
    put_text(root, "tag", event->tag);
    put_digest(root, "digest", event->digest);
    put_digest(root, "was", event->was);
    put_text(root, "object", event->object);
    put_text(root, "operation", event->operation);
    if (event->action == AUDIT_DENY)
        json_put_number(root, "rule", (uint64_t)event->rule);
    if (event->count > 0)
        json_put_number(root, "count", event->count);
    if (event->target_count > 0)
        put_targets(root, event->targets, event->target_count);
}

/* ---- the line ---- */

char *audit_line(const struct audit_event *event, const char *id, const char *time)
{
    autojson json_t *root = json_object();
    json_put_number(root, "schema", AUDIT_SCHEMA);
    put_text(root, "id", id);
    put_text(root, "time", time);
    put_text(root, "action", action_names[event->action]);
    put_text(root, "outcome", outcome_names[event->outcome]);
    put_text(root, "reason", event->reason);
    put_error(root, event->error);
    put_actor(root, event);
    put_origin(root, event->origin);
    put_object(root, event);
    autofree char *text = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    for (char *del; (del = strchr(text, '\x7f')) != NULL;)
        *del = '?'; /* JSON leaves it as it is */
    return xasprintf("%s\n", text);
}
