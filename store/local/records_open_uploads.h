/*
 * Keys and values of the table of uploads to registries; the layout is in store/local/records.h.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_OPEN_UPLOADS_H
#define SLIPWAY_STORE_LOCAL_RECORDS_OPEN_UPLOADS_H

#include "store/local/records.h"
#include "store/open_uploads.h"

#define OPEN_UPLOAD_VALUE_MAX (1 + 3 * 8 + 2 * (2 + OPEN_UPLOAD_URL_MAX))

struct record_key open_upload_key(const struct open_upload *upload);
/* At most OPEN_UPLOAD_VALUE_MAX bytes, owned (free()). Its URLs are at most OPEN_UPLOAD_URL_MAX
 * long: asserted. */
size_t open_upload_value(const struct open_upload *upload, uint8_t **value);

enum errc open_upload_key_decode(struct kv_slice key, struct open_upload *out, struct error *err);
/* Fills in where it is; what it gives is owned. */
enum errc open_upload_decode(struct kv_slice value, struct open_upload *out, struct error *err);

#endif
