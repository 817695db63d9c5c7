/*
 * The list of what refers to a manifest, where the registry keeps none itself: the index under the
 * tag "ALG-HEX" of the subject. OCI distribution-spec 1.1, "Unavailable Referrers API" and
 * "Referrers Tag Schema".
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_REFERRERS_H
#define SLIPWAY_UPSTREAM_PUSH_REFERRERS_H

#include "base/buf.h"
#include "image/manifest.h"
#include "upstream/push/target_push.h"

/* "sha256-0123…": at most 32 characters of the algorithm, 64 of the hex. Returns `tag`. */
#define REFERRERS_TAG_MAX (32 + 1 + 64 + 1)
const char *referrers_tag(const struct digest *subject, char tag[REFERRERS_TAG_MAX]);

/* A manifest that refers to another one. Borrowed. */
struct referrer {
    const struct descriptor *descriptor;
    const void *data; /* its bytes: artifactType and annotations are taken from them */
    size_t size;
};

/*
 * Append to `out` the bytes of `index` (NULL: an empty one) with the referrer added. *changed false
 * when it is listed already; then nothing is appended. ERR_MANIFEST_INVALID when `index` is no
 * index; ERR_JSON_TOO_LARGE when the result passes the limit of `out`.
 */
enum errc referrers_add(const char *index, size_t index_size, const struct referrer *referrer,
                        struct buf *out, bool *changed, struct error *err);

/* One attempt to note at the registry that `referrer`, which it holds, refers to `subject`. Blocks.
 * Errors: those of referrers_add() and of the requests. */
enum errc referrers_note(struct target_push *push, struct registry_client *client,
                         const struct digest *subject, const struct referrer *referrer,
                         struct error *err);

/* The key under which such attempts follow one another, owned: reading, changing and writing the
 * index is one at a time for a registry, repository and subject within this process. Another
 * process that does the same at the same time may be overwritten, as the specification knows. */
char *referrers_turn(const struct target_push *push, const struct digest *subject);

#endif
