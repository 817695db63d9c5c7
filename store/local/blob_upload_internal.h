/*
 * What store/local/blob_upload.c and store/local/blob_upload_end.c share.
 */
#ifndef SLIPWAY_STORE_LOCAL_BLOB_UPLOAD_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_BLOB_UPLOAD_INTERNAL_H

#include "store/local/batch_local.h"
#include "store/local/upload_table.h"

/* End the session: its file is removed, then its record. The slot is taken, and let go of; when the
 * file cannot be removed the session stays. */
enum errc upload_remove(struct store *store, struct upload_slot *slot, struct error *err);

void upload_delete_record(struct change *change, const char *id);

/* Learn the sessions that there are. Once, at open. */
enum errc uploads_load(struct store *store, struct error *err);

#endif
