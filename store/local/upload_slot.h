/*
 * What the holder of an upload session has of it (store/local/upload_table.h).
 */
#ifndef SLIPWAY_STORE_LOCAL_UPLOAD_SLOT_H
#define SLIPWAY_STORE_LOCAL_UPLOAD_SLOT_H

#include "image/digest.h"
#include "store/blob_upload.h"

struct upload_slot {
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    enum digest_algorithm algorithm; /* that its blob's digest will have, as far as is known */
    struct digester *digester;       /* of the session's first `hashed` bytes; NULL: not known */
    uint64_t hashed;
};

#endif
