/*
 * The gateways that an image has come through: the request header Slipway-Via, a list of their ids,
 * first to last. A gateway that finds its own id in it is in a ring; one that finds VIA_HOPS_MAX
 * ids takes it for a ring that it does not see.
 *
 * An id is random, of VIA_ID_SIZE lower-case hex digits, and no secret.
 */
#ifndef SLIPWAY_BASE_VIA_H
#define SLIPWAY_BASE_VIA_H

#include "base/error.h"

#define VIA_HEADER "Slipway-Via"
#define VIA_ID_SIZE 16
#define VIA_HOPS_MAX 8
#define VIA_TEXT_MAX (VIA_HOPS_MAX * (VIA_ID_SIZE + 2))

/* The header's value as "ID, ID"; "" for none (NULL). ERR_BAD_REQUEST for what is no list of ids,
 * ERR_LOOP, which names them, for one that has `own` or as many as VIA_HOPS_MAX. */
enum errc via_read(const char *header, const char *own, char out[VIA_TEXT_MAX + 1],
                   struct error *err);

/* `via`, as via_read() gave it, with one id more; both may be "". */
void via_add(const char *via, const char *id, char out[VIA_TEXT_MAX + 1]);

#endif
