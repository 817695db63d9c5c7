#include "image/catalog.h"

#include "base/mem.h"
#include "image/digest_map.h"

#include <string.h>

#define SLOTS_MIN 64

struct catalog {
    struct catalog_entry **entries; /* in the order of the archive */
    size_t count;
    size_t capacity;
    size_t name_bytes;
    uint32_t *slots;            /* open addressing: index + 1 into entries, 0 = free */
    size_t slot_count;          /* a power of two, at most half full */
    struct digest_map contents; /* of the files: the first one's index + 1 */
};

struct catalog *catalog_new(void)
{
    struct catalog *catalog = xcalloc(1, sizeof *catalog);
    catalog->slot_count = SLOTS_MIN;
    catalog->slots = xcalloc(SLOTS_MIN, sizeof *catalog->slots);
    return catalog;
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t i = 0; i < catalog->count; i++) {
        free(catalog->entries[i]->name);
        free(catalog->entries[i]->target);
        free(catalog->entries[i]);
    }
    free(catalog->entries);
    free(catalog->slots);
    digest_map_deinit(&catalog->contents);
    free(catalog);
}

/* FNV-1a. A sender who makes names collide slows only its own upload: CATALOG_ENTRIES_MAX bounds
 * it. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *slot_of(const struct catalog *catalog, const char *name)
{
    size_t mask = catalog->slot_count - 1;
    for (size_t at = hash_name(name) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &catalog->slots[at];
        if (*slot == 0 || strcmp(catalog->entries[*slot - 1]->name, name) == 0)
            return slot;
    }
}

static void grow(struct catalog *catalog)
{
    catalog->entries = mem_grow(catalog->entries, catalog->count, &catalog->capacity,
                                sizeof(struct catalog_entry *));
    if (2 * (catalog->count + 1) <= catalog->slot_count)
        return;
    free(catalog->slots);
    catalog->slot_count *= 2;
    catalog->slots = xcalloc(catalog->slot_count, sizeof *catalog->slots);
    for (size_t i = 0; i < catalog->count; i++)
        *slot_of(catalog, catalog->entries[i]->name) = (uint32_t)(i + 1);
}

/* The last entry has these bytes. */
static void note_content(struct catalog *catalog, const struct digest *digest)
{
    struct digest_item *item = digest_map_add(&catalog->contents, digest);
    if (item->number == 0)
        item->number = catalog->count;
}

static enum errc add(struct catalog *catalog, const char *name, const char *target,
                     const struct layer_result *content, struct error *err)
{
    size_t bytes = strlen(name) + (target ? strlen(target) : 0);
    if (catalog->count == CATALOG_ENTRIES_MAX || catalog->name_bytes + bytes > CATALOG_NAMES_MAX)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the archive has more than %d entries or %zu bytes of names, at \"%.200s\"",
                    CATALOG_ENTRIES_MAX, CATALOG_NAMES_MAX, name);
    grow(catalog);
    struct catalog_entry *entry = xcalloc(1, sizeof *entry);
    entry->name = xstrdup(name);
    entry->target = target ? xstrdup(target) : NULL;
    if (content)
        entry->content = *content;
    catalog->name_bytes += bytes;
    catalog->entries[catalog->count++] = entry;
    *slot_of(catalog, name) = (uint32_t)catalog->count;
    if (content)
        note_content(catalog, &content->raw);
    return ERR_OK;
}

/* A name that is there already: is it the same bytes? A hard link may name itself, which is how GNU
 * tar writes a file that it was told twice. */
static enum errc add_again(const struct catalog *catalog, const char *name,
                           const struct layer_result *content, struct error *err)
{
    const struct catalog_entry *have = NULL;
    if (catalog_find(catalog, name, &have, err) != ERR_OK)
        return err->code;
    if (have && content && digest_equal(&have->content.diff_id, &content->diff_id))
        return ERR_OK;
    return fail(err, ERR_ENTRY_DUPLICATE, 0,
                "the archive has two entries named \"%.200s\", with different content", name);
}

enum errc catalog_add_file(struct catalog *catalog, const char *name,
                           const struct layer_result *content, struct error *err)
{
    return *slot_of(catalog, name) ? add_again(catalog, name, content, err)
                                   : add(catalog, name, NULL, content, err);
}

enum errc catalog_add_link(struct catalog *catalog, const char *name, const char *target,
                           struct error *err)
{
    const struct catalog_entry *found = NULL;
    uint32_t index = *slot_of(catalog, name);
    if (index == 0)
        return add(catalog, name, target, NULL, err);
    const char *have = catalog->entries[index - 1]->target;
    if (have && strcmp(have, target) == 0)
        return ERR_OK;
    if (catalog_find(catalog, target, &found, err) != ERR_OK)
        return err->code;
    return add_again(catalog, name, found ? &found->content : NULL, err);
}

enum errc catalog_find(const struct catalog *catalog, const char *name,
                       const struct catalog_entry **out, struct error *err)
{
    const char *at = name;
    for (int links = 0; links <= CATALOG_LINKS_MAX; links++) {
        uint32_t index = *slot_of(catalog, at);
        const struct catalog_entry *entry = index ? catalog->entries[index - 1] : NULL;
        if (entry == NULL || entry->target == NULL) {
            *out = entry;
            return ERR_OK;
        }
        at = entry->target;
    }
    return fail(err, ERR_LINK_INVALID, 0,
                "the link \"%.200s\" goes round in a circle (more than %d links)", name,
                CATALOG_LINKS_MAX);
}

const struct catalog_entry *catalog_find_blob(const struct catalog *catalog,
                                              const struct digest *digest)
{
    const struct digest_item *item = digest_map_find(&catalog->contents, digest);
    return item ? catalog->entries[item->number - 1] : NULL;
}

enum errc catalog_check_links(const struct catalog *catalog, struct error *err)
{
    const struct catalog_entry *found = NULL;
    for (size_t i = 0; i < catalog->count; i++)
        if (catalog->entries[i]->target &&
            catalog_find(catalog, catalog->entries[i]->name, &found, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

size_t catalog_count(const struct catalog *catalog)
{
    return catalog->count;
}

const struct catalog_entry *catalog_at(const struct catalog *catalog, size_t index)
{
    return catalog->entries[index];
}
