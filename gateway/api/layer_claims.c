#include "gateway/api/layer_claims.h"

#include "base/lock.h"
#include "base/mem.h"
#include "gateway/access/access.h"

#include <string.h>

#define WAYS 4
#define SETS (LAYER_CLAIMS_MAX / WAYS)

struct layer_claims {
    pthread_mutex_t lock; /* guards what follows */
    struct digest sets[SETS][WAYS];
    unsigned char next[SETS]; /* the oldest of the set */
};

struct layer_claims *layer_claims_new(void)
{
    struct layer_claims *claims = xcalloc(1, sizeof *claims);
    pthread_mutex_init(&claims->lock, NULL);
    return claims;
}

void layer_claims_free(struct layer_claims *claims)
{
    if (claims == NULL)
        return;
    pthread_mutex_destroy(&claims->lock);
    free(claims);
}

static struct digest claim_of(const struct caller *caller, const struct digest *diff_id)
{
    struct digester *digester = digester_new(DIGEST_SHA256);
    const char *kind = identity_kind_name(caller->identity.kind);
    const char *name = identity_text(&caller->identity);
    digester_update(digester, kind, strlen(kind) + 1);
    digester_update(digester, name, strlen(name) + 1);
    digester_update(digester, diff_id->bytes, digest_size(diff_id->algorithm));
    struct digest claim = digester_finish(digester);
    digester_free(digester);
    return claim;
}

static size_t set_of(const struct digest *claim)
{
    return (claim->bytes[0] | (size_t)claim->bytes[1] << 8) % SETS;
}

static bool find_locked(struct layer_claims *claims, const struct digest *claim)
{
    const struct digest *set = claims->sets[set_of(claim)];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].algorithm != DIGEST_NONE && digest_equal(&set[i], claim))
            return true;
    return false;
}

void layer_claims_add(struct gateway *gateway, const struct caller *caller,
                      const struct digest *diff_id)
{
    struct layer_claims *claims = gateway->layer_claims;
    if (caller == NULL || !access_is_on(gateway->access))
        return;
    const struct digest claim = claim_of(caller, diff_id);
    size_t set = set_of(&claim);
    autolock pthread_mutex_t *held = lock_take(&claims->lock);
    if (find_locked(claims, &claim))
        return;
    claims->sets[set][claims->next[set]] = claim;
    claims->next[set] = (unsigned char)((claims->next[set] + 1) % WAYS);
}

bool layer_claims_has(const struct gateway *gateway, const struct caller *caller,
                      const struct digest *diff_id)
{
    struct layer_claims *claims = gateway->layer_claims;
    if (caller == NULL ||
        access_ask(gateway->access, caller, OPERATION_PULL, "", NULL) == ACCESS_YES)
        return true;
    const struct digest claim = claim_of(caller, diff_id);
    autolock pthread_mutex_t *held = lock_take(&claims->lock);
    return find_locked(claims, &claim);
}
