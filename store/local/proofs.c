#include "store/local/proofs.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define LOOK_MS 500 /* how often one that waits looks whether it is cancelled */

struct finding {
    struct digest digest;
    int64_t at_ms;
    bool wrong;
};

struct proofs {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    struct proof *under_way;
    struct finding *findings; /* owned */
    size_t count;
    size_t capacity;
    /* By place: the number of its finding, from 1; 0: it has none. They are apart because digests
     * are all over the places: findings would each have a page of their own. */
    uint16_t places[PROOFS_MAX];
};

static_assert(PROOFS_MAX <= UINT16_MAX, "the number of findings fits a place");

struct proofs *proofs_new(void)
{
    struct proofs *proofs = xcalloc(1, sizeof *proofs);
    pthread_mutex_init(&proofs->lock, NULL);
    clock_cond_init(&proofs->ended);
    return proofs;
}

void proofs_free(struct proofs *proofs)
{
    pthread_cond_destroy(&proofs->ended);
    pthread_mutex_destroy(&proofs->lock);
    free(proofs->findings);
    free(proofs);
}

static size_t place_of(const struct digest *digest)
{
    uint32_t hash;
    memcpy(&hash, digest->bytes, sizeof hash);
    return hash % PROOFS_MAX;
}

/* With the lock. NULL: nothing is known of it. */
static const struct finding *find(const struct proofs *proofs, const struct digest *digest)
{
    size_t number = proofs->places[place_of(digest)];
    const struct finding *found = number > 0 ? &proofs->findings[number - 1] : NULL;
    return found && digest_equal(&found->digest, digest) ? found : NULL;
}

/* With the lock. */
static void note(struct proofs *proofs, const struct digest *digest, bool wrong)
{
    uint16_t *place = &proofs->places[place_of(digest)];
    if (*place == 0) {
        proofs->findings =
            mem_grow(proofs->findings, proofs->count, &proofs->capacity, sizeof *proofs->findings);
        *place = (uint16_t)++proofs->count;
    }
    proofs->findings[*place - 1] =
        (struct finding){.digest = *digest, .at_ms = clock_ms(), .wrong = wrong};
}

void proofs_note(struct proofs *proofs, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&proofs->lock);
    note(proofs, digest, false);
}

void proofs_refute(struct proofs *proofs, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&proofs->lock);
    note(proofs, digest, true);
}

bool proofs_refuted(struct proofs *proofs, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&proofs->lock);
    const struct finding *finding = find(proofs, digest);
    return finding && finding->wrong;
}

static bool is_under_way(const struct proofs *proofs, const struct digest *digest)
{
    for (const struct proof *proof = proofs->under_way; proof != NULL; proof = proof->next)
        if (digest_equal(proof->digest, digest))
            return true;
    return false;
}

static bool is_proved_since(const struct proofs *proofs, const struct digest *digest,
                            int64_t since_ms)
{
    const struct finding *finding = find(proofs, digest);
    return finding && !finding->wrong && finding->at_ms > since_ms;
}

enum errc proofs_begin(struct proofs *proofs, const struct digest *digest, int64_t age_ms,
                       const struct cancel *cancel, struct proof *proof, bool *wanted,
                       struct error *err)
{
    int64_t since_ms = clock_ms() - age_ms;
    enum errc rc = ERR_OK;
    autolock pthread_mutex_t *held = lock_take(&proofs->lock);
    while (rc == ERR_OK && is_under_way(proofs, digest)) {
        struct timespec until = clock_deadline(LOOK_MS);
        pthread_cond_timedwait(&proofs->ended, &proofs->lock, &until);
        rc = cancel_check(cancel, err);
    }
    *wanted = rc == ERR_OK && !is_proved_since(proofs, digest, since_ms);
    if (*wanted) {
        *proof = (struct proof){.digest = digest, .next = proofs->under_way};
        proofs->under_way = proof;
    }
    return rc;
}

void proofs_end(struct proofs *proofs, struct proof *proof, bool right)
{
    autolock pthread_mutex_t *held = lock_take(&proofs->lock);
    struct proof **at = &proofs->under_way;
    while (*at != proof)
        at = &(*at)->next;
    *at = proof->next;
    if (right)
        note(proofs, proof->digest, false);
    pthread_cond_broadcast(&proofs->ended);
}
