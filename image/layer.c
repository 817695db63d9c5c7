#include "image/layer.h"

#include "base/mem.h"
#include "image/encoder.h"

#include <assert.h>
#include <string.h>

/* One block on its way: filled by the writing thread, encoded by a worker, emitted by the writing
 * thread. Between submit and wait it belongs to the worker. */
struct slot {
    struct pool_job job; /* first member: the worker finds the slot by it */
    struct encoder *encoder;
    uint8_t *in;
    size_t in_size;
    uint8_t *out;
    size_t out_size;
    uint32_t crc;
    bool last;
};

enum phase { PHASE_IDLE, PHASE_PEEK, PHASE_ENCODE, PHASE_COPY };

struct layer_pipeline {
    struct pool *pool;
    enum codec codec;
    enum effort effort;
    bool takes_all; /* what is no tar, too */
    enum phase phase;
    struct sink sink;
    struct digester *raw;     /* of the bytes as they came */
    struct digester *diff_id; /* SHA-256 of the same, NULL where `raw` is that */
    struct digester *stored;  /* of the bytes given to the sink; NULL where they are the same */
    struct slot *unhashed;    /* its input has not been hashed yet; NULL: that of all was */
    enum content content;
    uint64_t raw_size;
    uint64_t size;
    uint8_t peek[CONTENT_PEEK_BYTES];
    size_t peeked;
    uint32_t crc;
    /* Slots in flight are oldest .. oldest + flying - 1; the next one is being filled. */
    size_t oldest;
    size_t flying;
    size_t slot_count;
    struct slot slots[LAYER_SLOTS_MAX];
};

struct digest layer_start(const void *data, size_t size, uint64_t file_size)
{
    uint8_t number[8];
    for (unsigned i = 0; i < sizeof number; i++)
        number[i] = (uint8_t)(file_size >> (8 * (sizeof number - 1 - i)));
    struct digester *digester = digester_new(DIGEST_SHA256);
    digester_update(digester, number, sizeof number);
    digester_update(digester, data, size < LAYER_START_BYTES ? size : LAYER_START_BYTES);
    struct digest start = digester_finish(digester);
    digester_free(digester);
    return start;
}

struct layer_pipeline *layer_pipeline_new(struct pool *pool, enum codec codec, enum effort effort)
{
    struct layer_pipeline *pipeline = xcalloc(1, sizeof *pipeline);
    pipeline->pool = pool;
    pipeline->codec = codec;
    pipeline->effort = effort;
    size_t wanted = pool_threads(pool) + LAYER_SLOTS_AHEAD;
    pipeline->slot_count = wanted < LAYER_SLOTS_MAX ? wanted : LAYER_SLOTS_MAX;
    return pipeline;
}

void layer_pipeline_free(struct layer_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    layer_pipeline_abort(pipeline);
    for (size_t i = 0; i < pipeline->slot_count; i++) {
        encoder_free(pipeline->slots[i].encoder);
        free(pipeline->slots[i].in);
        free(pipeline->slots[i].out);
    }
    free(pipeline);
}

void layer_pipeline_take_all(struct layer_pipeline *pipeline)
{
    pipeline->takes_all = true;
}

void layer_pipeline_begin(struct layer_pipeline *pipeline, enum digest_algorithm algorithm,
                          struct sink sink)
{
    assert(pipeline->phase == PHASE_IDLE);
    pipeline->phase = PHASE_PEEK;
    pipeline->sink = sink;
    pipeline->raw = digester_new_pairable(algorithm);
    pipeline->diff_id = algorithm == DIGEST_SHA256 ? NULL : digester_new(DIGEST_SHA256);
    pipeline->content = CONTENT_EMPTY;
    pipeline->raw_size = 0;
    pipeline->size = 0;
    pipeline->peeked = 0;
    pipeline->crc = 0;
    pipeline->oldest = 0;
    pipeline->flying = 0;
}

static void hash_raw(struct layer_pipeline *pipeline, const void *data, size_t size)
{
    digester_update(pipeline->raw, data, size);
    if (pipeline->diff_id)
        digester_update(pipeline->diff_id, data, size);
}

static void hash_unhashed(struct layer_pipeline *pipeline)
{
    if (pipeline->unhashed)
        hash_raw(pipeline, pipeline->unhashed->in, pipeline->unhashed->in_size);
    pipeline->unhashed = NULL;
}

/* What goes out, with what has come in: two streams take less time together. */
static void hash_stored(struct layer_pipeline *pipeline, const void *data, size_t size)
{
    const struct slot *slot = pipeline->unhashed;
    if (slot && pipeline->diff_id == NULL) {
        digester_update_pair(pipeline->raw, slot->in, slot->in_size, pipeline->stored, data, size);
        pipeline->unhashed = NULL;
        return;
    }
    hash_unhashed(pipeline);
    digester_update(pipeline->stored, data, size);
}

static enum errc emit(struct layer_pipeline *pipeline, const void *data, size_t size,
                      struct error *err)
{
    if (pipeline->stored)
        hash_stored(pipeline, data, size);
    pipeline->size += size;
    return sink_write(&pipeline->sink, data, size, err);
}

static struct slot *slot_at(struct layer_pipeline *pipeline, size_t nth)
{
    return &pipeline->slots[(pipeline->oldest + nth) % pipeline->slot_count];
}

static void encode_slot(struct pool_job *job)
{
    struct slot *slot = (struct slot *)job;
    slot->out_size =
        encoder_block(slot->encoder, slot->in, slot->in_size, slot->last, slot->out, &slot->crc);
}

static enum errc emit_oldest(struct layer_pipeline *pipeline, struct error *err)
{
    struct slot *slot = slot_at(pipeline, 0);
    pool_wait(pipeline->pool, &slot->job);
    pipeline->oldest = (pipeline->oldest + 1) % pipeline->slot_count;
    pipeline->flying--;
    if (pipeline->codec == CODEC_GZIP)
        pipeline->crc = gzip_crc_combine(pipeline->crc, slot->crc, slot->in_size);
    enum errc rc = emit(pipeline, slot->out, slot->out_size, err);
    slot->in_size = 0;
    return rc;
}

/* The slot being filled; when all are in flight, the oldest is emitted first. */
static enum errc filling_slot(struct layer_pipeline *pipeline, struct slot **out, struct error *err)
{
    if (pipeline->flying == pipeline->slot_count && emit_oldest(pipeline, err) != ERR_OK)
        return err->code;
    struct slot *slot = slot_at(pipeline, pipeline->flying);
    if (slot->in == NULL) {
        slot->in = xmalloc(CODEC_BLOCK_BYTES);
        slot->out = xmalloc(encoder_bound(pipeline->codec));
        slot->encoder = encoder_new(pipeline->codec, pipeline->effort);
    }
    *out = slot;
    return ERR_OK;
}

static void send_slot(struct layer_pipeline *pipeline, struct slot *slot, bool last)
{
    slot->last = last;
    slot->job.run = encode_slot;
    pipeline->flying++;
    pool_submit(pipeline->pool, &slot->job);
    hash_unhashed(pipeline);
    pipeline->unhashed = slot;
}

/* A full block is sent only when more bytes come: the last block must know that it is the last. */
static enum errc encode_bytes(struct layer_pipeline *pipeline, const uint8_t *data, size_t size,
                              struct error *err)
{
    while (size > 0) {
        struct slot *slot = NULL;
        if (filling_slot(pipeline, &slot, err) != ERR_OK)
            return err->code;
        if (slot->in_size == CODEC_BLOCK_BYTES) {
            send_slot(pipeline, slot, false);
            continue;
        }
        size_t room = CODEC_BLOCK_BYTES - slot->in_size;
        size_t n = size < room ? size : room;
        memcpy(slot->in + slot->in_size, data, n);
        slot->in_size += n;
        data += n;
        size -= n;
    }
    return ERR_OK;
}

static enum errc pass_on(struct layer_pipeline *pipeline, const uint8_t *data, size_t size,
                         struct error *err)
{
    if (pipeline->phase == PHASE_ENCODE)
        return encode_bytes(pipeline, data, size, err);
    hash_raw(pipeline, data, size);
    return emit(pipeline, data, size, err);
}

/* The first bytes are together: decide what the file is and let them go. */
static enum errc settle(struct layer_pipeline *pipeline, struct error *err)
{
    pipeline->content = content_of(pipeline->peek, pipeline->peeked);
    bool taken = pipeline->takes_all || pipeline->content == CONTENT_TAR;
    bool compress = taken && pipeline->codec != CODEC_NONE;
    pipeline->phase = compress ? PHASE_ENCODE : PHASE_COPY;
    if (compress) {
        pipeline->stored = digester_new_pairable(DIGEST_SHA256);
        for (size_t i = 0; i < pipeline->slot_count; i++)
            pipeline->slots[i].in_size = 0;
        uint8_t head[ENCODER_FRAME_MAX];
        size_t head_size = encoder_head(pipeline->codec, head);
        if (head_size > 0 && emit(pipeline, head, head_size, err) != ERR_OK)
            return err->code;
    }
    return pass_on(pipeline, pipeline->peek, pipeline->peeked, err);
}

enum errc layer_pipeline_write(struct layer_pipeline *pipeline, const void *data, size_t size,
                               struct error *err)
{
    assert(pipeline->phase != PHASE_IDLE);
    const uint8_t *at = data;
    pipeline->raw_size += size;
    if (pipeline->phase == PHASE_PEEK) {
        size_t room = CONTENT_PEEK_BYTES - pipeline->peeked;
        size_t n = size < room ? size : room;
        memcpy(pipeline->peek + pipeline->peeked, at, n);
        pipeline->peeked += n;
        at += n;
        size -= n;
        if (pipeline->peeked < CONTENT_PEEK_BYTES)
            return ERR_OK;
        if (settle(pipeline, err) != ERR_OK)
            return err->code;
    }
    return size > 0 ? pass_on(pipeline, at, size, err) : ERR_OK;
}

static enum errc finish_encoding(struct layer_pipeline *pipeline, struct error *err)
{
    struct slot *slot = NULL;
    if (filling_slot(pipeline, &slot, err) != ERR_OK)
        return err->code;
    send_slot(pipeline, slot, true);
    while (pipeline->flying > 0)
        if (emit_oldest(pipeline, err) != ERR_OK)
            return err->code;
    uint8_t tail[ENCODER_FRAME_MAX];
    size_t tail_size = encoder_tail(pipeline->codec, pipeline->crc, pipeline->raw_size, tail);
    return tail_size > 0 ? emit(pipeline, tail, tail_size, err) : ERR_OK;
}

static void end_file(struct layer_pipeline *pipeline)
{
    digester_free(pipeline->raw);
    digester_free(pipeline->diff_id);
    digester_free(pipeline->stored);
    pipeline->raw = NULL;
    pipeline->diff_id = NULL;
    pipeline->stored = NULL;
    pipeline->unhashed = NULL;
    pipeline->phase = PHASE_IDLE;
}

enum errc layer_pipeline_finish(struct layer_pipeline *pipeline, struct layer_result *out,
                                struct error *err)
{
    if (pipeline->phase == PHASE_PEEK && settle(pipeline, err) != ERR_OK)
        return err->code;
    bool compressed = pipeline->phase == PHASE_ENCODE;
    if (compressed && finish_encoding(pipeline, err) != ERR_OK)
        return err->code;
    out->start = (struct digest){0};
    out->content = pipeline->content;
    out->codec = compressed ? pipeline->codec : CODEC_NONE;
    out->raw = digester_finish(pipeline->raw);
    out->diff_id = pipeline->diff_id ? digester_finish(pipeline->diff_id) : out->raw;
    out->raw_size = pipeline->raw_size;
    out->digest = compressed ? digester_finish(pipeline->stored) : out->raw;
    out->size = pipeline->size;
    end_file(pipeline);
    return ERR_OK;
}

enum errc layer_pipeline_run(struct layer_pipeline *pipeline, struct source source,
                             struct layer_result *out, struct error *err)
{
    const uint8_t *data = NULL;
    size_t size = 0;
    while (source_pull(&source, &data, &size, err) == ERR_OK) {
        if (size == 0)
            return layer_pipeline_finish(pipeline, out, err);
        if (layer_pipeline_write(pipeline, data, size, err) != ERR_OK)
            break;
    }
    return err->code;
}

void layer_pipeline_abort(struct layer_pipeline *pipeline)
{
    for (; pipeline->flying > 0; pipeline->flying--) {
        pool_wait(pipeline->pool, &slot_at(pipeline, 0)->job);
        pipeline->oldest = (pipeline->oldest + 1) % pipeline->slot_count;
    }
    end_file(pipeline);
}
