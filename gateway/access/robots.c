#include "gateway/access/robots.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "config/settings_text.h"
#include "gateway/access/robot_secret.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

/* ---- shapes ---- */

static void put_time(json_t *value, const char *key, uint64_t second)
{
    char text[CLOCK_TEXT_MAX];
    if (second > 0)
        json_put_text(value, key, clock_text_of((int64_t)second, text));
}

static json_t *robot_json(const struct robot *robot)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    json_t *value = json_object();
    json_put_text(value, "name", robot->name);
    json_put_text(value, "state",
                  robot->disabled             ? "disabled"
                  : robot->expires_s <= now_s ? "expired"
                                              : "active");
    put_time(value, "created_at", robot->created_s);
    put_time(value, "expires_at", robot->expires_s);
    put_time(value, "used_at", robot->used_s);
    if (robot->note[0])
        json_put_text(value, "note", robot->note);
    return value;
}

static void add_robot(void *self, const struct robot *robot)
{
    json_array_append_new(self, robot_json(robot));
}

static enum errc list(struct store *store, json_t **answer, struct error *err)
{
    json_t *root = json_object();
    json_t *robots = json_array();
    json_object_set_new(root, "robots", robots);
    if (robots_each(store, add_robot, robots, err) != ERR_OK) {
        json_decref(root);
        return err->code;
    }
    *answer = root;
    return ERR_OK;
}

/* ---- a new one ---- */

static enum errc check_name(const char *name, struct error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    bool good = name && *name && strlen(name) <= ROBOT_NAME_MAX && strchr(letters, name[0]);
    for (const char *at = name; good && *at; at++)
        good = strchr(letters, *at) || strchr("._-", *at);
    return good ? ERR_OK
                : fail(err, ERR_BAD_REQUEST, 0,
                       "the name of a robot has 1 to %d letters, digits, \".\", \"_\" and \"-\", a "
                       "letter or digit first",
                       ROBOT_NAME_MAX);
}

static enum errc check_keys(const json_t *body, struct error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(body))
        return fail(err, ERR_BAD_REQUEST, 0, "the body is no object with \"name\" and \"expires\"");
    json_object_foreach((json_t *)body, key, value)
    {
        if (strcmp(key, "name") != 0 && strcmp(key, "expires") != 0 && strcmp(key, "note") != 0)
            return fail(err, ERR_BAD_REQUEST, 0,
                        "there is no member \"%.100s\": name, expires, note", key);
        if (!json_is_string(value))
            return fail(err, ERR_BAD_REQUEST, 0, "\"%.100s\" is a text", key);
    }
    return ERR_OK;
}

static enum errc read_note(const json_t *body, struct robot *robot, struct error *err)
{
    const char *note = json_text(body, "note");
    bool control = false;
    if (note == NULL)
        return ERR_OK;
    for (const char *at = note; *at && !control; at++)
        control = utf8_next(at, &control) > 0 && control;
    if (control || strlen(note) > ROBOT_NOTE_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "\"note\" is one line of at most %d bytes",
                    ROBOT_NOTE_MAX);
    snprintf(robot->note, sizeof robot->note, "%s", note);
    return ERR_OK;
}

static enum errc read_robot(const json_t *body, struct robot *robot, struct error *err)
{
    const char *expires = json_text(body, "expires");
    int64_t ms = 0;
    if (check_keys(body, err) != ERR_OK || check_name(json_text(body, "name"), err) != ERR_OK ||
        read_note(body, robot, err) != ERR_OK)
        return err->code;
    if (expires == NULL || settings_duration(expires, &ms, err) != ERR_OK || ms < 1000 ||
        ms > ROBOT_EXPIRES_MAX_MS) {
        error_clear(err);
        return fail(
            err, ERR_BAD_REQUEST, 0,
            "\"expires\" says how long the robot lasts, from 1s to 87600h: \"2160h\" are 90 "
            "days");
    }
    snprintf(robot->name, sizeof robot->name, "%s", json_text(body, "name"));
    robot->created_s = (uint64_t)clock_wall_s();
    robot->expires_s = robot->created_s + (uint64_t)(ms / 1000);
    return ERR_OK;
}

static enum errc create(struct store *store, const json_t *body, json_t **answer, struct error *err)
{
    struct robot robot = {.name = ""};
    char secret[ROBOT_SECRET_SIZE + 1];
    bool added = false;
    if (read_robot(body, &robot, err) != ERR_OK || robot_secret_make(secret, err) != ERR_OK)
        return err->code;
    robot.secret = robot_secret_digest(secret);
    if (robots_add(store, &robot, &added, err) == ERR_OK && !added)
        fail(err, ERR_BAD_REQUEST, 0,
             "there is a robot \"%s\" already: remove it first, or choose another name",
             robot.name);
    if (err->code == ERR_OK) {
        *answer = robot_json(&robot);
        json_put_text(*answer, "secret", secret);
        log_event(LOG_INFO, "robot.created",
                  LOG_FIELDS(log_text("robot", robot.name), log_number("expires", robot.expires_s)),
                  "a robot was created");
    }
    explicit_bzero(secret, sizeof secret);
    return err->code;
}

/* ---- one that is there ---- */

static enum errc take_away(struct store *store, const char *name, bool remove, json_t **answer,
                           struct error *err)
{
    struct robot robot;
    bool found = false;
    if (check_name(name, err) != ERR_OK ||
        (remove ? robots_remove(store, name, &found, err)
                : robots_disable(store, name, &found, err)) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_NOT_FOUND, 0, "there is no robot \"%s\"", name);
    log_event(LOG_INFO, remove ? "robot.removed" : "robot.disabled",
              LOG_FIELDS(log_text("robot", name)), "a robot was %s",
              remove ? "removed" : "disabled");
    if (remove || robots_get(store, name, &found, &robot, err) != ERR_OK || !found)
        return err->code;
    *answer = robot_json(&robot);
    return ERR_OK;
}

enum errc robots_do(struct store *store, enum robot_action action, const char *name,
                    const json_t *body, json_t **answer, struct error *err)
{
    *answer = NULL;
    switch (action) {
    case ROBOT_LIST:
        return list(store, answer, err);
    case ROBOT_CREATE:
        return create(store, body, answer, err);
    case ROBOT_DISABLE:
    case ROBOT_REMOVE:
        break;
    }
    return take_away(store, name, action == ROBOT_REMOVE, answer, err);
}

/* ---- logins ---- */

bool robots_stands(struct store *store, const char *name, uint64_t now_s, struct robot *out)
{
    struct error err = ERROR_INIT;
    struct robot robot;
    bool found = false;
    if (check_name(name, &err) != ERR_OK ||
        robots_get(store, name, &found, &robot, &err) != ERR_OK || !found || robot.disabled ||
        robot.expires_s <= now_s)
        return false;
    *out = robot;
    return true;
}

/* A robot that there is not is compared, too. */
static bool is_right(struct store *store, const char *name, const char *secret, uint64_t now_s,
                     struct robot *robot)
{
    struct digest digest = robot_secret_digest(secret);
    *robot = (struct robot){.name = ""};
    bool stands = robots_stands(store, name, now_s, robot);
    return CRYPTO_memcmp(robot->secret.bytes, digest.bytes, digest_size(DIGEST_SHA256)) == 0 &&
           stands;
}

static bool use_is_due(const struct robot *robot, uint64_t now_s)
{
    return now_s >= robot->used_s + ROBOT_USE_S;
}

bool robots_login(struct store *store, const char *name, const char *secret, uint64_t now_s,
                  struct robot *out)
{
    struct error err = ERROR_INIT;
    struct robot robot;
    if (!is_right(store, name, secret, now_s, &robot))
        return false;
    /* Whether it could be written is the store's to tell: the login is good. */
    if (use_is_due(&robot, now_s) && robots_used(store, &robot, now_s, &err) == ERR_OK)
        robot.used_s = now_s;
    *out = robot;
    return true;
}

bool robots_known(struct store *store, const char *name, const char *secret, uint64_t now_s,
                  struct robot *out)
{
    struct robot robot;
    if (!is_right(store, name, secret, now_s, &robot) || use_is_due(&robot, now_s))
        return false;
    *out = robot;
    return true;
}
