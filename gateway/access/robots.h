/*
 * Robots as an administrator and as a login see them.
 *
 * robots_do() is what the endpoints below /v1/robots answer, and what `slipway robot` does on the
 * store itself where no gateway runs. The secret of a robot is told once, in the answer that made
 * it.
 *
 * Threads: any that may block; robots_known() only reads, so HTTP threads may call it.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_ROBOTS_H
#define SLIPWAY_GATEWAY_ACCESS_ROBOTS_H

#include "base/json.h"
#include "store/robots.h"

#define ROBOT_PREFIX "robot:" /* of the name of its identity */
#define ROBOT_EXPIRES_MAX_MS ((int64_t)10 * 365 * 24 * 3600 * 1000)
#define ROBOT_USE_S 60 /* its last use is written once in so many seconds */

enum robot_action { ROBOT_LIST, ROBOT_CREATE, ROBOT_DISABLE, ROBOT_REMOVE };

/* LIST has neither name nor body: {"robots": [...]}. CREATE has a body {"name", "expires" (a
 * duration: "2160h"), "note"}, of which the note may be left out, and answers the robot with its
 * "secret". DISABLE and REMOVE have a name; the first answers the robot, the other nothing
 * (NULL). *answer is owned. ERR_BAD_REQUEST: a body or name that is none, or the name is taken;
 * ERR_NOT_FOUND; those of store/robots.h. */
enum errc robots_do(struct store *store, enum robot_action action, const char *name,
                    const json_t *body, json_t **answer, struct error *err);

/* Is there such a robot, neither disabled nor expired at `now_s`, and is this its secret? Compared
 * in constant time. The use is written, but for robots_known(), which is false where it would have
 * to be. *out is filled in when true. */
bool robots_login(struct store *store, const char *name, const char *secret, uint64_t now_s,
                  struct robot *out);
bool robots_known(struct store *store, const char *name, const char *secret, uint64_t now_s,
                  struct robot *out);

/* The same without a secret: it may still be used. */
bool robots_stands(struct store *store, const char *name, uint64_t now_s, struct robot *out);

#endif
