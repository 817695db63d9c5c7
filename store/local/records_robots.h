/*
 * Keys and values of the table of robots; the layout is in store/local/records.h.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_ROBOTS_H
#define SLIPWAY_STORE_LOCAL_RECORDS_ROBOTS_H

#include "store/local/records.h"
#include "store/robots.h"

/* The name is not empty: asserted. */
struct record_key robot_key(const char *name);
struct record_value robot_value(const struct robot *robot);
enum errc robot_decode(struct kv_slice key, struct kv_slice value, struct robot *out,
                       struct error *err);

#endif
