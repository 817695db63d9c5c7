#include "image/digest_map.h"

#include "base/mem.h"

#include <search.h>

/* The digest is the first member of an item. */
static int compare(const void *a, const void *b)
{
    return digest_compare(a, b);
}

static void nothing(void *item)
{
    (void)item;
}

void digest_map_deinit(struct digest_map *map)
{
    tdestroy(map->tree, nothing);
    while (map->first) {
        struct digest_item *next = map->first->next;
        free(map->first);
        map->first = next;
    }
    *map = (struct digest_map){.first = NULL};
}

struct digest_item *digest_map_find(const struct digest_map *map, const struct digest *digest)
{
    struct digest_item **found = tfind(digest, &map->tree, compare);
    return found ? *found : NULL;
}

struct digest_item *digest_map_add(struct digest_map *map, const struct digest *digest)
{
    struct digest_item *item = digest_map_find(map, digest);
    if (item)
        return item;
    item = xcalloc(1, sizeof *item);
    item->digest = *digest;
    if (tsearch(item, &map->tree, compare) == NULL)
        abort(); /* as xcalloc() */
    if (map->last)
        map->last->next = item;
    else
        map->first = item;
    map->last = item;
    return item;
}
