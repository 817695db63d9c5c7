/*
 * Whoever wants to know of an archive's layers while it is read: gateway/push/early_layers.h, which
 * sends them. It is told of files of which it is certain, before they are read, that they are
 * layers of the image that will be pushed; and, where it asks for them (`unlisted`), of those of an
 * archive whose tables have not come yet that look like a layer.
 *
 * Called on the thread that reads, for one file after another: begins() and grew() of each that has
 * to be stored, ended() of each, whether it began or not. None of them fails the reading.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_LAYER_WATCH_H
#define SLIPWAY_GATEWAY_INGEST_LAYER_WATCH_H

#include "image/layer.h"
#include "store/batch.h"

/* What the tables say of a file. */
enum named_layer {
    LAYER_NOT_NAMED,
    LAYER_NAMED,          /* it goes in the form that it is given */
    LAYER_NAMED_AS_IT_IS, /* by the digest of its bytes, and not as a plain tar */
};

struct layer_watch {
    bool unlisted; /* all files with the content of a layer, where no table was read before them */
    /* `raw_size` is FILE_SIZE_UNKNOWN where only its end says it; the diffID that a table promises,
     * or DIGEST_NONE. `writer` is borrowed for the call. */
    void (*begins)(void *self, uint64_t raw_size, const struct digest *diff_id,
                   struct blob_writer *writer);
    /* So many bytes more were stored. */
    void (*grew)(void *self, uint64_t bytes);
    /* NULL: nothing comes of the file. */
    void (*ended)(void *self, const struct layer_result *layer);
    void *self;
};

#endif
