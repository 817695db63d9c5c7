#include "upstream/push/known_blobs.h"

#include "base/lock.h"
#include "base/mem.h"

#include <search.h>

struct known_blobs {
    pthread_mutex_t lock;
    void *tree; /* tsearch tree of owned struct known_blob; the lock guards it */
};

struct known_blob {
    const struct endpoint *endpoint; /* compared, never followed */
    struct digest digest;
    struct layer_outcome *brought; /* owned: ahead of its manifest, and not counted yet; or NULL */
};

static int compare(const void *left, const void *right)
{
    const struct known_blob *a = left;
    const struct known_blob *b = right;
    if (a->endpoint != b->endpoint)
        return (uintptr_t)a->endpoint < (uintptr_t)b->endpoint ? -1 : 1;
    return digest_compare(&a->digest, &b->digest);
}

struct known_blobs *known_blobs_new(void)
{
    struct known_blobs *known = xcalloc(1, sizeof *known);
    pthread_mutex_init(&known->lock, NULL);
    return known;
}

static void free_blob(void *node)
{
    struct known_blob *blob = node;
    free(blob->brought);
    free(blob);
}

void known_blobs_free(struct known_blobs *known)
{
    if (known == NULL)
        return;
    tdestroy(known->tree, free_blob);
    pthread_mutex_destroy(&known->lock);
    free(known);
}

/* With the lock. */
static struct known_blob *add(struct known_blobs *known, const struct endpoint *endpoint,
                              const struct digest *digest)
{
    struct known_blob *blob = xcalloc(1, sizeof *blob);
    blob->endpoint = endpoint;
    blob->digest = *digest;
    struct known_blob **held = tsearch(blob, &known->tree, compare);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held != blob)
        free(blob);
    return *held;
}

void known_blobs_add(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    add(known, endpoint, digest);
}

void known_blobs_add_brought(struct known_blobs *known, const struct endpoint *endpoint,
                             const struct digest *digest, const struct layer_outcome *how)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    struct known_blob *blob = add(known, endpoint, digest);
    if (blob->brought == NULL)
        blob->brought = xmalloc(sizeof *blob->brought);
    *blob->brought = *how;
}

/* With the lock; NULL: not known. */
static struct known_blob *find(const struct known_blobs *known, const struct endpoint *endpoint,
                               const struct digest *digest)
{
    const struct known_blob blob = {.endpoint = endpoint, .digest = *digest};
    struct known_blob **held = tfind(&blob, &known->tree, compare);
    return held ? *held : NULL;
}

bool known_blobs_claim(struct known_blobs *known, const struct endpoint *endpoint,
                       const struct digest *digest, struct layer_outcome *how)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    struct known_blob *blob = find(known, endpoint, digest);
    if (blob == NULL || blob->brought == NULL)
        return false;
    *how = *blob->brought;
    free(blob->brought);
    blob->brought = NULL;
    return true;
}

bool known_blobs_has(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    return find(known, endpoint, digest) != NULL;
}
