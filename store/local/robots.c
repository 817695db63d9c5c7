#include "store/robots.h"

#include "base/log.h"
#include "store/local/internal.h"
#include "store/local/records_robots.h"

#include <string.h>

enum errc robots_get(struct store *store, const char *name, bool *found, struct robot *out,
                     struct error *err)
{
    struct record_key key = robot_key(name);
    struct kv_slice value;
    bool there = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_ROBOTS, record_key_slice(&key), &value, &there, err) != ERR_OK)
        return err->code;
    *found = there;
    return there ? robot_decode(record_key_slice(&key), value, out, err) : ERR_OK;
}

/* `robot` (NULL: nothing) in place of `old` (NULL: of none), which may have changed meanwhile:
 * *done false. */
static enum errc replace(struct store *store, const char *name, const struct robot *old,
                         const struct robot *robot, bool durable, bool *done, struct error *err)
{
    struct record_key key = robot_key(name);
    struct record_value before;
    struct kv_slice expected = {NULL, 0};
    autochange struct change change;
    change_init(&change);
    change.durable = durable;
    change.essential = durable; /* an operator's word */
    change.saves_work = !durable;
    if (old) {
        before = robot_value(old);
        expected = record_value_slice(&before);
    }
    change_expect(&change, KV_ROBOTS, record_key_slice(&key), old ? &expected : NULL);
    if (robot) {
        struct record_value value = robot_value(robot);
        change_put(&change, KV_ROBOTS, record_key_slice(&key), record_value_slice(&value));
    } else {
        change_delete(&change, KV_ROBOTS, record_key_slice(&key));
    }
    if (writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    *done = !change.superseded;
    return ERR_OK;
}

enum errc robots_add(struct store *store, const struct robot *robot, bool *added, struct error *err)
{
    return replace(store, robot->name, NULL, robot, true, added, err);
}

/* Again where it was used meanwhile, which happens once a minute. */
static enum errc change_one(struct store *store, const char *name, bool removed, bool *found,
                            struct error *err)
{
    bool there = false;
    for (bool done = false; !done;) {
        struct robot old;
        if (robots_get(store, name, &there, &old, err) != ERR_OK)
            return err->code;
        if (!there)
            break;
        struct robot robot = old;
        robot.disabled = true;
        if (replace(store, name, &old, removed ? NULL : &robot, true, &done, err) != ERR_OK)
            return err->code;
    }
    *found = there;
    return ERR_OK;
}

enum errc robots_disable(struct store *store, const char *name, bool *found, struct error *err)
{
    return change_one(store, name, false, found, err);
}

enum errc robots_remove(struct store *store, const char *name, bool *found, struct error *err)
{
    return change_one(store, name, true, found, err);
}

enum errc robots_used(struct store *store, const struct robot *robot, uint64_t used_s,
                      struct error *err)
{
    bool done = false;
    struct robot used = *robot;
    used.used_s = used_s;
    return replace(store, robot->name, robot, &used, false, &done, err);
}

struct visit {
    robots_visit *visit;
    void *self;
};

static enum errc visit_one(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    const struct visit *visit = self;
    struct robot robot;
    *enough = false;
    if (robot_decode(key, value, &robot, err) == ERR_OK) {
        visit->visit(visit->self, &robot);
        return ERR_OK;
    }
    log_error("the robot %.*s cannot be read, and nobody can log in as it: %s", (int)key.size,
              (const char *)key.data, err->text);
    error_clear(err);
    return ERR_OK;
}

enum errc robots_each(struct store *store, robots_visit *visit, void *self, struct error *err)
{
    struct visit each = {.visit = visit, .self = self};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_ROBOTS, (struct kv_slice){NULL, 0}, visit_one, &each, err);
}
