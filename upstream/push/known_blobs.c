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
    uint64_t credit_bytes; /* sent ahead, and not counted yet */
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

void known_blobs_free(struct known_blobs *known)
{
    if (known == NULL)
        return;
    tdestroy(known->tree, free);
    pthread_mutex_destroy(&known->lock);
    free(known);
}

void known_blobs_add(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest)
{
    struct known_blob *blob = xmalloc(sizeof *blob);
    *blob = (struct known_blob){.endpoint = endpoint, .digest = *digest};
    pthread_mutex_lock(&known->lock);
    struct known_blob **held = tsearch(blob, &known->tree, compare);
    bool was_there = held == NULL || *held != blob;
    pthread_mutex_unlock(&known->lock);
    if (was_there)
        free(blob);
}

/* With the lock; NULL: not known. */
static struct known_blob *find(const struct known_blobs *known, const struct endpoint *endpoint,
                               const struct digest *digest)
{
    const struct known_blob blob = {.endpoint = endpoint, .digest = *digest};
    struct known_blob **held = tfind(&blob, &known->tree, compare);
    return held ? *held : NULL;
}

void known_blobs_credit(struct known_blobs *known, const struct endpoint *endpoint,
                        const struct digest *digest, uint64_t sent_bytes)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    struct known_blob *blob = find(known, endpoint, digest);
    if (blob)
        blob->credit_bytes = sent_bytes;
}

bool known_blobs_claim(struct known_blobs *known, const struct endpoint *endpoint,
                       const struct digest *digest, uint64_t *sent_bytes)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    struct known_blob *blob = find(known, endpoint, digest);
    if (blob == NULL || blob->credit_bytes == 0)
        return false;
    *sent_bytes = blob->credit_bytes;
    blob->credit_bytes = 0;
    return true;
}

bool known_blobs_has(struct known_blobs *known, const struct endpoint *endpoint,
                     const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&known->lock);
    return find(known, endpoint, digest) != NULL;
}
