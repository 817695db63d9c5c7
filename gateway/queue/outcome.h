/*
 * What the failure of a target means for it and for others: whether it is a last word, and who is
 * not there.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_OUTCOME_H
#define SLIPWAY_GATEWAY_QUEUE_OUTCOME_H

#include "base/error.h"

enum outcome {
    OUTCOME_REFUSED,    /* the registry will not take it, and would say so again */
    OUTCOME_HOST,       /* the registry is away, or wants to be left alone */
    OUTCOME_CREDENTIAL, /* the registry does not know who pushes, or does not let him in at all */
    OUTCOME_TARGET,     /* something else that may pass: of this image, or of the gateway itself */
    OUTCOME_STOPPED,    /* it was broken off */
};

enum outcome outcome_of(const struct error *error);

#endif
