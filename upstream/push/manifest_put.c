#include "upstream/push/manifest_put.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

bool manifest_put_is(const struct outgoing_manifest *manifest, const struct digest *digest)
{
    if (digest->algorithm == DIGEST_NONE)
        return false;
    struct digest sent =
        digest_of(digest->algorithm, manifest->canonical, manifest->canonical_size);
    return digest_equal(digest, &sent);
}

/* An answer that got lost, or a tag that may not be moved: what counts is what is there now. */
static bool stands_there_anyway(struct registry_client *client, const char *reference,
                                const struct outgoing_manifest *manifest, const struct error *why)
{
    bool doubtful = why->status >= 400 || why->code == ERR_TIMEOUT || why->code == ERR_NO_ANSWER ||
                    why->code == ERR_CONNECTION_LOST;
    if (!doubtful || why->hints & HINT_WHO)
        return false;
    struct digest there = {0};
    struct error ignored = ERROR_INIT;
    return registry_manifest_digest(client, reference, &there, &ignored) == ERR_OK &&
           manifest_put_is(manifest, &there);
}

/* A registry may sign a manifest anew each time it serves it; before the signatures its bytes are
 * the canonical ones but for the closing "\n}". */
static enum errc find_signed(struct registry_client *client, const char *reference,
                             const struct outgoing_manifest *manifest, struct digest *stored,
                             struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    size_t same = manifest->canonical_size - strlen("\n}");
    if (registry_manifest_get(client, reference, &data, &size, err) != ERR_OK)
        return err->code;
    if (data && size >= same && memcmp(data, manifest->canonical, same) == 0)
        *stored = manifest->digest;
    else if (data)
        *stored = digest_of(DIGEST_SHA256, data, size);
    return ERR_OK;
}

/* schema1: what is sent has signatures beside what its digest is over. */
static bool is_signed(const struct outgoing_manifest *manifest)
{
    return manifest->canonical != manifest->bytes.data;
}

static enum errc find_stored(struct registry_client *client, const char *reference,
                             const struct outgoing_manifest *manifest, struct digest *stored,
                             struct error *err)
{
    enum errc code = is_signed(manifest) ? find_signed(client, reference, manifest, stored, err)
                                         : registry_manifest_digest(client, reference, stored, err);
    return code == ERR_OK ? ERR_OK : error_wrap(err, "verifying the manifest");
}

static enum errc check_stored(const struct outgoing_manifest *manifest, const struct digest *stored,
                              struct error *err)
{
    if (stored->algorithm == DIGEST_NONE)
        return fail(err, ERR_PUSHED_DIGEST, 0,
                    "the registry accepted the manifest but does not serve it");
    if (manifest_put_is(manifest, stored))
        return ERR_OK;
    char ours[DIGEST_TEXT_MAX];
    char theirs[DIGEST_TEXT_MAX];
    return fail(err, ERR_PUSHED_DIGEST, 0, "the registry holds %s, sent was %s",
                digest_text(stored, theirs), digest_text(&manifest->digest, ours));
}

/* Under a tag a registry names what it gets by sha256; what has another digest goes under that, and
 * the tag along. Where it makes no tag of that, it gets the tag as well. */
static enum errc put(struct registry_client *client, const char *tag,
                     const struct outgoing_manifest *manifest, struct manifest_answer *answer,
                     struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    digest_text(&manifest->digest, digest);
    if (tag == NULL)
        return registry_manifest_put(client, digest, &manifest->bytes, answer, err);
    if (manifest->digest.algorithm != DIGEST_SHA256 &&
        (registry_manifest_put_tagged(client, digest, tag, &manifest->bytes, answer, err) !=
             ERR_OK ||
         answer->tag_noted))
        return err->code;
    return registry_manifest_put(client, tag, &manifest->bytes, answer, err);
}

enum errc manifest_put(struct target_push *push, struct registry_client *client, const char *tag,
                       const struct outgoing_manifest *manifest, struct manifest_answer *answer,
                       struct error *err)
{
    *answer = (struct manifest_answer){0};
    char digest_as_text[DIGEST_TEXT_MAX];
    const char *reference = tag ? tag : digest_text(&manifest->digest, digest_as_text);
    if (put(client, tag, manifest, answer, err) != ERR_OK) {
        if (!stands_there_anyway(client, reference, manifest, err))
            return error_wrap(err, "manifest");
        log_info("%s: the manifest is there although its push ended with: %s", push->target,
                 err->text);
        error_clear(err);
        answer->kind_refused = false;
        answer->stored = manifest->digest;
    }
    struct digest stored = answer->stored;
    if (stored.algorithm == DIGEST_NONE &&
        find_stored(client, reference, manifest, &stored, err) != ERR_OK)
        return err->code;
    return check_stored(manifest, &stored, err);
}

char *manifest_put_turn(const struct target_push *push, const struct outgoing_manifest *manifest)
{
    const struct repository *repository = push->repository;
    char digest[DIGEST_TEXT_MAX];
    return xasprintf("manifest %s/%s@%s", repository->endpoint->host->name, repository->path,
                     digest_text(&manifest->digest, digest));
}
