/*
 * The layer pipeline: the bytes of one file in, a stored blob out, all digests known at the end, in
 * one pass.
 *
 *     bytes -> [ what is it? ] -- tar ---> SHA-256 (diffID) || blocks encoded on the pool ->
 * SHA-256
 * -> sink
 *                              \- anything else --------------------------------> SHA-256 -> sink
 *
 * What arrives compressed, or is no tar, is kept byte for byte. Content is told by its first bytes,
 * not by its name, because names and manifests may come later in the archive.
 *
 * Memory: pool_threads + LAYER_SLOTS_AHEAD blocks of CODEC_BLOCK_BYTES in and out (at most
 * LAYER_SLOTS_MAX of each), each allocated when it is filled for the first time and kept for the
 * next layer. When all are in flight, the writing thread waits for the oldest: that is the back
 * pressure.
 *
 * Threads: one thread writes; blocks are encoded on the pool (image/encoder.h); blocks leave in
 * order on the writing thread. A pipeline is reused for one file after another.
 */
#ifndef SLIPWAY_IMAGE_LAYER_H
#define SLIPWAY_IMAGE_LAYER_H

#include "base/pool.h"
#include "base/stream.h"
#include "image/codec.h"
#include "image/digest.h"

#define LAYER_SLOTS_MAX 8
/* One is being filled; the others keep the pool busy while the writing thread hashes and writes. */
#define LAYER_SLOTS_AHEAD 3

/* By what a file begins with, and its size, a layer that was seen before may be known again before
 * its end: SHA-256 of the size (u64, big-endian) and the first LAYER_START_BYTES, or all there are.
 */
#define LAYER_START_BYTES CODEC_BLOCK_BYTES
struct digest layer_start(const void *data, size_t size, uint64_t file_size);

struct layer_result {
    struct digest start; /* layer_start() of the file where it was looked at, else DIGEST_NONE */
    enum content content;
    struct digest raw;     /* of the bytes as they came, by the algorithm of the file's name */
    struct digest diff_id; /* the same bytes by SHA-256: of a tar, the layer's diffID */
    uint64_t raw_size;     /* bytes as they came */
    enum codec codec;      /* what slipway did: the pipeline's for a tar, else CODEC_NONE */
    struct digest digest;  /* of the bytes given to the sink */
    uint64_t size;         /* bytes given to the sink */
};

struct layer_pipeline;

/* `pool` is borrowed. `codec` is what tars are given; CODEC_NONE keeps them. */
struct layer_pipeline *layer_pipeline_new(struct pool *pool, enum codec codec, enum effort effort);
void layer_pipeline_free(struct layer_pipeline *pipeline);

/* From now on everything is compressed like a tar, whatever it is. */
void layer_pipeline_take_all(struct layer_pipeline *pipeline);

/* Begin a file. `algorithm` is the one by which the file's name calls it, DIGEST_SHA256 when it
 * does not. `sink` is borrowed until finish or abort. */
void layer_pipeline_begin(struct layer_pipeline *pipeline, enum digest_algorithm algorithm,
                          struct sink sink);
enum errc layer_pipeline_write(struct layer_pipeline *pipeline, const void *data, size_t size,
                               struct error *err);
/* End of the file. On success the pipeline is ready for the next begin. */
enum errc layer_pipeline_finish(struct layer_pipeline *pipeline, struct layer_result *out,
                                struct error *err);
/* What is left of `source`, then finish. */
enum errc layer_pipeline_run(struct layer_pipeline *pipeline, struct source source,
                             struct layer_result *out, struct error *err);
/* Give up the file after a failure; waits for blocks in flight. */
void layer_pipeline_abort(struct layer_pipeline *pipeline);

#endif
