/*
 * Second thoughts about a stored blob: the rare cases in which what a file's first bytes said is
 * not what its manifest says. Both read the blob of the batch and write another one beside it; the
 * old one is dropped with everything else that is not used. Between two pieces they see whether
 * they are cancelled.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_RECODE_H
#define SLIPWAY_GATEWAY_INGEST_RECODE_H

#include "base/cancel.h"
#include "image/layer.h"
#include "store/batch.h"

/* All is borrowed. */
struct recompress_options {
    struct batch *batch;
    struct pool *codecs;
    struct cancel *cancel;
    enum codec codec; /* what recompress() gives */
    enum effort effort;
};

/* A layer was stored as it came, because it is no tar or was expected to be another one: store it
 * as the pipeline would have given it. Changes content->codec, digest and size. */
enum errc recompress(const struct recompress_options *options, struct layer_result *content,
                     struct error *err);

/* A tar that is no layer was compressed: store its own bytes. Changes content->codec, digest and
 * size; the result has the digest content->raw. */
enum errc recompress_restore(const struct recompress_options *options, struct layer_result *content,
                             struct error *err);

#endif
