/*
 * A manifest and everything below it: children before their index, layers and config before their
 * manifest. The bytes go out as the store holds them; nothing is serialised again. A member of an
 * index that is no manifest goes as a blob (store/member.h). A manifest of a kind that slipway does
 * not know (MANIFEST_OPAQUE) goes alone. Referrers go after their subject. With a tag, the image is
 * put under its digest first, then what refers to it, then once more under its tag: a client that
 * sees the tag finds the signature. OCI distribution-spec, "Pushing Manifests"; image-spec,
 * image-index.md.
 *
 * The push of a tree never waits: manifest_tree_advance() does what can be done now, and says what
 * has to come before it can go on. Its owner calls it again then.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_H

#include "base/limits.h"
#include "upstream/push/layer_set.h"
#include "upstream/push/tree_turn.h"

struct manifest_tree;

/* Everything is borrowed until manifest_tree_free(). */
struct manifest_tree *manifest_tree_new(struct target_push *push, struct transfers *transfers,
                                        const struct push *image, const struct push_target *target,
                                        struct layer_set_waker waker);

/* How many blobs the first image of the tree has, which the registry is asked about at once; 0
 * where that cannot be told. */
size_t manifest_tree_first_blobs(struct store *store, const struct descriptor *manifest);

/*
 * Blocks for requests, one at a time. TREE_DONE: the registry has confirmed that it holds these
 * very bytes, and push->result has the manifest's digest, size and media type; those are of another
 * manifest only where the registry refused schema2 under a tag and took schema1
 * (upstream/push/schema1_push.h). TREE_FAILED: nothing is under way, and `err` is
 * ERR_BLOB_UNKNOWN when the store lacks a part, ERR_MANIFEST_INVALID, ERR_BLOB_NOT_THERE when the
 * registry lacks a blob that was taken for there, ERR_PUSHED_DIGEST when it holds something else,
 * or that of a step.
 */
enum tree_state manifest_tree_advance(struct manifest_tree *tree, struct tree_turn *turn,
                                      struct error *err);

/* It will not be advanced any more. True when nothing is under way; else the waker is called. */
bool manifest_tree_leave(struct manifest_tree *tree);

/* When nothing is under way; NULL is a no-op. */
void manifest_tree_free(struct manifest_tree *tree);

#endif
