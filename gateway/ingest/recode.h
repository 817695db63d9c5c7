/*
 * Second thoughts about a stored blob: the rare cases in which what a file's first bytes said is
 * not what its manifest says. Both read the blob of the batch and write another one beside it; the
 * old one is dropped with everything else that is not used.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_RECODE_H
#define SLIPWAY_GATEWAY_INGEST_RECODE_H

#include "image/layer.h"
#include "store/batch.h"

/* A layer was stored as it came, because it is no tar or was expected to be another one: store it
 * as `codec` and `effort` would have given it, on the calling thread alone. Changes content->codec,
 * digest and size. */
enum errc recode_compress(struct batch *batch, enum codec codec, enum effort effort,
                          struct layer_result *content, struct error *err);

/* A tar that is no layer was compressed: store its own bytes. Changes content->codec, digest and
 * size; the result has the digest content->raw. */
enum errc recode_restore(struct batch *batch, struct layer_result *content, struct error *err);

#endif
