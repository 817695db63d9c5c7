#include "gateway/ingest/listing.h"

#include "base/log.h"
#include "base/mem.h"
#include "image/archive_guess.h"

#include <string.h>

void listing_deinit(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->candidates[i].names);
    free(listing->candidates);
    archive_referrers_deinit(&listing->attachments);
    docker_archive_deinit(&listing->docker);
    oci_layout_deinit(&listing->layout);
    inspector_deinit(&listing->inspector);
    *listing = (struct listing){.count = 0};
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

/* ---- index.json ---- */

static bool is_whole_image(void *self, const struct descriptor *descriptor,
                           const struct inspected *info)
{
    (void)self;
    (void)descriptor;
    return info->whole && info->kind != INSPECTED_INDEX;
}

static bool is_there(struct listing *listing, const struct descriptor *root)
{
    return inspect(&listing->inspector, root, 0).whole ||
           inspect_walk(&listing->inspector, root, is_whole_image, NULL);
}

/* Entries of one digest are one image with several names. */
static void list_layout(struct listing *listing)
{
    struct digest_map numbers = {.first = NULL};
    for (size_t i = 0; i < listing->layout.count; i++) {
        const struct layout_entry *entry = &listing->layout.entries[i];
        struct digest_item *item = digest_map_add(&numbers, &entry->descriptor.digest);
        if (item->number == 0) {
            listing->candidates[listing->count++] =
                (struct candidate){.root = entry->descriptor,
                                   .belongs = true,
                                   .there = is_there(listing, &entry->descriptor)};
            item->number = listing->count;
        }
        struct candidate *candidate = &listing->candidates[item->number - 1];
        /* One of its names may make it an image of its own. */
        if (!archive_referrers_include(&listing->attachments, entry))
            candidate->belongs = false;
        if (entry->named)
            add_name(candidate, &entry->name);
    }
    digest_map_deinit(&numbers);
}

/* ---- manifest.json ---- */

static const struct catalog_entry *find_entry(const struct listing *listing, const char *name)
{
    struct error no_loops = ERROR_INIT; /* the catalog has looked at all links */
    const struct catalog_entry *entry = NULL;
    catalog_find(listing->inspector.catalog, name, &entry, &no_loops);
    return entry;
}

struct digest listing_docker_config(const struct listing *listing, const struct docker_image *image)
{
    const struct catalog_entry *entry = find_entry(listing, image->config);
    return entry ? entry->content.raw : (struct digest){0};
}

static bool is_docker_there(const struct listing *listing, const struct docker_image *image)
{
    bool there = find_entry(listing, image->config) != NULL;
    for (size_t i = 0; i < image->layer_count && there; i++)
        there = find_entry(listing, image->layers[i]) != NULL;
    return there;
}

/* The configs of the images that index.json has whole, with the number of their candidate. */
struct config_search {
    struct digest_map configs;
    size_t number;
};

static bool note_config(void *self, const struct descriptor *descriptor,
                        const struct inspected *info)
{
    struct config_search *search = self;
    (void)descriptor;
    if (info->kind != INSPECTED_IMAGE || !info->whole)
        return false;
    struct digest_item *item = digest_map_add(&search->configs, &info->config);
    if (item->number == 0)
        item->number = search->number;
    return false;
}

/* Has index.json a whole image of this name? Then that one has it: of two images of one name the
 * other is still to be had by its id. */
static bool is_name_taken(const struct listing *listing, const struct docker_image *image)
{
    for (size_t i = 0; image->name_count > 0 && i < listing->count; i++) {
        const struct candidate *other = &listing->candidates[i];
        for (size_t n = 0; other->there && !other->docker && n < other->name_count; n++)
            if (reference_same_target(&other->names[n].reference, &image->names[0]))
                return true;
    }
    return false;
}

static void add_docker(struct listing *listing, const struct docker_image *image,
                       const struct config_search *search)
{
    const struct digest config = listing_docker_config(listing, image);
    const struct digest_item *item = digest_map_find(&search->configs, &config);
    struct candidate *candidate = &listing->candidates[item ? item->number - 1 : listing->count];
    if (item == NULL) {
        bool taken = is_name_taken(listing, image);
        listing->count++;
        *candidate = (struct candidate){
            .docker = image, .there = is_docker_there(listing, image), .belongs = taken};
    }
    for (size_t i = 0; i < image->name_count; i++)
        add_name(candidate, &(struct archive_name){image->names[i]});
    if (image->odd_name)
        candidate->odd_name = image->odd_name;
}

static void list_docker(struct listing *listing)
{
    struct config_search search = {.number = 0};
    for (size_t i = 0; i < listing->count; i++) {
        search.number = i + 1;
        if (listing->candidates[i].there && !listing->candidates[i].belongs)
            inspect_walk(&listing->inspector, &listing->candidates[i].root, note_config, &search);
    }
    for (size_t i = 0; i < listing->docker.count; i++)
        add_docker(listing, &listing->docker.images[i], &search);
    digest_map_deinit(&search.configs);
}

struct platform listing_platform(struct listing *listing, const struct candidate *candidate)
{
    if (candidate->docker) {
        const struct digest config = listing_docker_config(listing, candidate->docker);
        return inspect_config(&listing->inspector, &config)->platform;
    }
    const struct inspected info = inspect(&listing->inspector, &candidate->root, 0);
    return inspected_platform(&candidate->root, &info);
}

/* ---- both ---- */

/* A table of contents, NULL when the archive has none of that name. */
static enum errc read_table(const struct listing *listing, const char *name, size_t limit,
                            char **data, size_t *size, struct error *err)
{
    const struct catalog_entry *entry = find_entry(listing, name);
    return entry ? batch_read_all(listing->inspector.batch, &entry->content.digest, limit, name,
                                  data, size, err)
                 : ERR_OK;
}

static enum errc read_layout(struct listing *listing, bool *present, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    const struct catalog_entry *entry = find_entry(listing, "index.json");
    *present = entry != NULL;
    if (entry == NULL)
        return ERR_OK;
    if (read_table(listing, "index.json", LAYOUT_LIMIT_BYTES, &data, &size, err) != ERR_OK ||
        oci_layout_parse(data, size, &listing->layout, err) != ERR_OK)
        return err->code;
    listing->index =
        (struct descriptor){.digest = entry->content.raw, .size = entry->content.raw_size};
    memcpy(listing->index.media_type, listing->layout.media_type, MEDIA_TYPE_MAX);
    return ERR_OK;
}

static enum errc read_docker(struct listing *listing, bool *present, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    if (read_table(listing, "manifest.json", DOCKER_ARCHIVE_LIMIT_BYTES, &data, &size, err) !=
            ERR_OK ||
        (data && docker_archive_parse(data, size, &listing->docker, err) != ERR_OK)) {
        *present = true;
        return err->code;
    }
    *present = listing->has_docker = data != NULL;
    return ERR_OK;
}

static enum errc no_tables(const struct listing *listing, struct error *err)
{
    struct archive_guess guess = {.tables = false};
    for (size_t i = 0; i < catalog_count(listing->inspector.catalog); i++)
        archive_guess_see(&guess, catalog_at(listing->inspector.catalog, i)->name);
    return archive_guess_fail(&guess, err);
}

static enum errc read_tables(struct listing *listing, struct error *err)
{
    struct error in_index = ERROR_INIT;
    struct error in_docker = ERROR_INIT;
    bool index = false;
    bool docker = false;
    read_layout(listing, &index, &in_index);
    read_docker(listing, &docker, &in_docker);
    if (!index && !docker)
        return no_tables(listing, err);
    bool index_failed = in_index.code != ERR_OK;
    bool docker_failed = in_docker.code != ERR_OK;
    if ((!index || index_failed) && (!docker || docker_failed)) {
        *err = index_failed ? in_index : in_docker;
        return err->code;
    }
    if (index_failed || docker_failed)
        log_info("a table of contents is passed over beside the other one: %s",
                 index_failed ? in_index.text : in_docker.text);
    return ERR_OK;
}

enum errc listing_read(const struct catalog *catalog, struct batch *batch,
                       const struct cancel *cancel, struct listing *out, struct error *err)
{
    *out = (struct listing){.inspector = {.catalog = catalog, .batch = batch, .cancel = cancel}};
    if (read_tables(out, err) != ERR_OK)
        return err->code;
    out->candidates = xcalloc(out->layout.count + out->docker.count, sizeof *out->candidates);
    archive_referrers_find(&out->inspector, &out->layout, &out->attachments);
    list_layout(out);
    list_docker(out);
    return cancel_check(cancel, err);
}
