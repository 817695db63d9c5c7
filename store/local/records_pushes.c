#include "store/local/records_pushes.h"

#include "base/mem.h"
#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

/* Version 1 had the targets in it: records_pushes_old.c. */
#define PUSH_VERSION 2
#define PUSH_VERSION_VIA 3 /* the same, and the gateways that it has come through */
#define PUSH_VERSION_BY 4  /* the same, and who asked for it */

enum target_flag {
    TARGET_OPTIONAL = 1,
    TARGET_STORED = 2,
    TARGET_CONVERGED = 4,
    TARGET_RESULT = 8,
    TARGET_ERROR = 16,
    TARGET_WAS = 32,
};

/* ---- keys ---- */

struct record_key push_key(const char *id)
{
    size_t size = strlen(id);
    assert(size > 0 && size < PUSH_ID_MAX);
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_bytes(&out, id, size);
    key.size = size;
    return key;
}

struct record_key push_targets_prefix(const char *id)
{
    struct record_key key = push_key(id);
    key.bytes[key.size++] = 0;
    return key;
}

struct record_key push_target_key(const char *id, size_t index)
{
    struct record_key key = push_targets_prefix(id);
    struct encoder out = encode_key(&key);
    out.at += key.size;
    encode_number(&out, index, 2);
    key.size += 2;
    return key;
}

enum errc push_target_key_decode(struct kv_slice key, char id[PUSH_ID_MAX], size_t *index,
                                 struct error *err)
{
    struct decoder in = decode_key(key);
    decode_terminated(&in, id, PUSH_ID_MAX);
    *index = (size_t)decode_number(&in, 2);
    in.bad = in.bad || id[0] == '\0';
    return decode_finish(&in, "push_targets", err);
}

/* ---- the push ---- */

static void encode_manifest(struct encoder *out, const struct descriptor *manifest)
{
    encode_digest(out, &manifest->digest);
    encode_number(out, manifest->size, 8);
    encode_short(out, manifest->media_type);
}

static void decode_manifest(struct decoder *in, struct descriptor *out)
{
    out->digest = decode_digest(in);
    out->size = decode_number(in, 8);
    decode_short(in, out->media_type, sizeof out->media_type);
}

static void encode_digest_if_any(struct encoder *out, const struct digest *digest)
{
    bool any = digest->algorithm != DIGEST_NONE;
    encode_number(out, any, 1);
    if (any)
        encode_digest(out, digest);
}

static void decode_digest_if_any(struct decoder *in, struct digest *out)
{
    if (decode_number(in, 1) != 0)
        *out = decode_digest(in);
}

static unsigned version_of(const struct push *push)
{
    if (push->by.kind[0])
        return PUSH_VERSION_BY;
    return push->via[0] ? PUSH_VERSION_VIA : PUSH_VERSION;
}

size_t push_value(const struct push *push, uint8_t **value)
{
    assert(push->target_count <= PUSH_TARGETS_MAX && push->referrer_count <= REFERRERS_MAX);
    size_t most = PUSH_VALUE_OF(push->referrer_count);
    uint8_t *bytes = xmalloc(most);
    struct encoder out = {bytes, bytes + most};
    unsigned version = version_of(push);
    encode_number(&out, version, 1);
    encode_number(&out, push->created_s, 8);
    encode_manifest(&out, &push->manifest);
    encode_digest_if_any(&out, &push->config);
    encode_short(&out, push->repository);
    encode_number(&out, push->target_count, 2);
    encode_number(&out, push->referrer_count, 2);
    for (size_t i = 0; i < push->referrer_count; i++) {
        encode_manifest(&out, &push->referrers[i].manifest);
        encode_short(&out, push->referrers[i].tag);
    }
    if (version >= PUSH_VERSION_VIA)
        encode_short(&out, push->via);
    if (version >= PUSH_VERSION_BY) {
        encode_short(&out, push->by.kind);
        encode_short(&out, push->by.name);
    }
    *value = bytes;
    return (size_t)(out.at - bytes);
}

/* A count that is a record's; 0 for any other, which is bad. */
static size_t decode_count(struct decoder *in, size_t most)
{
    size_t count = (size_t)decode_number(in, 2);
    if (count <= most)
        return count;
    in->bad = true;
    return 0;
}

static void decode_parts(struct decoder *in, struct push *out)
{
    out->target_count = decode_count(in, PUSH_TARGETS_MAX);
    out->targets = xcalloc(out->target_count, sizeof *out->targets);
    out->referrer_count = decode_count(in, REFERRERS_MAX);
    out->referrers = xcalloc(out->referrer_count, sizeof *out->referrers);
    for (size_t i = 0; i < out->referrer_count; i++) {
        decode_manifest(in, &out->referrers[i].manifest);
        decode_short(in, out->referrers[i].tag, sizeof out->referrers[i].tag);
    }
}

enum errc push_decode(struct kv_slice key, struct kv_slice value, struct push *out,
                      struct error *err)
{
    struct push record = {.id = ""};
    struct decoder in = decode_key(key);
    decode_text(&in, in.left, record.id, sizeof record.id);
    if (decode_finish(&in, "pushes", err) != ERR_OK)
        return err->code;
    in = (struct decoder){.at = value.data, .left = value.size};
    uint64_t version = decode_number(&in, 1);
    in.bad |= version < PUSH_VERSION || version > PUSH_VERSION_BY;
    record.created_s = decode_number(&in, 8);
    decode_manifest(&in, &record.manifest);
    decode_digest_if_any(&in, &record.config);
    decode_short(&in, record.repository, sizeof record.repository);
    decode_parts(&in, &record);
    if (version >= PUSH_VERSION_VIA)
        decode_short(&in, record.via, sizeof record.via);
    if (version >= PUSH_VERSION_BY) {
        decode_short(&in, record.by.kind, sizeof record.by.kind);
        decode_short(&in, record.by.name, sizeof record.by.name);
    }
    if (decode_finish(&in, "pushes", err) != ERR_OK) {
        push_deinit(&record);
        return err->code;
    }
    *out = record;
    return ERR_OK;
}

/* ---- a target ---- */

static unsigned flags_of(const struct push_target *target)
{
    return (target->optional ? TARGET_OPTIONAL : 0) | (target->stored ? TARGET_STORED : 0) |
           (target->converged ? TARGET_CONVERGED : 0) |
           (target->digest.algorithm != DIGEST_NONE ? TARGET_RESULT : 0) |
           (target->error.code != ERR_OK ? TARGET_ERROR : 0) |
           (target->was.algorithm != DIGEST_NONE ? TARGET_WAS : 0);
}

static void encode_result(struct encoder *out, const struct push_target *target)
{
    encode_digest(out, &target->digest);
    encode_number(out, target->size, 8);
    encode_short(out, target->media_type);
}

static void decode_result(struct decoder *in, struct push_target *out)
{
    out->digest = decode_digest(in);
    out->size = decode_number(in, 8);
    decode_short(in, out->media_type, sizeof out->media_type);
}

static void encode_error(struct encoder *out, const struct error *error)
{
    size_t size = strlen(error->text);
    encode_short(out, error_name(error->code));
    encode_number(out, (uint64_t)error->status, 2);
    encode_number(out, size, 2);
    encode_bytes(out, error->text, size);
}

static void decode_error(struct decoder *in, struct error *out)
{
    char name[ERROR_NAME_MAX + 1] = "";
    decode_short(in, name, sizeof name);
    out->code = error_by_name(name);
    out->status = (int)decode_number(in, 2);
    decode_text(in, (size_t)decode_number(in, 2), out->text, sizeof out->text);
}

/* What it took. */
static void encode_effort(struct encoder *out, const struct push_target *target)
{
    encode_number(out, target->layers.existed, 4);
    encode_number(out, target->layers.mounted, 4);
    encode_number(out, target->layers.uploaded, 4);
    encode_number(out, target->layers.skipped, 4);
    encode_number(out, target->bytes_uploaded, 8);
    encode_number(out, target->attempts, 4);
}

static void decode_effort(struct decoder *in, struct push_target *out)
{
    out->layers.existed = (unsigned)decode_number(in, 4);
    out->layers.mounted = (unsigned)decode_number(in, 4);
    out->layers.uploaded = (unsigned)decode_number(in, 4);
    out->layers.skipped = (unsigned)decode_number(in, 4);
    out->bytes_uploaded = decode_number(in, 8);
    out->attempts = (unsigned)decode_number(in, 4);
}

void push_target_value(const struct push_target *target, struct push_target_value *value)
{
    char name[REFERENCE_NAME_MAX + 1];
    struct encoder out = {value->bytes, value->bytes + sizeof value->bytes};
    unsigned flags = flags_of(target);
    encode_number(&out, RECORD_VERSION, 1);
    encode_number(&out, target->state == PUSH_RUNNING ? PUSH_QUEUED : target->state, 1);
    encode_number(&out, flags, 1);
    encode_short(&out, reference_name(&target->reference, name));
    encode_short(&out, target->reference.tag);
    encode_digest_if_any(&out, &target->reference.digest);
    encode_short(&out, target->name);
    encode_number(&out, target->tries, 4);
    encode_number(&out, target->deadline_s, 8);
    encode_number(&out, target->first_s, 8);
    encode_number(&out, target->next_s, 8);
    encode_number(&out, target->ended_s, 8);
    encode_effort(&out, target);
    if (flags & TARGET_RESULT)
        encode_result(&out, target);
    if (flags & TARGET_ERROR)
        encode_error(&out, &target->error);
    if (flags & TARGET_WAS)
        encode_digest(&out, &target->was);
    value->size = (size_t)(out.at - value->bytes);
}

enum errc push_target_decode(struct kv_slice value, struct push_target *out, struct error *err)
{
    struct push_target target = {.state = PUSH_QUEUED};
    struct decoder in = decode_value(value);
    uint64_t state = decode_number(&in, 1);
    uint64_t flags = decode_number(&in, 1);
    in.bad = in.bad || state < PUSH_QUEUED || state > PUSH_STATE_MAX || state == PUSH_RUNNING;
    target.state = in.bad ? PUSH_QUEUED : (enum push_state)state;
    target.optional = flags & TARGET_OPTIONAL;
    target.stored = flags & TARGET_STORED;
    target.converged = flags & TARGET_CONVERGED;
    decode_reference_name(&in, &target.reference);
    decode_short(&in, target.reference.tag, sizeof target.reference.tag);
    decode_digest_if_any(&in, &target.reference.digest);
    decode_short(&in, target.name, sizeof target.name);
    target.tries = (unsigned)decode_number(&in, 4);
    target.deadline_s = decode_number(&in, 8);
    target.first_s = decode_number(&in, 8);
    target.next_s = decode_number(&in, 8);
    target.ended_s = decode_number(&in, 8);
    decode_effort(&in, &target);
    if (flags & TARGET_RESULT)
        decode_result(&in, &target);
    if (flags & TARGET_ERROR)
        decode_error(&in, &target.error);
    if (flags & TARGET_WAS)
        target.was = decode_digest(&in);
    if (decode_finish(&in, "push_targets", err) != ERR_OK)
        return err->code;
    *out = target;
    return ERR_OK;
}

/* ---- what is remembered of a target by its name ---- */

struct record_key target_record_key(const char *name)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    key.size = strlen(name);
    encode_bytes(&out, name, key.size);
    return key;
}

void target_record_value(const struct target_record *record, struct target_record_value *value)
{
    struct encoder out = {value->bytes, value->bytes + sizeof value->bytes};
    encode_number(&out, RECORD_VERSION, 1);
    encode_number(&out, record->paused_s, 8);
    encode_number(&out, record->success_s, 8);
    encode_number(&out, record->failure_s, 8);
    if (record->failure_s > 0)
        encode_error(&out, &record->failure);
    value->size = (size_t)(out.at - value->bytes);
}

enum errc target_record_decode(struct kv_slice key, struct kv_slice value,
                               struct target_record *out, struct error *err)
{
    struct target_record record = {.name = ""};
    struct decoder name = decode_key(key);
    struct decoder in = decode_value(value);
    decode_text(&name, name.left, record.name, sizeof record.name);
    record.paused_s = decode_number(&in, 8);
    record.success_s = decode_number(&in, 8);
    record.failure_s = decode_number(&in, 8);
    if (record.failure_s > 0)
        decode_error(&in, &record.failure);
    in.bad = in.bad || name.bad;
    if (decode_finish(&in, "targets", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

/* ---- the key of a request ---- */

struct record_value request_key_value(const struct request_key *key)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, &key->name);
    encode_digest(&out, &key->fingerprint);
    encode_number(&out, key->pushes, 4);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc request_key_decode(struct kv_slice value, struct request_key *out, struct error *err)
{
    struct decoder in = decode_value(value);
    struct request_key key = {.name = decode_digest(&in)};
    key.fingerprint = decode_digest(&in);
    key.pushes = (size_t)decode_number(&in, 4);
    in.bad = in.bad || key.pushes == 0;
    if (decode_finish(&in, "push_keys", err) != ERR_OK)
        return err->code;
    *out = key;
    return ERR_OK;
}

/* ---- changes ---- */

/* Being there is all. */
static const uint8_t open_version = RECORD_VERSION;
static const struct kv_slice open_value = {&open_version, 1};

/* What is to be pushed before a client has its answer is no promise: nobody begins it again. */
static bool is_open(const struct push_target *target)
{
    return target->stored && !push_state_is_final(target->state);
}

void push_target_put(struct change *change, const char *id, size_t index,
                     const struct push_target *target)
{
    struct record_key key = push_target_key(id, index);
    struct push_target_value value;
    push_target_value(target, &value);
    change_put(change, KV_PUSH_TARGETS, record_key_slice(&key),
               (struct kv_slice){value.bytes, value.size});
    if (is_open(target))
        change_put(change, KV_OPEN_TARGETS, record_key_slice(&key), open_value);
    else
        change_delete(change, KV_OPEN_TARGETS, record_key_slice(&key));
}

void push_put(struct change *change, const struct push *push)
{
    struct record_key key = push_key(push->id);
    autofree uint8_t *value = NULL;
    size_t size = push_value(push, &value);
    change_put(change, KV_PUSHES, record_key_slice(&key), (struct kv_slice){value, size});
    for (size_t i = 0; i < push->target_count; i++)
        push_target_put(change, push->id, i, &push->targets[i]);
    if (push->key.name.algorithm != DIGEST_NONE) {
        struct record_value request = request_key_value(&push->key);
        change_put(change, KV_PUSH_KEYS, record_key_slice(&key), record_value_slice(&request));
    }
}

void push_put_numbered(struct change *change, const struct push *push, const char *suffix,
                       _Atomic uint64_t *last)
{
    struct record_key key = push_key(suffix);
    autofree uint8_t *value = NULL;
    size_t size = push_value(push, &value);
    change_put_numbered(change, KV_PUSHES, last, record_key_slice(&key),
                        (struct kv_slice){value, size});
    if (push->key.name.algorithm != DIGEST_NONE) {
        struct record_value request = request_key_value(&push->key);
        change_put_numbered(change, KV_PUSH_KEYS, last, record_key_slice(&key),
                            record_value_slice(&request));
    }
    for (size_t i = 0; i < push->target_count; i++) {
        struct push_target_value target;
        key = push_target_key(suffix, i);
        push_target_value(&push->targets[i], &target);
        change_put_numbered(change, KV_PUSH_TARGETS, last, record_key_slice(&key),
                            (struct kv_slice){target.bytes, target.size});
        if (is_open(&push->targets[i]))
            change_put_numbered(change, KV_OPEN_TARGETS, last, record_key_slice(&key), open_value);
    }
}

void push_remove_all(struct change *change, const char *id, size_t target_count)
{
    struct record_key key = push_key(id);
    change_delete(change, KV_PUSHES, record_key_slice(&key));
    change_delete(change, KV_PUSH_KEYS, record_key_slice(&key));
    for (size_t i = 0; i < target_count; i++) {
        key = push_target_key(id, i);
        change_delete(change, KV_PUSH_TARGETS, record_key_slice(&key));
        change_delete(change, KV_OPEN_TARGETS, record_key_slice(&key));
    }
}
