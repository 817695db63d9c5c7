/*
 * What came of a blob that one target needs: how it came to be in the target repository.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_LAYER_OUTCOME_H
#define SLIPWAY_UPSTREAM_PUSH_LAYER_OUTCOME_H

#include "image/reference.h"

#include <stdint.h>

enum layer_end { LAYER_NONE, LAYER_EXISTED, LAYER_MOUNTED, LAYER_UPLOADED, LAYER_SKIPPED };

struct layer_outcome {
    enum layer_end end;                  /* LAYER_NONE: what was sent is no layer (a config) */
    char source[REFERENCE_NAME_MAX + 1]; /* LAYER_MOUNTED: the repository it was mounted from */
    uint64_t sent_bytes;                 /* that the registry acknowledged */
};

#endif
