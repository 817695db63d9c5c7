#include "gateway/access/login_cache.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define WAYS 4
#define SETS (LOGIN_CACHE_MAX / WAYS)
#define HMAC_SIZE 32

struct entry {
    uint8_t hmac[HMAC_SIZE];
    uint64_t generation;
    int64_t until_ms; /* 0: there is none */
};

struct login_cache {
    uint8_t key[HMAC_SIZE];
    pthread_mutex_t lock; /* guards the entries */
    struct entry entries[SETS][WAYS];
};

struct login_cache *login_cache_new(void)
{
    struct login_cache *cache = xcalloc(1, sizeof *cache);
    bool made = RAND_bytes(cache->key, sizeof cache->key) == 1;
    assert(made);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void login_cache_free(struct login_cache *cache)
{
    if (cache == NULL)
        return;
    pthread_mutex_destroy(&cache->lock);
    explicit_bzero(cache, sizeof *cache);
    free(cache);
}

/* Name, NUL, password; returns the entries where it may be. */
static struct entry *place_of(struct login_cache *cache, const char *name, const char *password,
                              uint8_t hmac[HMAC_SIZE])
{
    size_t head = strlen(name) + 1;
    size_t size = head + strlen(password);
    char *text = xmalloc(size + 1);
    memcpy(text, name, head);
    memcpy(text + head, password, size - head + 1);
    const uint8_t *made =
        HMAC(EVP_sha256(), cache->key, sizeof cache->key, (const uint8_t *)text, size, hmac, NULL);
    assert(made);
    explicit_bzero(text, size);
    free(text);
    return cache->entries[hmac[0] % SETS];
}

bool login_cache_has(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms)
{
    uint8_t hmac[HMAC_SIZE];
    bool found = false;
    const struct entry *set = place_of(cache, name, password, hmac);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    for (size_t i = 0; i < WAYS; i++)
        found = (CRYPTO_memcmp(set[i].hmac, hmac, HMAC_SIZE) == 0 && set[i].until_ms > now_ms &&
                 set[i].generation == generation) ||
                found;
    return found;
}

void login_cache_add(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms)
{
    uint8_t hmac[HMAC_SIZE];
    struct entry *set = place_of(cache, name, password, hmac);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    struct entry *oldest = set;
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    for (size_t i = 0; i < WAYS; i++)
        if (CRYPTO_memcmp(set[i].hmac, hmac, HMAC_SIZE) == 0)
            oldest = &set[i];
    memcpy(oldest->hmac, hmac, HMAC_SIZE);
    oldest->generation = generation;
    oldest->until_ms = now_ms + LOGIN_CACHE_MS;
}
