#include "gateway/access/caller_cache.h"

#include "base/lock.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 32
#define MARK_BYTES 32
#define WAYS 4
#define SETS (CALLER_CACHE_MAX / WAYS)

struct entry {
    uint8_t mark[MARK_BYTES];
    struct caller *caller; /* NULL: free */
    int64_t until_ms;
};

struct caller_cache {
    uint8_t key[KEY_BYTES];
    pthread_mutex_t lock; /* guards what follows */
    struct entry entries[SETS][WAYS];
};

struct caller_cache *caller_cache_new(void)
{
    struct caller_cache *cache = xcalloc(1, sizeof *cache);
    arc4random_buf(cache->key, sizeof cache->key);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void caller_cache_free(struct caller_cache *cache)
{
    if (cache == NULL)
        return;
    caller_cache_clear(cache);
    pthread_mutex_destroy(&cache->lock);
    explicit_bzero(cache->key, sizeof cache->key);
    free(cache);
}

/* Name, NUL, password: no name has a NUL. */
static struct entry *mark_of(struct caller_cache *cache, const char *name, const char *password,
                             uint8_t mark[MARK_BYTES])
{
    size_t name_size = strlen(name) + 1;
    size_t size = name_size + strlen(password);
    unsigned made = 0;
    autofree uint8_t *text = xmalloc(size);
    memcpy(text, name, name_size);
    memcpy(text + name_size, password, size - name_size);
    HMAC(EVP_sha256(), cache->key, KEY_BYTES, text, size, mark, &made);
    explicit_bzero(text, size);
    return cache->entries[(mark[0] | (unsigned)mark[1] << 8) % SETS];
}

struct caller *caller_cache_find(struct caller_cache *cache, const char *name, const char *password,
                                 int64_t now_ms)
{
    uint8_t mark[MARK_BYTES];
    struct entry *set = mark_of(cache, name, password, mark);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].caller && set[i].until_ms > now_ms &&
            CRYPTO_memcmp(set[i].mark, mark, MARK_BYTES) == 0)
            return caller_ref(set[i].caller);
    return NULL;
}

void caller_cache_add(struct caller_cache *cache, const char *name, const char *password,
                      struct caller *caller, int64_t now_ms)
{
    uint8_t mark[MARK_BYTES];
    struct entry *set = mark_of(cache, name, password, mark);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    struct entry *oldest = set;
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    caller_unref(oldest->caller);
    memcpy(oldest->mark, mark, MARK_BYTES);
    oldest->caller = caller_ref(caller);
    oldest->until_ms = now_ms + CALLER_CACHE_MS;
}

void caller_cache_clear(struct caller_cache *cache)
{
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    for (size_t i = 0; i < SETS; i++)
        for (size_t w = 0; w < WAYS; w++) {
            caller_unref(cache->entries[i][w].caller);
            cache->entries[i][w] = (struct entry){.caller = NULL};
        }
}
