#include "store/local/records_pushes.h"

#include "base/mem.h"
#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

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

/* With its size in front, which fits a byte. */
static void encode_short(struct encoder *out, const char *text)
{
    size_t size = strlen(text);
    assert(size <= UINT8_MAX);
    encode_number(out, size, 1);
    encode_bytes(out, text, size);
}

static void decode_short(struct decoder *in, char *text, size_t capacity)
{
    decode_text(in, (size_t)decode_number(in, 1), text, capacity);
}

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

static void encode_target(struct encoder *out, const struct push_target *target)
{
    char name[REFERENCE_NAME_MAX + 1];
    bool has_digest = target->reference.digest.algorithm != DIGEST_NONE;
    encode_number(out, target->state, 1);
    encode_number(out, target->optional, 1);
    encode_short(out, reference_name(&target->reference, name));
    encode_short(out, target->reference.tag);
    encode_number(out, has_digest, 1);
    if (has_digest)
        encode_digest(out, &target->reference.digest);
}

static void decode_name(struct decoder *in, struct reference *out)
{
    char name[REFERENCE_NAME_MAX + 1] = "";
    decode_short(in, name, sizeof name);
    char *slash = strchr(name, '/');
    if (slash == NULL) {
        in->bad = true;
        return;
    }
    *slash = '\0';
    memcpy(out->host, name, (size_t)(slash - name) + 1);
    memcpy(out->path, slash + 1, strlen(slash + 1) + 1);
}

static void decode_target(struct decoder *in, struct push_target *out)
{
    uint64_t state = decode_number(in, 1);
    if (state < PUSH_WAITING || state > PUSH_SUPERSEDED)
        in->bad = true;
    out->state = (enum push_state)state;
    out->stored = true;
    out->optional = decode_number(in, 1) != 0;
    decode_name(in, &out->reference);
    decode_short(in, out->reference.tag, sizeof out->reference.tag);
    if (decode_number(in, 1) != 0)
        out->reference.digest = decode_digest(in);
}

static void encode_targets(struct encoder *out, const struct push *push)
{
    encode_number(out, push_stored_targets(push), 2);
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored)
            encode_target(out, &push->targets[i]);
}

size_t push_value(const struct push *push, uint8_t **value)
{
    assert(push->target_count <= PUSH_TARGETS_MAX && push->referrer_count <= REFERRERS_MAX);
    size_t most = PUSH_VALUE_OF(push->target_count, push->referrer_count);
    uint8_t *bytes = xmalloc(most);
    struct encoder out = {bytes, bytes + most};
    encode_number(&out, RECORD_VERSION, 1);
    encode_number(&out, push->created_s, 8);
    encode_manifest(&out, &push->manifest);
    encode_targets(&out, push);
    encode_number(&out, push->referrer_count, 2);
    for (size_t i = 0; i < push->referrer_count; i++) {
        encode_manifest(&out, &push->referrers[i].manifest);
        encode_short(&out, push->referrers[i].tag);
    }
    encode_short(&out, push->repository);
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

static void decode_targets(struct decoder *in, struct push *out)
{
    out->target_count = decode_count(in, PUSH_TARGETS_MAX);
    out->targets = xcalloc(out->target_count, sizeof *out->targets);
    for (size_t i = 0; i < out->target_count; i++)
        decode_target(in, &out->targets[i]);
}

static void decode_referrers(struct decoder *in, struct push *out)
{
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
    in = decode_value(value);
    record.created_s = decode_number(&in, 8);
    decode_manifest(&in, &record.manifest);
    decode_targets(&in, &record);
    decode_referrers(&in, &record);
    if (in.left > 0) /* it is not there in records of earlier versions */
        decode_short(&in, record.repository, sizeof record.repository);
    if (decode_finish(&in, "pushes", err) != ERR_OK) {
        push_deinit(&record);
        return err->code;
    }
    *out = record;
    return ERR_OK;
}
