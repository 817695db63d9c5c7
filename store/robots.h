/*
 * Robots: names with a secret, for programs that push and pull.
 *
 * What is kept of a secret is its SHA-256. That is enough, and a slow hash would only cost time:
 * secrets are not chosen by people but are 256 random bits (gateway/access/robot_secret.h), so
 * there is no list to try.
 *
 * Any thread. Errors: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_ROBOTS_H
#define SLIPWAY_STORE_ROBOTS_H

#include "image/digest.h"
#include "store/store.h"

#define ROBOT_NAME_MAX 64
#define ROBOT_NOTE_MAX 200

/* Times are seconds since the epoch. */
struct robot {
    char name[ROBOT_NAME_MAX + 1];
    struct digest secret; /* SHA-256 */
    uint64_t created_s;
    uint64_t expires_s;
    uint64_t used_s; /* 0: never */
    bool disabled;
    char note[ROBOT_NOTE_MAX + 1]; /* what its maker wrote about it */
};

enum errc robots_get(struct store *store, const char *name, bool *found, struct robot *out,
                     struct error *err);

/* Durable. *added false: there is one of that name, and it stays. */
enum errc robots_add(struct store *store, const struct robot *robot, bool *added,
                     struct error *err);

/* Durable. *found false: there is none. */
enum errc robots_disable(struct store *store, const char *name, bool *found, struct error *err);
enum errc robots_remove(struct store *store, const char *name, bool *found, struct error *err);

/* It was used; not durable, and nothing where another of its name has taken its place. */
enum errc robots_used(struct store *store, const struct robot *robot, uint64_t used_s,
                      struct error *err);

/* Called with each, by name; borrowed. One that cannot be read is left out and logged. */
typedef void robots_visit(void *self, const struct robot *robot);
enum errc robots_each(struct store *store, robots_visit *visit, void *self, struct error *err);

#endif
