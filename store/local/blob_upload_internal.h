/*
 * What store/local/blob_upload.c and store/local/blob_upload_end.c share.
 */
#ifndef SLIPWAY_STORE_LOCAL_BLOB_UPLOAD_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_BLOB_UPLOAD_INTERNAL_H

#include "store/local/batch_local.h"
#include "store/local/upload_table.h"

/* A text that an id can be; anything else is no file name to look for. */
bool upload_id_valid(const char *id);

/* ERR_NO_UPLOAD unless the session is recorded for the repository. */
enum errc upload_check(struct store *store, const char *repository, const char *id,
                       struct error *err);

/* ERR_NO_UPLOAD, with both named. */
enum errc upload_fail_unknown(const char *repository, const char *id, struct error *err);

/* Remove a session's file, then its record. The slot's holder. *found false: there was no file. */
enum errc upload_remove(struct store *store, struct upload_slot *slot, const char *id, bool *found,
                        struct error *err);

#endif
