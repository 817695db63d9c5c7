/*
 * The catalog of an archive: what was found under which name while it was read.
 *
 * Archives name their parts before or after they describe them, so everything that passes is
 * entered here, and only when the archive has ended is it asked for: by name, or by the digest of
 * its bytes, whatever its name is. Two entries of one name are one when they have the same bytes;
 * else which of them is meant would be up to the reader. One entry is a few hundred bytes;
 * CATALOG_ENTRIES_MAX and CATALOG_NAMES_MAX bound the whole.
 *
 * Used by one thread at a time. Entries are borrowed until catalog_free.
 */
#ifndef SLIPWAY_IMAGE_CATALOG_H
#define SLIPWAY_IMAGE_CATALOG_H

#include "image/layer.h"

#define CATALOG_ENTRIES_MAX 20000
#define CATALOG_NAMES_MAX ((size_t)4 << 20) /* bytes of all names and link targets together */
#define CATALOG_LINKS_MAX 16                /* links followed for one name */

struct catalog_entry {
    char *name;
    char *target;                /* of a link; NULL for a file */
    struct layer_result content; /* of a file */
};

struct catalog;
struct catalog *catalog_new(void);
void catalog_free(struct catalog *catalog);

/* Enter a file or a link; names are copied. ERR_ENTRY_DUPLICATE names the entry that comes twice
 * with different bytes, or a link beside something that is not there yet; ERR_ARCHIVE_TOO_LARGE
 * when the archive has too many entries. */
enum errc catalog_add_file(struct catalog *catalog, const char *name,
                           const struct layer_result *content, struct error *err);
enum errc catalog_add_link(struct catalog *catalog, const char *name, const char *target,
                           struct error *err);

/* The file that `name` stands for, links followed; NULL when there is none. ERR_LINK_INVALID for a
 * loop. */
enum errc catalog_find(const struct catalog *catalog, const char *name,
                       const struct catalog_entry **out, struct error *err);

/* The first file whose bytes have this digest: sha256, or the algorithm that its name has
 * (`blobs/sha512/HEX`). NULL when there is none. */
const struct catalog_entry *catalog_find_blob(const struct catalog *catalog,
                                              const struct digest *digest);

/* ERR_LINK_INVALID when following any link of the archive never ends. */
enum errc catalog_check_links(const struct catalog *catalog, struct error *err);

/* All entries in the order of the archive. */
size_t catalog_count(const struct catalog *catalog);
const struct catalog_entry *catalog_at(const struct catalog *catalog, size_t index);

#endif
