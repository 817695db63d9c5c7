#include "gateway/push/stored_image.h"

#include "base/mem.h"
#include "image/digest_map.h"
#include "image/manifest.h"
#include "image/referrer.h"
#include "store/blob.h"
#include "store/references.h"
#include "store/repositories.h"

#include <string.h>

void stored_image_deinit(struct stored_image *image)
{
    free(image->referrers);
    image->referrers = NULL;
    image->referrer_count = 0;
}

/* ---- names ---- */

/* What a client calls an image, taken apart without any normalisation. */
struct spelling {
    const char *text; /* borrowed */
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1]; /* "" when none */
    struct digest digest;            /* DIGEST_NONE when none */
};

static enum errc copy_part(const char *from, size_t size, char *to, size_t room, const char *what,
                           struct error *err)
{
    if (size >= room)
        return fail(err, ERR_REFERENCE_INVALID, 0, "the image's %s has more than %zu bytes", what,
                    room - 1);
    memcpy(to, from, size);
    to[size] = '\0';
    return ERR_OK;
}

static enum errc spell(const char *text, struct spelling *out, struct error *err)
{
    size_t end = strcspn(text, "@");
    const char *slash = memrchr(text, '/', end);
    const char *last = slash ? slash + 1 : text;
    const char *colon = memchr(last, ':', end - (size_t)(last - text));
    size_t name = colon ? (size_t)(colon - text) : end;
    *out = (struct spelling){.text = text};
    if (text[end] == '@' && digest_parse(text + end + 1, &out->digest, err) != ERR_OK)
        return error_wrap(err, "image");
    if (copy_part(text, name, out->repository, sizeof out->repository, "name", err) != ERR_OK)
        return err->code;
    if (colon)
        return copy_part(colon + 1, end - name - 1, out->tag, sizeof out->tag, "tag", err);
    if (out->digest.algorithm == DIGEST_NONE)
        return fail(err, ERR_REFERENCE_INVALID, 0, "the image \"%.300s\" needs a tag or a digest",
                    text);
    return ERR_OK;
}

static void describe(struct descriptor *manifest, const struct digest *digest,
                     const char *media_type, uint64_t size)
{
    *manifest = (struct descriptor){.digest = *digest, .size = size};
    snprintf(manifest->media_type, sizeof manifest->media_type, "%s", media_type);
}

static enum errc find_in_front(struct store *store, const struct spelling *spelling, bool *found,
                               struct stored_image *out, struct error *err)
{
    struct error no_name = ERROR_INIT;
    struct repository_manifest manifest;
    *found = false;
    if (repository_name_check(spelling->repository, strlen(spelling->repository), &no_name) !=
        ERR_OK)
        return ERR_OK;
    enum errc rc =
        spelling->digest.algorithm != DIGEST_NONE
            ? repository_manifest(store, spelling->repository, &spelling->digest, found, &manifest,
                                  err)
            : repository_tag(store, spelling->repository, spelling->tag, found, &manifest, err);
    if (rc == ERR_OK && *found)
        describe(&out->manifest, &manifest.digest, manifest.media_type, manifest.size);
    return rc;
}

static enum errc find_by_name(struct store *store, const struct reference *reference, bool *found,
                              struct stored_image *out, struct error *err)
{
    struct named_manifest named;
    uint64_t size = 0;
    if (references_get(store, reference, found, &named, err) != ERR_OK || !*found)
        return err->code;
    if (blob_stat(store, &named.manifest, &size, err) != ERR_OK) {
        *found = false;
        if (err->code != ERR_BLOB_UNKNOWN)
            return err->code;
        error_clear(err);
        return ERR_OK;
    }
    describe(&out->manifest, &named.manifest, named.media_type, size);
    return ERR_OK;
}

enum errc stored_image_unknown(const char *text, struct error *err)
{
    return fail(err, ERR_IMAGE_UNKNOWN, 0, "no image \"%.300s\" is held", text);
}

/* ---- manifests ---- */

static enum errc read_manifest(struct store *store, const struct digest *digest,
                               const char *media_type, struct manifest *out, uint64_t *size,
                               struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *what = xasprintf("manifest %s", digest_text(digest, text));
    autofree char *data = NULL;
    size_t bytes = 0;
    if (blob_read_all(store, digest, MANIFEST_LIMIT_BYTES, what, &data, &bytes, err) != ERR_OK)
        return err->code;
    *size = bytes;
    return manifest_parse_any(data, bytes, media_type, what, out, err);
}

/* A blob that is no manifest is no image either. */
static enum errc find_by_digest(struct store *store, const char *text, const struct digest *digest,
                                struct stored_image *out, struct error *err)
{
    struct manifest manifest;
    uint64_t size = 0;
    if (read_manifest(store, digest, NULL, &manifest, &size, err) != ERR_OK) {
        if (err->code == ERR_BLOB_UNKNOWN)
            return stored_image_unknown(text, err);
        return error_party(err->code) == PARTY_CLIENT
                   ? fail(err, ERR_IMAGE_UNKNOWN, 0, "%.150s is held, but is no manifest", text)
                   : err->code;
    }
    describe(&out->manifest, digest, manifest.media_type, size);
    manifest_deinit(&manifest);
    return ERR_OK;
}

/* ---- referrers ---- */

/* The image, the members of its index, and what was found to refer to any of them: what is looked
 * for the referrers of. A manifest stands in it once. */
struct family {
    struct store *store;
    const char *repository;
    struct descriptor *subjects; /* owned */
    size_t count;
    size_t capacity;
    struct digest_map digests; /* of the subjects */
    struct stored_image *image;
    size_t referrer_capacity;
};

static enum errc add_subject(struct family *family, const struct descriptor *subject,
                             struct error *err)
{
    if (digest_map_find(&family->digests, &subject->digest))
        return ERR_OK;
    if (family->count == REFERRERS_MAX + MANIFEST_CHILDREN_MAX)
        return fail(err, ERR_UNSUPPORTED, 0, "the image has too many members and referrers");
    digest_map_add(&family->digests, &subject->digest);
    family->subjects =
        mem_grow(family->subjects, family->count, &family->capacity, sizeof *family->subjects);
    family->subjects[family->count++] = *subject;
    return ERR_OK;
}

static enum errc too_many(struct error *err)
{
    return fail(err, ERR_UNSUPPORTED, 0, "the image has more than %d referrers", REFERRERS_MAX);
}

static enum errc add_referrer(struct family *family, const struct descriptor *manifest,
                              const char *tag, struct error *err)
{
    struct stored_image *image = family->image;
    if (digest_map_find(&family->digests, &manifest->digest))
        return ERR_OK;
    if (image->referrer_count == REFERRERS_MAX)
        return too_many(err);
    image->referrers = mem_grow(image->referrers, image->referrer_count, &family->referrer_capacity,
                                sizeof *image->referrers);
    struct push_referrer *referrer = &image->referrers[image->referrer_count++];
    *referrer = (struct push_referrer){.manifest = *manifest};
    snprintf(referrer->tag, sizeof referrer->tag, "%s", tag);
    return add_subject(family, manifest, err);
}

static enum errc add_members(struct family *family, const struct descriptor *index,
                             struct error *err)
{
    struct manifest manifest;
    uint64_t size = 0;
    if (read_manifest(family->store, &index->digest, index->media_type, &manifest, &size, err) !=
        ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest.child_count && err->code == ERR_OK; i++)
        add_subject(family, &manifest.children[i], err);
    manifest_deinit(&manifest);
    return err->code;
}

/* The list has the descriptors as the referrers API gives them: written by slipway itself. */
static enum errc add_listed(struct family *family, const char *text, struct error *err)
{
    autojson json_t *root = NULL;
    struct descriptor descriptor;
    if (json_parse(text, strlen(text), MANIFEST_DESCRIPTOR_MAX, "referrer", &root, err) != ERR_OK ||
        descriptor_parse(root, "referrer", &descriptor, err) != ERR_OK)
        return err->code;
    return add_referrer(family, &descriptor, "", err);
}

static enum errc add_by_subject(struct family *family, const struct digest *subject,
                                struct error *err)
{
    struct name_list list = {0};
    if (repository_referrers(family->store, family->repository, subject, NULL, &list, err) !=
        ERR_OK)
        return err->code;
    for (size_t i = 0; i < list.count && err->code == ERR_OK; i++)
        add_listed(family, list.names[i], err);
    if (list.more && err->code == ERR_OK)
        too_many(err);
    name_list_deinit(&list);
    return err->code;
}

static enum errc add_by_tag(struct family *family, const struct digest *subject, struct error *err)
{
    if (subject->algorithm != DIGEST_SHA256)
        return ERR_OK;
    for (size_t i = 0; i < COSIGN_KINDS; i++) {
        struct repository_manifest manifest;
        struct descriptor descriptor;
        char tag[REFERENCE_TAG_MAX + 1];
        bool found = false;
        if (repository_tag(family->store, family->repository, cosign_tag(subject, i, tag), &found,
                           &manifest, err) != ERR_OK)
            return err->code;
        if (!found)
            continue;
        describe(&descriptor, &manifest.digest, manifest.media_type, manifest.size);
        if (add_referrer(family, &descriptor, tag, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* The family grows while it is walked: what refers to a referrer comes after it. */
static enum errc find_referrers(struct store *store, const char *repository,
                                struct stored_image *image, struct error *err)
{
    struct family family = {.store = store, .repository = repository, .image = image};
    enum errc rc = add_subject(&family, &image->manifest, err);
    for (size_t i = 0; rc == ERR_OK && i < family.count; i++) {
        const struct descriptor subject = family.subjects[i];
        if (media_type_is_index(subject.media_type))
            rc = add_members(&family, &subject, err);
        if (rc == ERR_OK)
            rc = add_by_subject(&family, &subject.digest, err);
        if (rc == ERR_OK)
            rc = add_by_tag(&family, &subject.digest, err);
    }
    free(family.subjects);
    digest_map_deinit(&family.digests);
    return rc;
}

/* ---- all together ---- */

static enum errc find_spelled(struct store *store, const struct spelling *spelling,
                              struct stored_image *out, struct error *err)
{
    struct reference reference;
    bool found = false;
    if (find_in_front(store, spelling, &found, out, err) != ERR_OK)
        return err->code;
    if (found)
        return find_referrers(store, spelling->repository, out, err);
    if (reference_parse(spelling->text, &reference, err) != ERR_OK)
        return error_wrap(err, "image");
    if (find_by_name(store, &reference, &found, out, err) != ERR_OK)
        return err->code;
    return found ? ERR_OK : stored_image_unknown(spelling->text, err);
}

static enum errc find(struct store *store, const char *text, struct stored_image *out,
                      struct error *err)
{
    struct error no_digest = ERROR_INIT;
    struct spelling spelling;
    struct digest digest;
    if (digest_parse(text, &digest, &no_digest) == ERR_OK)
        return find_by_digest(store, text, &digest, out, err);
    if (spell(text, &spelling, err) != ERR_OK || find_spelled(store, &spelling, out, err) != ERR_OK)
        return err->code;
    memcpy(out->tag, spelling.tag, sizeof out->tag);
    return ERR_OK;
}

/* For the report; what it cannot be read of has none. A manifest that has lost its bytes is not
 * held any more. */
static enum errc find_config(struct store *store, struct stored_image *image, struct error *err)
{
    struct error unread = ERROR_INIT;
    struct manifest manifest;
    uint64_t size = 0;
    if (!media_type_is_manifest(image->manifest.media_type))
        return ERR_OK;
    if (read_manifest(store, &image->manifest.digest, image->manifest.media_type, &manifest, &size,
                      &unread) == ERR_OK) {
        image->config = manifest.config.digest;
        manifest_deinit(&manifest);
    } else if (unread.code == ERR_BLOB_CORRUPT) {
        *err = unread;
        return err->code;
    }
    return ERR_OK;
}

enum errc stored_image_find(struct store *store, const char *text, struct stored_image *out,
                            struct error *err)
{
    struct stored_image image = {0};
    if (find(store, text, &image, err) != ERR_OK || find_config(store, &image, err) != ERR_OK) {
        stored_image_deinit(&image);
        return err->code;
    }
    *out = image;
    return ERR_OK;
}
