#include "store/local/records_robots.h"

#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

#define ROBOT_DISABLED 1

struct record_key robot_key(const char *name)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    key.size = strlen(name);
    assert(key.size > 0);
    encode_bytes(&out, name, key.size);
    return key;
}

struct record_value robot_value(const struct robot *robot)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, &robot->secret);
    encode_number(&out, robot->created_s, 8);
    encode_number(&out, robot->expires_s, 8);
    encode_number(&out, robot->used_s, 8);
    encode_number(&out, robot->disabled ? ROBOT_DISABLED : 0, 1);
    encode_bytes(&out, robot->note, strlen(robot->note));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc robot_decode(struct kv_slice key, struct kv_slice value, struct robot *out,
                       struct error *err)
{
    struct robot robot = {.name = ""};
    struct decoder name = decode_key(key);
    struct decoder in = decode_value(value);
    decode_text(&name, name.left, robot.name, sizeof robot.name);
    robot.secret = decode_digest(&in);
    robot.created_s = decode_number(&in, 8);
    robot.expires_s = decode_number(&in, 8);
    robot.used_s = decode_number(&in, 8);
    uint64_t flags = decode_number(&in, 1);
    decode_text(&in, in.left, robot.note, sizeof robot.note);
    robot.disabled = flags == ROBOT_DISABLED;
    in.bad = in.bad || name.bad || robot.name[0] == '\0' || flags > ROBOT_DISABLED ||
             robot.secret.algorithm != DIGEST_SHA256;
    if (decode_finish(&in, "robots", err) != ERR_OK)
        return err->code;
    *out = robot;
    return ERR_OK;
}
