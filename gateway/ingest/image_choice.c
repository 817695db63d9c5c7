#include "gateway/ingest/image_choice.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/ingest/attachments.h"
#include "image/manifest.h"

#include <string.h>

/* One image that the archive lists. */
struct candidate {
    const struct docker_image *docker; /* from manifest.json, or NULL */
    struct descriptor root;            /* from index.json otherwise */
    struct archive_name *names;
    size_t name_count;
    bool belongs; /* to another one */
};

struct listing {
    struct docker_archive docker;
    struct oci_layout layout;
    struct attachments attachments; /* of the layout */
    struct candidate *candidates;
    size_t count;
    bool has_docker;
    bool has_layout;
};

static void candidates_free(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->candidates[i].names);
    free(listing->candidates);
    listing->candidates = NULL;
    listing->count = 0;
}

static void listing_deinit(struct listing *listing)
{
    candidates_free(listing);
    attachments_deinit(&listing->attachments);
    docker_archive_deinit(&listing->docker);
    oci_layout_deinit(&listing->layout);
}

static void add_name(struct candidate *candidate, const struct archive_name *name)
{
    for (size_t i = 0; i < candidate->name_count; i++)
        if (reference_same_target(&candidate->names[i].reference, &name->reference))
            return;
    candidate->names =
        xrealloc(candidate->names, candidate->name_count + 1, sizeof *candidate->names);
    candidate->names[candidate->name_count++] = *name;
}

static void list_docker(struct listing *listing)
{
    listing->candidates = xcalloc(listing->docker.count, sizeof *listing->candidates);
    for (; listing->count < listing->docker.count; listing->count++) {
        struct candidate *candidate = &listing->candidates[listing->count];
        candidate->docker = &listing->docker.images[listing->count];
        for (size_t i = 0; i < candidate->docker->name_count; i++)
            add_name(candidate, &(struct archive_name){candidate->docker->names[i]});
    }
}

/* Entries of one digest are one image with several names. */
static void list_layout(struct listing *listing)
{
    struct digest_map numbers = {.first = NULL};
    listing->candidates = xcalloc(listing->layout.count, sizeof *listing->candidates);
    for (size_t i = 0; i < listing->layout.count; i++) {
        const struct layout_entry *entry = &listing->layout.entries[i];
        struct digest_item *item = digest_map_add(&numbers, &entry->descriptor.digest);
        if (item->number == 0) {
            listing->candidates[listing->count].root = entry->descriptor;
            listing->candidates[listing->count++].belongs = true;
            item->number = listing->count;
        }
        struct candidate *candidate = &listing->candidates[item->number - 1];
        /* One of its names may make it an image of its own. */
        if (!attachments_include(&listing->attachments, entry))
            candidate->belongs = false;
        if (entry->named)
            add_name(candidate, &entry->name);
    }
    digest_map_deinit(&numbers);
}

static enum errc read_entry(const struct catalog *catalog, struct batch *batch, const char *name,
                            size_t limit, char **data, size_t *size, struct error *err)
{
    const struct catalog_entry *entry = NULL;
    *data = NULL;
    if (catalog_find(catalog, name, &entry, err) != ERR_OK || entry == NULL)
        return err->code;
    return batch_read_all(batch, &entry->content.digest, limit, name, data, size, err);
}

static enum errc read_listing(const struct catalog *catalog, struct batch *batch,
                              struct listing *listing, struct error *err)
{
    autofree char *index = NULL;
    autofree char *table = NULL;
    size_t index_size = 0;
    size_t table_size = 0;
    if (read_entry(catalog, batch, "index.json", LAYOUT_LIMIT_BYTES, &index, &index_size, err) !=
            ERR_OK ||
        read_entry(catalog, batch, "manifest.json", DOCKER_ARCHIVE_LIMIT_BYTES, &table, &table_size,
                   err) != ERR_OK)
        return err->code;
    if (index == NULL && table == NULL)
        return fail(err, ERR_NOT_AN_IMAGE, 0,
                    "the archive is no image: it has neither manifest.json nor index.json");
    if (index && oci_layout_parse(index, index_size, &listing->layout, err) != ERR_OK)
        return err->code;
    if (table && docker_archive_parse(table, table_size, &listing->docker, err) != ERR_OK)
        return err->code;
    listing->has_layout = index != NULL;
    listing->has_docker = table != NULL;
    return ERR_OK;
}

static void append_name(struct buf *out, const struct candidate *candidate)
{
    char text[REFERENCE_TEXT_MAX];
    if (candidate->name_count > 0) {
        const struct reference *ref = &candidate->names[0].reference;
        buf_text(out, ref->path[0] ? reference_text(ref, text) : ref->tag);
    } else if (candidate->docker) {
        buf_format(out, "an unnamed image with config %.100s", candidate->docker->config);
    } else {
        buf_text(out, digest_text(&candidate->root.digest, text));
    }
}

/* Images of their own. */
static size_t count_images(const struct listing *listing)
{
    size_t images = 0;
    for (size_t i = 0; i < listing->count; i++)
        images += !listing->candidates[i].belongs;
    return images;
}

static enum errc fail_listing(enum errc code, const char *what, const struct listing *listing,
                              struct error *err)
{
    autobuf struct buf names = BUF_INIT(4096);
    bool only_images = code == ERR_AMBIGUOUS_IMAGE && count_images(listing) > 0;
    for (size_t i = 0; i < listing->count; i++) {
        if (only_images && listing->candidates[i].belongs)
            continue;
        buf_text(&names, names.size ? ", " : "");
        append_name(&names, &listing->candidates[i]);
    }
    return fail(err, code, 0, "%s; the archive holds: %.700s", what, buf_cstr(&names));
}

static bool name_matches(const struct candidate *candidate, const struct reference *wanted,
                         const char *text)
{
    for (size_t i = 0; i < candidate->name_count; i++) {
        const struct reference *have = &candidate->names[i].reference;
        if (have->path[0] == '\0' && strcmp(have->tag, text) == 0)
            return true;
        if (reference_same_name(have, wanted) &&
            (wanted->tag[0] == '\0' || strcmp(have->tag, wanted->tag) == 0))
            return true;
    }
    return false;
}

/* The config that an image manifest of a layout names; DIGEST_NONE where there is none to be read.
 */
static struct digest layout_config(const struct catalog *catalog, struct batch *batch,
                                   const struct descriptor *root)
{
    struct error ignored = ERROR_INIT;
    const struct catalog_entry *entry = NULL;
    struct digest config = {0};
    struct manifest manifest;
    autofree char *data = NULL;
    size_t size = 0;
    if (catalog_find_blob(catalog, &root->digest, &entry, &ignored) != ERR_OK || entry == NULL ||
        batch_read_all(batch, &entry->content.digest, MANIFEST_LIMIT_BYTES, "manifest", &data,
                       &size, &ignored) != ERR_OK ||
        manifest_parse(data, size, root->media_type, "manifest", &manifest, &ignored) != ERR_OK)
        return config;
    if (manifest.kind == MANIFEST_IMAGE)
        config = manifest.config.digest;
    manifest_deinit(&manifest);
    return config;
}

/* By digest: the manifest's, or the config's, which is the image id that docker shows. */
static enum errc digest_matches(const struct catalog *catalog, struct batch *batch,
                                const struct candidate *candidate, const struct digest *digest,
                                bool *out, struct error *err)
{
    const struct catalog_entry *entry = NULL;
    if (candidate->docker == NULL) {
        struct digest config = layout_config(catalog, batch, &candidate->root);
        *out = digest_equal(&candidate->root.digest, digest) || digest_equal(&config, digest);
        return ERR_OK;
    }
    if (catalog_find(catalog, candidate->docker->config, &entry, err) != ERR_OK)
        return err->code;
    *out = entry != NULL && digest_equal(&entry->content.digest, digest);
    return ERR_OK;
}

/* The only image; an archive of nothing but signatures has those as its images. */
static enum errc choose_only(const struct listing *listing, const struct candidate **out,
                             struct error *err)
{
    size_t images = count_images(listing);
    if (images > 1 || (images == 0 && listing->count > 1))
        return fail_listing(ERR_AMBIGUOUS_IMAGE, "name one image with image=NAME", listing, err);
    size_t at = 0;
    while (images == 1 && listing->candidates[at].belongs)
        at++;
    *out = &listing->candidates[at];
    return ERR_OK;
}

static enum errc choose(const struct catalog *catalog, struct batch *batch,
                        const struct listing *listing, const struct image_wish *wish,
                        const struct candidate **out, struct error *err)
{
    if (wish->image == NULL)
        return choose_only(listing, out, err);
    struct error ignored = ERROR_INIT;
    struct digest digest;
    struct reference wanted = {0};
    bool by_digest = digest_parse(wish->image, &digest, &ignored) == ERR_OK;
    if (!by_digest && reference_parse(wish->image, &wanted, err) != ERR_OK)
        return error_wrap(err, "image");
    for (size_t i = 0; i < listing->count; i++) {
        *out = &listing->candidates[i];
        bool matches = !by_digest && name_matches(*out, &wanted, wish->image);
        if (by_digest && digest_matches(catalog, batch, *out, &digest, &matches, err) != ERR_OK)
            return err->code;
        if (matches)
            return ERR_OK;
    }
    autofree char *what = xasprintf("no image \"%.200s\"", wish->image);
    return fail_listing(ERR_IMAGE_UNKNOWN, what, listing, err);
}

static enum errc assemble(const struct catalog *catalog, struct batch *batch,
                          struct listing *listing, const struct image_wish *wish,
                          struct chosen_image *out, struct error *err)
{
    const struct candidate *candidate = NULL;
    if (choose(catalog, batch, listing, wish, &candidate, err) != ERR_OK)
        return err->code;
    struct assembly assembly = {.catalog = catalog,
                                .batch = batch,
                                .codecs = wish->codecs,
                                .cancel = wish->cancel,
                                .schema2 = listing->has_docker,
                                .platform = wish->platform,
                                .codec = wish->codec,
                                .effort = wish->effort};
    struct chosen_image chosen = {0};
    enum errc rc = candidate->docker ? assemble_docker_image(&assembly, candidate->docker,
                                                             &chosen.manifest, &chosen.config, err)
                                     : assemble_oci_image(&assembly, &candidate->root,
                                                          &chosen.manifest, &chosen.config, err);
    if (rc == ERR_OK && candidate->docker == NULL)
        rc = attachments_assemble(&listing->attachments, &assembly, &chosen.referrers,
                                  &chosen.referrer_count, err);
    if (rc == ERR_OK) {
        assembly_drop_unused(&assembly);
        chosen.name_count = candidate->name_count;
        chosen.names = xcalloc(candidate->name_count, sizeof *chosen.names);
        for (size_t i = 0; i < candidate->name_count; i++)
            chosen.names[i] = candidate->names[i];
        *out = chosen;
    }
    assembly_deinit(&assembly);
    return rc;
}

/* Docker saves layouts whose index.json speaks of more than was saved; manifest.json is exact. */
static bool only_incomplete(enum errc code)
{
    return code == ERR_BLOB_MISSING || code == ERR_LAYER_MISSING || code == ERR_CONFIG_MISSING;
}

enum errc image_choose(const struct catalog *catalog, struct batch *batch,
                       const struct image_wish *wish, struct chosen_image *out, struct error *err)
{
    struct listing listing = {0};
    enum errc rc = read_listing(catalog, batch, &listing, err);
    if (rc == ERR_OK && listing.has_layout) {
        attachments_find(catalog, batch, &listing.layout, wish->cancel, &listing.attachments);
        list_layout(&listing);
        rc = assemble(catalog, batch, &listing, wish, out, err);
        candidates_free(&listing);
        if (listing.has_docker && only_incomplete(rc)) {
            error_clear(err);
            listing.has_layout = false;
            rc = ERR_OK;
        }
    }
    if (rc == ERR_OK && !listing.has_layout) {
        list_docker(&listing);
        rc = assemble(catalog, batch, &listing, wish, out, err);
    }
    listing_deinit(&listing);
    return rc;
}

void chosen_image_deinit(struct chosen_image *chosen)
{
    free(chosen->names);
    free(chosen->referrers);
    *chosen = (struct chosen_image){0};
}
