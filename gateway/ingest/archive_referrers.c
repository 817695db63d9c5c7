#include "gateway/ingest/archive_referrers.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

static bool is_list(const struct layout_entry *entry)
{
    struct digest subject;
    return entry->named && referrers_tag_parse(entry->name.reference.tag, &subject);
}

/* --- looking through a layout --- */

#define PAYLOAD_LIMIT_BYTES ((size_t)64 << 10)

struct search {
    struct inspector *inspector;
    const struct oci_layout *layout;
    struct archive_referrers *found;
    struct digest_map lists; /* whose members were taken as a list of referrers */
    struct digest_map below; /* whose members were taken as those of an index */
};

static bool cancelled(const struct search *search)
{
    return cancel_requested(search->inspector->cancel);
}

static void add(struct archive_referrers *attachments, const struct descriptor *manifest,
                const struct digest *subject, const char *tag)
{
    if (digest_map_find(&attachments->manifests, &manifest->digest))
        return;
    digest_map_add(&attachments->manifests, &manifest->digest);
    attachments->items = mem_grow(attachments->items, attachments->count, &attachments->capacity,
                                  sizeof *attachments->items);
    struct archive_referrer *item = &attachments->items[attachments->count++];
    *item = (struct archive_referrer){.manifest = *manifest, .subject = *subject};
    snprintf(item->tag, sizeof item->tag, "%s", tag);
}

static void add_members(struct archive_referrers *attachments, const struct manifest *index)
{
    for (size_t i = 0; i < index->child_count; i++)
        digest_map_add(&attachments->members, &index->children[i].digest);
}

static void add_list(struct search *search, const struct manifest *list)
{
    for (size_t i = 0; i < list->child_count && !cancelled(search); i++) {
        const struct inspected member = inspect(search->inspector, &list->children[i], 0);
        if (member.has_subject)
            add(search->found, &list->children[i], &member.subject, "");
    }
}

/* The members of an index, in each of both ways once. */
static void look_below(struct search *search, const struct descriptor *index, bool as_list)
{
    struct manifest manifest = {0};
    struct digest_item *done =
        digest_map_add(as_list ? &search->lists : &search->below, &index->digest);
    if (done->number > 0 || !inspect_read(search->inspector, index, &manifest))
        return;
    done->number = 1;
    if (as_list)
        add_list(search, &manifest);
    else
        add_members(search->found, &manifest);
    manifest_deinit(&manifest);
}

/* What an entry refers to by itself. */
static void look_at(struct search *search, const struct layout_entry *entry)
{
    struct digest subject;
    const struct inspected info = inspect(search->inspector, &entry->descriptor, 0);
    if (info.has_subject)
        add(search->found, &entry->descriptor, &info.subject, "");
    else if (entry->named && cosign_tag_parse(entry->name.reference.tag, &subject))
        add(search->found, &entry->descriptor, &subject, entry->name.reference.tag);
    else if (info.kind == INSPECTED_INDEX)
        look_below(search, &entry->descriptor, is_list(entry));
}

/* --- what belongs without saying to what --- */

static bool same_name(const struct layout_entry *a, const struct layout_entry *b)
{
    return a->named && b->named && reference_same_target(&a->name.reference, &b->name.reference);
}

static bool is_image(const struct search *search, const struct layout_entry *entry)
{
    const struct inspected info = inspect(search->inspector, &entry->descriptor, 0);
    return entry->kind == SUPPLEMENT_NONE && !archive_referrers_include(search->found, entry) &&
           (info.kind == INSPECTED_IMAGE || info.kind == INSPECTED_INDEX);
}

/* The image of the same name, else the only one. */
static bool find_companion(const struct search *search, const struct layout_entry *entry,
                           bool named_alike, struct digest *subject)
{
    size_t count = 0;
    for (size_t i = 0; i < search->layout->count; i++) {
        const struct layout_entry *other = &search->layout->entries[i];
        const struct digest *digest = &other->descriptor.digest;
        if (digest_equal(digest, &entry->descriptor.digest) || !is_image(search, other))
            continue;
        if (same_name(entry, other)) {
            *subject = *digest;
            return true;
        }
        count += count == 0 || !digest_equal(digest, subject);
        *subject = *digest;
    }
    return count == 1 && !named_alike;
}

/* What cosign's signature says it has signed. */
static bool read_payload(const struct search *search, const struct layout_entry *entry,
                         struct digest *subject)
{
    struct error ignored = ERROR_INIT;
    const struct inspected info = inspect(search->inspector, &entry->descriptor, 0);
    const struct catalog_entry *file =
        catalog_find_blob(search->inspector->catalog, &info.first_layer);
    autofree char *data = NULL;
    size_t size = 0;
    autojson json_t *root = NULL;
    if (file == NULL ||
        batch_read_all(search->inspector->batch, &file->content.digest, PAYLOAD_LIMIT_BYTES,
                       "payload", &data, &size, &ignored) != ERR_OK ||
        json_parse(data, size, PAYLOAD_LIMIT_BYTES, "payload", &root, &ignored) != ERR_OK)
        return false;
    const json_t *image = json_object_get(json_object_get(root, "critical"), "image");
    return digest_parse(json_text(image, "docker-manifest-digest"), subject, &ignored) == ERR_OK;
}

/* Cosign and hauler list an image and its signature beside each other, both under the image's name
 * or none, told apart by an annotation or by media types only. Those count where the entry has no
 * name of its own. */
static void look_for_supplement(struct search *search, const struct layout_entry *entry)
{
    struct digest subject = {0};
    char tag[REFERENCE_TAG_MAX + 1] = "";
    const struct inspected info = inspect(search->inspector, &entry->descriptor, 0);
    enum supplement kind = entry->kind ? entry->kind : info.supplement;
    if (archive_referrers_include(search->found, entry) || info.kind == INSPECTED_NOTHING ||
        (kind == SUPPLEMENT_NONE && entry->refers_to.algorithm == DIGEST_NONE))
        return;
    bool known = entry->refers_to.algorithm != DIGEST_NONE;
    if (known)
        subject = entry->refers_to;
    else if (entry->kind == SUPPLEMENT_NONE && entry->named)
        known = find_companion(search, entry, true, &subject);
    else
        known = (kind == SUPPLEMENT_SIGNATURE && read_payload(search, entry, &subject)) ||
                find_companion(search, entry, false, &subject);
    if (!known && entry->kind == SUPPLEMENT_NONE)
        return;
    if (!known)
        subject = (struct digest){0};
    else if (kind >= SUPPLEMENT_SIGNATURE && kind <= SUPPLEMENT_SBOM &&
             subject.algorithm == DIGEST_SHA256)
        cosign_tag(&subject, kind - SUPPLEMENT_SIGNATURE, tag);
    add(search->found, &entry->descriptor, &subject, tag);
}

void archive_referrers_find(struct inspector *inspector, const struct oci_layout *layout,
                            struct archive_referrers *out)
{
    struct search search = {.inspector = inspector, .layout = layout, .found = out};
    *out = (struct archive_referrers){0};
    if (layout->count < 2) /* there is nothing for it to belong to */
        return;
    for (size_t i = 0; i < layout->count && !cancelled(&search); i++)
        look_at(&search, &layout->entries[i]);
    for (size_t i = 0; i < layout->count && !cancelled(&search); i++)
        look_for_supplement(&search, &layout->entries[i]);
    digest_map_deinit(&search.lists);
    digest_map_deinit(&search.below);
}

void archive_referrers_deinit(struct archive_referrers *attachments)
{
    free(attachments->items);
    digest_map_deinit(&attachments->manifests);
    digest_map_deinit(&attachments->members);
    *attachments = (struct archive_referrers){0};
}

bool archive_referrers_include(const struct archive_referrers *attachments,
                               const struct layout_entry *entry)
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

static enum errc take(struct archive_referrer *item, struct assembly *assembly,
                      struct push_referrer *out, size_t *count, struct error *err)
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

static void log_left_behind(const struct archive_referrers *attachments,
                            const struct assembly *assembly)
{
    char text[DIGEST_TEXT_MAX];
    char subject[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < attachments->count; i++) {
        const struct archive_referrer *item = &attachments->items[i];
        if (!item->taken && digest_map_find(&assembly->replaced, &item->subject))
            log_warn("referrer %s is left out: %s, which it refers to, has a new digest because "
                     "layers were compressed",
                     digest_text(&item->manifest.digest, text),
                     digest_text(&item->subject, subject));
    }
}

/* Each subject's first item by its number from 1 on; the others of that subject hang on it. */
static void sort_by_subject(struct archive_referrers *attachments, struct digest_map *out)
{
    for (size_t i = attachments->count; i > 0; i--) {
        struct archive_referrer *item = &attachments->items[i - 1];
        struct digest_item *subject = digest_map_add(out, &item->subject);
        item->next = subject->number;
        subject->number = i;
    }
}

/* What the image needs grows while it is walked: what belongs to it is needed, too. */
static enum errc take_all(struct archive_referrers *attachments, const struct digest_map *subjects,
                          struct assembly *assembly, struct push_referrer *out, size_t *count,
                          struct error *err)
{
    for (const struct digest_item *used = assembly->used.first; used; used = used->next) {
        const struct digest_item *subject = digest_map_find(subjects, &used->digest);
        for (size_t number = subject ? subject->number : 0; number > 0;) {
            struct archive_referrer *item = &attachments->items[number - 1];
            if (!digest_map_find(&assembly->used, &item->manifest.digest) &&
                take(item, assembly, out, count, err) != ERR_OK)
                return err->code;
            number = item->next;
        }
    }
    return ERR_OK;
}

enum errc archive_referrers_assemble(struct archive_referrers *attachments,
                                     struct assembly *assembly, struct push_referrer **out,
                                     size_t *count, struct error *err)
{
    autofree struct push_referrer *referrers = xcalloc(attachments->count + 1, sizeof *referrers);
    struct digest_map subjects = {.first = NULL};
    size_t taken = 0;
    assembly->verbatim = true;
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
