/*
 * The lists of referrers at a registry that keeps none itself: the index under a tag made of the
 * subject's digest (image/referrer_list.h). OCI distribution-spec 1.1, "Unavailable Referrers API"
 * and "Referrers Tag Schema".
 *
 * A list there has what came through slipway and what others wrote. It is completed, never
 * replaced: a manifest that is pushed joins it, and so do the entries of a list that a client put
 * itself. What the registry front's repository knows of the subject's referrers repairs entries
 * that have a wrong artifactType, or none; those of manifests that were taken out of that
 * repository are dropped, and so are those that the registry lost when it refuses the list for
 * them. A list that has all of it already is left alone, whatever its digest.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_REFERRERS_H
#define SLIPWAY_UPSTREAM_PUSH_REFERRERS_H

#include "image/referrer_list.h"
#include "upstream/push/target_push.h"

/* Entries without artifactType that are looked at, at the registry, for one change of a list. */
#define REFERRERS_REPAIRED_MAX 16

/* A manifest that refers to another one. Borrowed. */
struct referrer {
    const struct descriptor *descriptor;
    const void *data; /* its bytes: artifactType and annotations are taken from them */
    size_t size;
};

/* One attempt to note at the registry that `referrer`, which it holds, refers to `subject`. Blocks.
 * `repository` is that of the push (store/push.h). ERR_MANIFEST_INVALID when what is there is no
 * index; ERR_JSON_TOO_LARGE over MANIFEST_LIMIT_BYTES; those of the requests and of the store. */
enum errc referrers_note(struct target_push *push, struct registry_client *client,
                         const char *repository, const struct digest *subject,
                         const struct referrer *referrer, struct error *err);

/* A list that a client put. Borrowed. */
struct client_list {
    const char *tag;
    const struct manifest *manifest; /* its members are held by the store, but for those that are
                                        gone */
    const char *data;
    size_t size;
};

/* One attempt to bring its entries into the list at the registry, which holds its members. It goes
 * as the client wrote it where that says all. *digest and *size are those of the list that the
 * registry has then. Errors as above; what is there and no index is replaced. */
enum errc referrers_put_list(struct target_push *push, struct registry_client *client,
                             const char *repository, const struct client_list *list,
                             struct digest *digest, uint64_t *size, struct error *err);

/* Into `out`: the digests of the list's members that were taken out of the repository. They are not
 * pushed. `out` is an object. */
enum errc referrers_gone(struct target_push *push, const char *repository,
                         const struct client_list *list, json_t *out, struct error *err);

/* The key under which such attempts follow one another, owned: reading, changing and writing the
 * index is one at a time for a registry, repository and tag within this process. Another process
 * that does the same at the same time may be overwritten, as the specification knows. */
char *referrers_turn(const struct target_push *push, const char *tag);

#endif
