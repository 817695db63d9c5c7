#include "gateway/ingest/attachments.h"

#include "base/log.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "image/referrer.h"

#include <string.h>

static bool is_list(const struct layout_entry *entry)
{
    struct digest subject;
    return entry->named && referrers_tag_parse(entry->name.reference.tag, &subject);
}

/* --- looking through a layout --- */

/* What is to be known of a manifest, which may be named a thousand times. */
struct glance {
    bool readable;
    bool index;
    bool has_subject;
    struct digest subject;
    bool is_listed;   /* its members were taken as a list of referrers */
    bool has_members; /* its members were taken as those of an index */
};

struct search {
    const struct catalog *catalog;
    struct batch *batch;
    const struct cancel *cancel;
    struct attachments *found;
    struct digest_map seen; /* of the glances, at number - 1 */
    struct glance *glances; /* owned */
    size_t count;
    size_t capacity;
};

static bool read_manifest(const struct search *search, const struct descriptor *descriptor,
                          struct manifest *out)
{
    struct error ignored = ERROR_INIT;
    const struct catalog_entry *entry = NULL;
    autofree char *data = NULL;
    size_t size = 0;
    return !cancel_requested(search->cancel) &&
           catalog_find_blob(search->catalog, &descriptor->digest, &entry, &ignored) == ERR_OK &&
           entry != NULL &&
           batch_read_all(search->batch, &entry->content.digest, MANIFEST_LIMIT_BYTES, "manifest",
                          &data, &size, &ignored) == ERR_OK &&
           manifest_parse(data, size, descriptor->media_type, "manifest", out, &ignored) == ERR_OK;
}

/* Borrowed until the next one. */
static struct glance *glance_at(struct search *search, const struct descriptor *descriptor)
{
    struct manifest manifest = {0};
    struct digest_item *item = digest_map_add(&search->seen, &descriptor->digest);
    if (item->number > 0)
        return &search->glances[item->number - 1];
    search->glances =
        mem_grow(search->glances, search->count, &search->capacity, sizeof *search->glances);
    struct glance *glance = &search->glances[search->count++];
    item->number = search->count;
    *glance = (struct glance){.readable = read_manifest(search, descriptor, &manifest)};
    if (!glance->readable)
        return glance;
    glance->index = manifest.kind == MANIFEST_INDEX;
    glance->has_subject = manifest.has_subject;
    glance->subject = manifest.subject.digest;
    manifest_deinit(&manifest);
    return glance;
}

static void add(struct attachments *attachments, const struct descriptor *manifest,
                const struct digest *subject, const char *tag)
{
    if (digest_map_find(&attachments->manifests, &manifest->digest))
        return;
    digest_map_add(&attachments->manifests, &manifest->digest);
    attachments->items = mem_grow(attachments->items, attachments->count, &attachments->capacity,
                                  sizeof *attachments->items);
    struct attachment *item = &attachments->items[attachments->count++];
    *item = (struct attachment){.manifest = *manifest, .subject = *subject};
    snprintf(item->tag, sizeof item->tag, "%s", tag);
}

static void add_members(struct attachments *attachments, const struct manifest *index)
{
    for (size_t i = 0; i < index->child_count; i++)
        digest_map_add(&attachments->members, &index->children[i].digest);
}

static void add_list(struct search *search, const struct manifest *list)
{
    for (size_t i = 0; i < list->child_count && !cancel_requested(search->cancel); i++) {
        const struct glance *glance = glance_at(search, &list->children[i]);
        if (glance->readable && glance->has_subject)
            add(search->found, &list->children[i], &glance->subject, "");
    }
}

/* The members of an index, in each of both ways once. */
static void look_below(struct search *search, const struct descriptor *index, bool as_list)
{
    struct manifest manifest = {0};
    struct glance *glance = glance_at(search, index);
    bool *done = as_list ? &glance->is_listed : &glance->has_members;
    if (*done || !read_manifest(search, index, &manifest))
        return;
    *done = true;
    if (as_list)
        add_list(search, &manifest);
    else
        add_members(search->found, &manifest);
    manifest_deinit(&manifest);
}

static void look_at(struct search *search, const struct layout_entry *entry)
{
    struct digest subject;
    const struct glance glance = *glance_at(search, &entry->descriptor);
    if (!glance.readable)
        return;
    if (glance.has_subject)
        add(search->found, &entry->descriptor, &glance.subject, "");
    else if (entry->named && cosign_tag_parse(entry->name.reference.tag, &subject))
        add(search->found, &entry->descriptor, &subject, entry->name.reference.tag);
    else if (glance.index)
        look_below(search, &entry->descriptor, is_list(entry));
}

void attachments_find(const struct catalog *catalog, struct batch *batch,
                      const struct oci_layout *layout, const struct cancel *cancel,
                      struct attachments *out)
{
    struct search search = {.catalog = catalog, .batch = batch, .cancel = cancel, .found = out};
    *out = (struct attachments){0};
    if (layout->count < 2) /* there is nothing for it to belong to */
        return;
    for (size_t i = 0; i < layout->count && !cancel_requested(cancel); i++)
        look_at(&search, &layout->entries[i]);
    digest_map_deinit(&search.seen);
    free(search.glances);
}

void attachments_deinit(struct attachments *attachments)
{
    free(attachments->items);
    digest_map_deinit(&attachments->manifests);
    digest_map_deinit(&attachments->members);
    *attachments = (struct attachments){0};
}

bool attachments_include(const struct attachments *attachments, const struct layout_entry *entry)
{
    const struct digest *digest = &entry->descriptor.digest;
    bool index = media_type_is_index(entry->descriptor.media_type);
    return digest_map_find(&attachments->manifests, digest) || (index && is_list(entry)) ||
           (!entry->named && digest_map_find(&attachments->members, digest));
}

/* --- taking what belongs to the chosen image --- */

/* An archive may list more than was saved; the image itself is whole. */
static bool only_incomplete(enum errc code)
{
    return code == ERR_BLOB_MISSING || code == ERR_LAYER_MISSING || code == ERR_CONFIG_MISSING;
}

static enum errc take(struct attachment *item, struct assembly *assembly, struct push_referrer *out,
                      size_t *count, struct error *err)
{
    struct digest config;
    struct push_referrer *referrer = &out[*count];
    if (*count == REFERRERS_MAX)
        return fail(err, ERR_UNSUPPORTED, 0, "the image has more than %d referrers", REFERRERS_MAX);
    item->taken = true;
    if (assemble_oci_image(assembly, &item->manifest, &referrer->manifest, &config, err) ==
        ERR_OK) {
        memcpy(referrer->tag, item->tag, sizeof referrer->tag);
        ++*count;
        return ERR_OK;
    }
    if (!only_incomplete(err->code))
        return error_wrap(err, "referrer");
    log_warn("a referrer is left out: %s", err->text);
    error_clear(err);
    return ERR_OK;
}

static void log_left_behind(const struct attachments *attachments, const struct assembly *assembly)
{
    char text[DIGEST_TEXT_MAX];
    char subject[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < attachments->count; i++) {
        const struct attachment *item = &attachments->items[i];
        if (!item->taken && digest_map_find(&assembly->replaced, &item->subject))
            log_warn("referrer %s is left out: %s, which it refers to, has a new digest because "
                     "layers were compressed",
                     digest_text(&item->manifest.digest, text),
                     digest_text(&item->subject, subject));
    }
}

/* Each subject's first item by its number from 1 on; the others of that subject hang on it. */
static void sort_by_subject(struct attachments *attachments, struct digest_map *out)
{
    for (size_t i = attachments->count; i > 0; i--) {
        struct attachment *item = &attachments->items[i - 1];
        struct digest_item *subject = digest_map_add(out, &item->subject);
        item->next = subject->number;
        subject->number = i;
    }
}

/* What the image needs grows while it is walked: what belongs to it is needed, too. */
static enum errc take_all(struct attachments *attachments, const struct digest_map *subjects,
                          struct assembly *assembly, struct push_referrer *out, size_t *count,
                          struct error *err)
{
    for (const struct digest_item *used = assembly->used.first; used; used = used->next) {
        const struct digest_item *subject = digest_map_find(subjects, &used->digest);
        for (size_t number = subject ? subject->number : 0; number > 0;) {
            struct attachment *item = &attachments->items[number - 1];
            if (!digest_map_find(&assembly->used, &item->manifest.digest) &&
                take(item, assembly, out, count, err) != ERR_OK)
                return err->code;
            number = item->next;
        }
    }
    return ERR_OK;
}

enum errc attachments_assemble(struct attachments *attachments, struct assembly *assembly,
                               struct push_referrer **out, size_t *count, struct error *err)
{
    autofree struct push_referrer *referrers = xcalloc(attachments->count + 1, sizeof *referrers);
    struct digest_map subjects = {.first = NULL};
    size_t taken = 0;
    assembly->verbatim = true;
    assembly->platform = NULL;
    sort_by_subject(attachments, &subjects);
    enum errc rc = take_all(attachments, &subjects, assembly, referrers, &taken, err);
    digest_map_deinit(&subjects);
    if (rc != ERR_OK)
        return rc;
    log_left_behind(attachments, assembly);
    *out = mem_take(&referrers);
    *count = taken;
    return ERR_OK;
}
