/*
 * Pushes of schema 1, for store/local/migrate.c: one record, with the targets that are pushed after
 * the answer in it.
 */
#include "base/mem.h"
#include "store/local/encoding.h"
#include "store/local/records_pushes.h"

#define OLD_VERSION 1
#define OLD_STATE_MAX PUSH_SUPERSEDED

static void decode_manifest(struct decoder *in, struct descriptor *out)
{
    out->digest = decode_digest(in);
    out->size = decode_number(in, 8);
    decode_short(in, out->media_type, sizeof out->media_type);
}

static void decode_target(struct decoder *in, struct push_target *out)
{
    uint64_t state = decode_number(in, 1);
    in->bad = in->bad || state < PUSH_QUEUED || state > OLD_STATE_MAX;
    out->state = in->bad ? PUSH_QUEUED : (enum push_state)state;
    out->stored = true;
    out->optional = decode_number(in, 1) != 0;
    decode_reference_name(in, &out->reference);
    decode_short(in, out->reference.tag, sizeof out->reference.tag);
    if (decode_number(in, 1) != 0)
        out->reference.digest = decode_digest(in);
}

static size_t decode_count(struct decoder *in, size_t most)
{
    size_t count = (size_t)decode_number(in, 2);
    in->bad = in->bad || count > most;
    return in->bad ? 0 : count;
}

static void decode_lists(struct decoder *in, struct push *out)
{
    out->target_count = decode_count(in, PUSH_TARGETS_MAX);
    out->targets = xcalloc(out->target_count, sizeof *out->targets);
    for (size_t i = 0; i < out->target_count; i++)
        decode_target(in, &out->targets[i]);
    out->referrer_count = decode_count(in, REFERRERS_MAX);
    out->referrers = xcalloc(out->referrer_count, sizeof *out->referrers);
    for (size_t i = 0; i < out->referrer_count; i++) {
        decode_manifest(in, &out->referrers[i].manifest);
        decode_short(in, out->referrers[i].tag, sizeof out->referrers[i].tag);
    }
}

enum errc push_decode_schema_1(struct kv_slice key, struct kv_slice value, bool *is_old,
                               struct push *out, struct error *err)
{
    struct push record = {.id = ""};
    struct decoder name = decode_key(key);
    struct decoder in = {.at = value.data, .left = value.size};
    *is_old = decode_number(&in, 1) == OLD_VERSION;
    if (!*is_old)
        return ERR_OK;
    decode_text(&name, name.left, record.id, sizeof record.id);
    record.created_s = decode_number(&in, 8);
    decode_manifest(&in, &record.manifest);
    decode_lists(&in, &record);
    if (in.left > 0) /* it is not there in the first records of that schema */
        decode_short(&in, record.repository, sizeof record.repository);
    if (decode_finish(&name, "pushes", err) != ERR_OK ||
        decode_finish(&in, "pushes", err) != ERR_OK) {
        push_deinit(&record);
        return err->code;
    }
    *out = record;
    return ERR_OK;
}
