/*
 * Scopes of the token protocol (distribution docs/spec/auth/scope.md): what a client wants a token
 * for, and what a token is for.
 *
 *     repository:NAME:pull,push    NAME may have slashes, and a host with a port in front
 *     repository(plugin):NAME:pull the class makes no difference
 *     registry:catalog:*
 *
 * Several are a union, however they come: as several parameters, with spaces between them, twice.
 * What is empty, malformed, of another type or names another action is no error: it is granted
 * nothing. Not thread-safe; scopes_deinit() frees what it has.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_SCOPE_H
#define SLIPWAY_GATEWAY_ACCESS_SCOPE_H

#include "base/json.h"
#include "gateway/access/identity.h"
#include "gateway/access/policy.h"

#define SCOPES_MAX 64
#define SCOPES_SIZE_MAX ((size_t)8 << 10) /* bytes of all of them together */

enum scope_action {
    SCOPE_PULL = 1,
    SCOPE_PUSH = 2,
    SCOPE_DELETE = 4,
};
#define SCOPE_ALL (SCOPE_PULL | SCOPE_PUSH | SCOPE_DELETE) /* "*" */

struct scope {
    char *repository; /* owned; NULL: registry:catalog */
    unsigned actions; /* of a repository; of the catalog SCOPE_ALL */
};

struct scopes {
    struct scope items[SCOPES_MAX];
    size_t count;
    size_t size; /* of the texts that were added */
};

/* Adds those of a text. ERR_BAD_REQUEST over the limits. */
enum errc scopes_add(struct scopes *scopes, const char *text, struct error *err);
void scopes_deinit(struct scopes *scopes);

/* What may be done, asked of the policy as it is now: NULL for a repository is "in any". */
struct rights {
    bool (*may)(void *self, const struct identity *who, enum operation operation,
                const char *repository);
    void *self;
};

/* Leaves what this identity may do. The catalog is granted to whoever may pull anywhere. */
void scopes_limit(struct scopes *scopes, const struct rights *rights, const struct identity *who);

/* What they have of a repository; of the catalog with NULL. */
unsigned scopes_actions(const struct scopes *scopes, const char *repository);

/* "repository:a:pull,push registry:catalog:*", owned; the actions in the order pull, push, delete.
 */
char *scopes_text(const struct scopes *scopes);
/* The same of one scope: what a challenge asks for. */
char *scope_text(const char *repository, unsigned actions);

/* The claim "access" of a token (distribution docs/spec/auth/jwt.md), owned; and back. */
json_t *scopes_json(const struct scopes *scopes);
enum errc scopes_from_json(const json_t *value, struct scopes *out, struct error *err);

#endif
