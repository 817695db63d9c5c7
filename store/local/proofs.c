#include "store/local/proofs.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define LOOK_MS 500 /* how often one that waits looks whether it is cancelled */

struct place {
    struct digest digest;
    int64_t at_ms;
    bool wrong;
};

struct proofs {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    struct proof *under_way;
    struct place *places; /* owned */
};

struct proofs *proofs_new(void)
{
    struct proofs *proofs = xcalloc(1, sizeof *proofs);
    pthread_mutex_init(&proofs->lock, NULL);
    clock_cond_init(&proofs->ended);
    proofs->places = xcalloc(PROOFS_MAX, sizeof *proofs->places);
    return proofs;
}

void proofs_free(struct proofs *proofs)
{
    pthread_cond_destroy(&proofs->ended);
    pthread_mutex_destroy(&proofs->lock);
    free(proofs->places);
    free(proofs);
}

static struct place *place_of(const struct proofs *proofs, const struct digest *digest)
{
    uint32_t hash;
    memcpy(&hash, digest->bytes, sizeof hash);
    return &proofs->places[hash % PROOFS_MAX];
}

/* With the lock. */
static void note(const struct proofs *proofs, const struct digest *digest, bool wrong)
{
    *place_of(proofs, digest) =
        (struct place){.digest = *digest, .at_ms = clock_ms(), .wrong = wrong};
}

void proofs_note(struct proofs *proofs, const struct digest *digest)
{
    pthread_mutex_lock(&proofs->lock);
    note(proofs, digest, false);
    pthread_mutex_unlock(&proofs->lock);
}

void proofs_refute(struct proofs *proofs, const struct digest *digest)
{
    pthread_mutex_lock(&proofs->lock);
    note(proofs, digest, true);
    pthread_mutex_unlock(&proofs->lock);
}

bool proofs_refuted(struct proofs *proofs, const struct digest *digest)
{
    pthread_mutex_lock(&proofs->lock);
    const struct place *place = place_of(proofs, digest);
    bool refuted = place->wrong && digest_equal(&place->digest, digest);
    pthread_mutex_unlock(&proofs->lock);
    return refuted;
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
    const struct place *place = place_of(proofs, digest);
    return !place->wrong && place->at_ms > since_ms && digest_equal(&place->digest, digest);
}

enum errc proofs_begin(struct proofs *proofs, const struct digest *digest, int64_t age_ms,
                       const struct cancel *cancel, struct proof *proof, bool *wanted,
                       struct error *err)
{
    int64_t since_ms = clock_ms() - age_ms;
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&proofs->lock);
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
    pthread_mutex_unlock(&proofs->lock);
    return rc;
}

void proofs_end(struct proofs *proofs, struct proof *proof, bool right)
{
    pthread_mutex_lock(&proofs->lock);
    struct proof **at = &proofs->under_way;
    while (*at != proof)
        at = &(*at)->next;
    *at = proof->next;
    if (right)
        note(proofs, proof->digest, false);
    pthread_cond_broadcast(&proofs->ended);
    pthread_mutex_unlock(&proofs->lock);
}
