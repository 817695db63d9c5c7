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
#define PROOF UINT64_MAX /* a generation that no file has */

struct entry {
    uint8_t hmac[HMAC_SIZE];
    uint64_t generation;
    int64_t until_ms;         /* 0: there is none */
    struct identity identity; /* owned; of a proof */
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
    for (size_t i = 0; i < LOGIN_CACHE_MAX; i++)
        identity_deinit(&cache->entries[i / WAYS][i % WAYS].identity);
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

/* Of a proof the identity is copied; `out` may be NULL. */
static bool find(struct login_cache *cache, const char *name, const char *password,
                 uint64_t generation, int64_t now_ms, struct identity *out)
{
    uint8_t hmac[HMAC_SIZE];
    const struct entry *found = NULL;
    const struct entry *set = place_of(cache, name, password, hmac);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    for (size_t i = 0; i < WAYS; i++)
        if (CRYPTO_memcmp(set[i].hmac, hmac, HMAC_SIZE) == 0 && set[i].until_ms > now_ms &&
            set[i].generation == generation)
            found = &set[i];
    if (found && out)
        identity_copy(&found->identity, out);
    return found != NULL;
}

static struct entry *add(struct entry *set, const uint8_t hmac[HMAC_SIZE])
{
    struct entry *oldest = set;
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    for (size_t i = 0; i < WAYS; i++)
        if (CRYPTO_memcmp(set[i].hmac, hmac, HMAC_SIZE) == 0)
            oldest = &set[i];
    memcpy(oldest->hmac, hmac, HMAC_SIZE);
    identity_deinit(&oldest->identity);
    return oldest;
}

bool login_cache_has(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms)
{
    return find(cache, name, password, generation, now_ms, NULL);
}

void login_cache_add(struct login_cache *cache, const char *name, const char *password,
                     uint64_t generation, int64_t now_ms)
{
    uint8_t hmac[HMAC_SIZE];
    struct entry *set = place_of(cache, name, password, hmac);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    struct entry *entry = add(set, hmac);
    entry->generation = generation;
    entry->until_ms = now_ms + LOGIN_CACHE_MS;
}

bool login_cache_find_proof(struct login_cache *cache, const char *proof, int64_t now_ms,
                            struct identity *out)
{
    return find(cache, "", proof, PROOF, now_ms, out);
}

void login_cache_add_proof(struct login_cache *cache, const char *proof,
                           const struct identity *identity, int64_t now_ms)
{
    uint8_t hmac[HMAC_SIZE];
    struct entry *set = place_of(cache, "", proof, hmac);
    autolock pthread_mutex_t *held = lock_take(&cache->lock);
    struct entry *entry = add(set, hmac);
    entry->generation = PROOF;
    entry->until_ms = now_ms + LOGIN_CACHE_PROOF_MS;
    identity_copy(identity, &entry->identity);
}
