/*
 * What the manifests of an archive are, and how much of them is there: each looked at once,
 * however often it is named.
 *
 * A manifest is an image by the manifest as a whole and by its config (manifest_may_be_image(), and
 * a config with a rootfs); another of that shape is an artifact, which nobody but its reader knows.
 * Members of an index are manifests or blobs (manifest_is_member()).
 *
 * One owner; reads the batch, and ends early when it is cancelled.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_INSPECT_H
#define SLIPWAY_GATEWAY_INGEST_INSPECT_H

#include "base/cancel.h"
#include "image/catalog.h"
#include "image/digest_map.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/referrer.h"
#include "store/batch.h"

enum inspected_kind {
    INSPECTED_NOTHING, /* its bytes are not there, or are no manifest of that media type */
    INSPECTED_IMAGE,
    INSPECTED_ARTIFACT,
    INSPECTED_INDEX,
    INSPECTED_BLOB, /* a member of an index that is no manifest */
};

struct inspected {
    enum inspected_kind kind;
    bool whole;                 /* it and all below it are in the archive */
    enum supplement supplement; /* by its media types */
    bool has_subject;
    struct digest subject;
    struct digest config;      /* of an image or an artifact */
    struct digest first_layer; /* DIGEST_NONE without layers */
    struct platform platform;  /* of an image, as its config says */
};

struct inspector {
    const struct catalog *catalog; /* borrowed */
    struct batch *batch;           /* borrowed */
    const struct cancel *cancel;   /* borrowed */
    struct digest_map seen;        /* of `items`, at number - 1 */
    struct inspected *items;       /* owned */
    size_t count, capacity;
    struct digest_map configs; /* of `glances`, likewise */
    struct config_glance *glances;
    size_t glance_count, glance_capacity;
};
void inspector_deinit(struct inspector *inspector);

/* Below an index, `depth` is that of the descriptor; 0 else. */
struct inspected inspect(struct inspector *inspector, const struct descriptor *descriptor,
                         unsigned depth);

/* A manifest or index itself, owned; false when it cannot be read. */
bool inspect_read(struct inspector *inspector, const struct descriptor *descriptor,
                  struct manifest *out);

/* Visit `root` and what is below it, each index before its members and each of them once, until
 * visit() returns true or INSPECT_VISITS_MAX were made. True when visit() ended it. Blobs are
 * passed over. */
#define INSPECT_VISITS_MAX 20000
typedef bool inspect_visit(void *self, const struct descriptor *descriptor,
                           const struct inspected *info);
bool inspect_walk(struct inspector *inspector, const struct descriptor *root, inspect_visit *visit,
                  void *self);

/* What an image is for: what its descriptor says, else its config. `os` is "" where neither does.
 */
struct platform inspected_platform(const struct descriptor *descriptor,
                                   const struct inspected *info);

/* What a config of the archive shows; borrowed until the next one. */
const struct config_glance *inspect_config(struct inspector *inspector,
                                           const struct digest *config);

#endif
