/* Codec and layer pipeline: what goes in comes out, digests are right, bytes are the same every
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours is base/error.h */

#include "base/buf.h"
#include "base/mem.h"
#include "image/encoder.h"
#include "image/layer.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

struct collected {
    struct buf bytes;
    size_t fail_after; /* 0: never */
};

static enum errc collect(void *self, const void *data, size_t size, struct error *err)
{
    struct collected *collected = self;
    buf_append(&collected->bytes, data, size);
    if (collected->fail_after && collected->bytes.size > collected->fail_after)
        return fail(err, ERR_NO_SPACE, 0, "full");
    return ERR_OK;
}

static struct collected collected_new(void)
{
    return (struct collected){.bytes = BUF_INIT((size_t)256 << 20)};
}

/* Compressible, never the same twice; begins like a tar. */
static uint8_t *make_tar(size_t size, unsigned seed)
{
    uint8_t *data = xcalloc(1, size);
    for (size_t i = 512; i < size; i++) {
        seed = seed * 1103515245u + 12345u;
        data[i] = (seed >> 16) % 5 ? (uint8_t)("slipway "[i % 8]) : (uint8_t)(seed >> 20);
    }
    memcpy(data, "file", 4);
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < 512; i++)
        sum += data[i];
    snprintf((char *)data + 148, 8, "%06o", sum);
    data[155] = ' ';
    return data;
}

static struct layer_result pass(struct layer_pipeline *pipeline, const uint8_t *data, size_t size,
                                size_t piece, struct collected *out)
{
    struct error err = ERROR_INIT;
    struct layer_result result;
    struct sink sink = {.write = collect, .self = out};
    layer_pipeline_begin(pipeline, DIGEST_SHA256, sink);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        assert_int_equal(layer_pipeline_write(pipeline, data + at, n, &err), ERR_OK);
    }
    assert_int_equal(layer_pipeline_finish(pipeline, &result, &err), ERR_OK);
    return result;
}

struct memory {
    const uint8_t *data;
    size_t size;
    size_t piece;
};

static enum errc pull_memory(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    *size = memory->size < memory->piece ? memory->size : memory->piece;
    *data = memory->data;
    memory->data += *size;
    memory->size -= *size;
    return ERR_OK;
}

static void assert_restores_to(enum codec codec, const struct buf *stored, const uint8_t *data,
                               size_t size)
{
    struct error err = ERROR_INIT;
    struct collected raw = collected_new();
    struct memory memory = {(const uint8_t *)stored->data, stored->size, 100000};
    struct source source = {.pull = pull_memory, .self = &memory};
    struct sink sink = {.write = collect, .self = &raw};
    assert_int_equal(encoder_restore(codec, source, sink, &err), ERR_OK);
    assert_int_equal(raw.bytes.size, size);
    assert_memory_equal(raw.bytes.data, data, size);
    buf_deinit(&raw.bytes);
}

/* Efforts differ in how a block is encoded, not in which thread does it when. */
#ifdef __SANITIZE_THREAD__
#define EFFORT_LAST EFFORT_FAST
#else
#define EFFORT_LAST EFFORT_BEST
#endif

/* Block boundaries, in pieces that do not divide them, with one thread and with several. */
static void check_compression(enum codec codec)
{
    static const size_t sizes[] = {512,
                                   1024,
                                   CODEC_BLOCK_BYTES - 1,
                                   CODEC_BLOCK_BYTES,
                                   CODEC_BLOCK_BYTES + 1,
                                   2 * CODEC_BLOCK_BYTES,
                                   11 * CODEC_BLOCK_BYTES + 7};
    struct error err = ERROR_INIT;
    for (enum effort effort = EFFORT_FAST; effort <= EFFORT_LAST; effort++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            autofree uint8_t *data = make_tar(sizes[i], (unsigned)i);
            struct digest expected = digest_of(DIGEST_SHA256, data, sizes[i]);
            struct digest first = {0};
            for (unsigned threads = 1; threads <= 9; threads += 4) {
                struct pool *pool = NULL;
                assert_int_equal(pool_new(threads, &pool, &err), ERR_OK);
                struct layer_pipeline *pipeline = layer_pipeline_new(pool, codec, effort);
                struct collected out = collected_new();
                struct layer_result result = pass(pipeline, data, sizes[i], 70001, &out);
                assert_int_equal(result.content, CONTENT_TAR);
                assert_int_equal(result.codec, codec);
                assert_int_equal(result.raw_size, sizes[i]);
                assert_int_equal(result.size, out.bytes.size);
                assert_true(digest_equal(&result.raw, &expected));
                assert_true(digest_equal(&result.diff_id, &expected));
                struct digest stored = digest_of(DIGEST_SHA256, out.bytes.data, out.bytes.size);
                assert_true(digest_equal(&result.digest, &stored));
                assert_restores_to(codec, &out.bytes, data, sizes[i]);
                if (threads == 1)
                    first = stored;
                assert_true(digest_equal(&first, &stored));
                buf_deinit(&out.bytes);
                layer_pipeline_free(pipeline);
                pool_free(pool);
            }
        }
}

static void test_start_of_a_layer(void **state)
{
    (void)state;
    autofree uint8_t *data = make_tar(LAYER_START_BYTES + 1, 1);
    struct digest start = layer_start(data, LAYER_START_BYTES, 5000000);
    struct digest same = layer_start(data, LAYER_START_BYTES + 1, 5000000);
    struct digest larger = layer_start(data, LAYER_START_BYTES, 5000001);
    struct digest shorter = layer_start(data, LAYER_START_BYTES - 1, 5000000);
    assert_true(digest_equal(&start, &same));
    assert_false(digest_equal(&start, &larger));
    assert_false(digest_equal(&start, &shorter));
    data[LAYER_START_BYTES - 1] ^= 1;
    struct digest other = layer_start(data, LAYER_START_BYTES, 5000000);
    assert_false(digest_equal(&start, &other));
}

static void test_tar_is_compressed(void **state)
{
    (void)state;
    check_compression(CODEC_GZIP);
    check_compression(CODEC_ZSTD);
}

/* Damage anywhere and every length but the whole is noticed. */
static void test_zstd_that_is_damaged(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    assert_int_equal(pool_new(2, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_ZSTD, EFFORT_FAST);
    struct collected out = collected_new();
    const size_t size = CODEC_BLOCK_BYTES + 5000;
    autofree uint8_t *data = make_tar(size, 1);
    pass(pipeline, data, size, 70001, &out);
    for (size_t i = 0; i < 40; i++) {
        size_t at = out.bytes.size * i / 40;
        struct collected raw = collected_new();
        struct sink sink = {.write = collect, .self = &raw};
        struct memory cut = {(const uint8_t *)out.bytes.data, at, 777};
        struct source source = {.pull = pull_memory, .self = &cut};
        /* A cut between two frames leaves a stream that is whole in itself: digests tell. */
        if (encoder_restore(CODEC_ZSTD, source, sink, &err) == ERR_OK)
            assert_int_equal(raw.bytes.size, CODEC_BLOCK_BYTES);
        else
            assert_int_equal(err.code, ERR_BLOB_CORRUPT);
        error_clear(&err);
        buf_clear(&raw.bytes);
        out.bytes.data[at] = (char)(out.bytes.data[at] ^ 0x40);
        struct memory bent = {(const uint8_t *)out.bytes.data, out.bytes.size, 777};
        source.self = &bent;
        assert_int_equal(encoder_restore(CODEC_ZSTD, source, sink, &err), ERR_BLOB_CORRUPT);
        error_clear(&err);
        out.bytes.data[at] = (char)(out.bytes.data[at] ^ 0x40);
        buf_deinit(&raw.bytes);
    }
    buf_deinit(&out.bytes);
    layer_pipeline_free(pipeline);
    pool_free(pool);
}

static uint8_t *make_noise(size_t size)
{
    uint8_t *noise = xmalloc(size);
    uint64_t seed = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        noise[i] = (uint8_t)seed;
    }
    return noise;
}

/* Bytes over a block's own that it becomes. Inflated it is the same, with the same CRC. */
static long growth_of(enum effort effort, const uint8_t *in, size_t size)
{
    autofree uint8_t *out = xmalloc(gzip_block_bound(size));
    autofree uint8_t *back = xmalloc(size + 1);
    struct gzip_encoder *encoder = gzip_encoder_new(effort);
    uint32_t crc = 0;
    size_t n = gzip_encode_block(encoder, in, size, true, out, &crc);
    z_stream stream = {
        .next_in = out, .avail_in = (unsigned)n, .next_out = back, .avail_out = (unsigned)size + 1};
    assert_int_equal(inflateInit2(&stream, -15), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, size);
    assert_int_equal(stream.avail_in, 0);
    assert_memory_equal(back, in, size);
    assert_int_equal(crc, crc32(0, in, (unsigned)size));
    inflateEnd(&stream);
    gzip_encoder_free(encoder);
    return (long)n - (long)size;
}

/* What is as good as noise is not deflated, where speed counts: five bytes for each 65,535. */
static void test_noise_is_stored(void **state)
{
    (void)state;
    autofree uint8_t *in = make_noise(CODEC_BLOCK_BYTES);
    static const size_t sizes[] = {(size_t)128 << 10, 3 * 65535, 3 * 65535 + 1, CODEC_BLOCK_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(growth_of(EFFORT_FAST, in, sizes[i]), 5 * ((sizes[i] + 65534) / 65535));
    growth_of(EFFORT_FAST, in, 1000);
    growth_of(EFFORT_BEST, in, CODEC_BLOCK_BYTES);

    /* A fifth of it is something else, which is worth the time. */
    for (size_t at = 0; at < CODEC_BLOCK_BYTES; at += 5 * 4096)
        memset(in + at, 'x', 4096);
    assert_true(growth_of(EFFORT_FAST, in, CODEC_BLOCK_BYTES) < -(long)CODEC_BLOCK_BYTES / 6);
    memset(in, 0, CODEC_BLOCK_BYTES);
    assert_true(growth_of(EFFORT_FAST, in, CODEC_BLOCK_BYTES) < -(long)CODEC_BLOCK_BYTES / 2);
}

static void test_incompressible_fits_the_bound(void **state)
{
    (void)state;
    autofree uint8_t *in = make_noise(CODEC_BLOCK_BYTES);
    autofree uint8_t *out = xmalloc(gzip_block_bound(CODEC_BLOCK_BYTES));
    for (enum effort effort = EFFORT_FAST; effort <= EFFORT_BEST; effort++) {
        struct gzip_encoder *encoder = gzip_encoder_new(effort);
        for (size_t size = 0; size <= CODEC_BLOCK_BYTES; size = size * 3 + 1) {
            uint32_t crc = 0;
            size_t n = gzip_encode_block(encoder, in, size, true, out, &crc);
            assert_in_range(n, 1, gzip_block_bound(size));
        }
        gzip_encoder_free(encoder);
    }
}

static void test_other_bytes_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t size;
        enum content content;
    } rows[] = {{"", 0, CONTENT_EMPTY},
                {"{\"a\":1}", 7, CONTENT_OTHER},
                {"\x1f\x8b\x08\0rest of it", 14, CONTENT_GZIP},
                {"\x28\xb5\x2f\xfd and more", 13, CONTENT_ZSTD},
                {"\x1f\x8b", 2, CONTENT_OTHER}};
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    assert_int_equal(pool_new(2, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_GZIP, EFFORT_FAST);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct collected out = collected_new();
        struct layer_result result =
            pass(pipeline, (const uint8_t *)rows[i].data, rows[i].size, 3, &out);
        assert_int_equal(result.content, rows[i].content);
        assert_int_equal(result.codec, CODEC_NONE);
        assert_int_equal(out.bytes.size, rows[i].size);
        assert_memory_equal(buf_cstr(&out.bytes), rows[i].data, rows[i].size);
        assert_true(digest_equal(&result.raw, &result.digest));
        buf_deinit(&out.bytes);
    }
    layer_pipeline_free(pipeline);
    pool_free(pool);
}

static void test_content_of_tars(void **state)
{
    (void)state;
    uint8_t zero[512] = {0};
    assert_int_equal(content_of(zero, 512), CONTENT_TAR);
    assert_int_equal(content_of(zero, 511), CONTENT_OTHER);
    autofree uint8_t *tar = make_tar(512, 1);
    assert_int_equal(content_of(tar, 512), CONTENT_TAR);
    tar[3] ^= 1;
    assert_int_equal(content_of(tar, 512), CONTENT_OTHER);
}

static void test_sha512_names(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    assert_int_equal(pool_new(1, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_NONE, EFFORT_FAST);
    struct collected out = collected_new();
    struct layer_result result;
    layer_pipeline_begin(pipeline, DIGEST_SHA512, (struct sink){collect, &out});
    assert_int_equal(layer_pipeline_write(pipeline, "abc", 3, &err), ERR_OK);
    assert_int_equal(layer_pipeline_finish(pipeline, &result, &err), ERR_OK);
    struct digest by512 = digest_of(DIGEST_SHA512, "abc", 3);
    struct digest by256 = digest_of(DIGEST_SHA256, "abc", 3);
    assert_true(digest_equal(&result.raw, &by512));
    assert_true(digest_equal(&result.diff_id, &by256));
    buf_deinit(&out.bytes);
    layer_pipeline_free(pipeline);
    pool_free(pool);
}

/* A full disk in the middle: the error comes out, and the pipeline can be used again. */
static void test_failing_sink(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    size_t size = 20 * CODEC_BLOCK_BYTES;
    autofree uint8_t *data = make_tar(size, 3);
    assert_int_equal(pool_new(2, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_GZIP, EFFORT_FAST);
    struct collected out = collected_new();
    out.fail_after = 1000000;
    layer_pipeline_begin(pipeline, DIGEST_SHA256, (struct sink){collect, &out});
    assert_int_equal(layer_pipeline_write(pipeline, data, size, &err), ERR_NO_SPACE);
    layer_pipeline_abort(pipeline);
    out.fail_after = 0;
    buf_clear(&out.bytes);
    struct layer_result result = pass(pipeline, data, size, size, &out);
    assert_int_equal(result.raw_size, size);
    assert_restores_to(CODEC_GZIP, &out.bytes, data, size);
    buf_deinit(&out.bytes);
    layer_pipeline_free(pipeline);
    pool_free(pool);
}

struct held_pool {
    struct pool_job job; /* first member */
    sem_t go;
    bool released; /* before the wait was given up */
};

static void hold_thread(struct pool_job *job)
{
    struct held_pool *held = (struct held_pool *)job;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    held->released = sem_timedwait(&held->go, &until) == 0;
}

/* The pool's only thread has other work: the blocks that wait for it hold nobody up. */
static void test_blocks_ahead_of_the_pool(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    struct layer_result result;
    struct held_pool held = {.job = {.run = hold_thread}};
    struct collected out = collected_new();
    size_t size = (size_t)(1 + LAYER_SLOTS_AHEAD) * CODEC_BLOCK_BYTES;
    autofree uint8_t *data = make_tar(size, 3);
    sem_init(&held.go, 0, 0);
    assert_int_equal(pool_new(1, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_GZIP, EFFORT_FAST);
    pool_submit(pool, &held.job);
    layer_pipeline_begin(pipeline, DIGEST_SHA256, (struct sink){.write = collect, .self = &out});
    assert_int_equal(layer_pipeline_write(pipeline, data, size, &err), ERR_OK);
    sem_post(&held.go);
    assert_int_equal(layer_pipeline_finish(pipeline, &result, &err), ERR_OK);
    pool_wait(pool, &held.job);
    assert_true(held.released);
    assert_int_equal(result.raw_size, size);
    layer_pipeline_free(pipeline);
    pool_free(pool);
    sem_destroy(&held.go);
    buf_deinit(&out.bytes);
}

static void test_damaged_gzip(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    autofree uint8_t *data = make_tar(100000, 4);
    assert_int_equal(pool_new(1, &pool, &err), ERR_OK);
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_GZIP, EFFORT_FAST);
    struct collected out = collected_new();
    pass(pipeline, data, 100000, 100000, &out);
    struct collected ignored = collected_new();
    struct sink sink = {.write = collect, .self = &ignored};
    struct memory cut = {(const uint8_t *)out.bytes.data, out.bytes.size - 1, 4096};
    assert_int_equal(
        encoder_restore(CODEC_GZIP, (struct source){.pull = pull_memory, .self = &cut}, sink, &err),
        ERR_BLOB_CORRUPT);
    out.bytes.data[out.bytes.size - 6] ^= 1; /* the CRC */
    struct memory bent = {(const uint8_t *)out.bytes.data, out.bytes.size, 4096};
    assert_int_equal(encoder_restore(CODEC_GZIP,
                                     (struct source){.pull = pull_memory, .self = &bent}, sink,
                                     &err),
                     ERR_BLOB_CORRUPT);
    buf_deinit(&ignored.bytes);
    buf_deinit(&out.bytes);
    layer_pipeline_free(pipeline);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tar_is_compressed),
        cmocka_unit_test(test_start_of_a_layer),
        cmocka_unit_test(test_zstd_that_is_damaged),
        cmocka_unit_test(test_noise_is_stored),
        cmocka_unit_test(test_incompressible_fits_the_bound),
        cmocka_unit_test(test_other_bytes_are_kept),
        cmocka_unit_test(test_content_of_tars),
        cmocka_unit_test(test_sha512_names),
        cmocka_unit_test(test_failing_sink),
        cmocka_unit_test(test_blocks_ahead_of_the_pool),
        cmocka_unit_test(test_damaged_gzip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
