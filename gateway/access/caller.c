#include "gateway/access/caller.h"

#include "base/mem.h"
#include "gateway/http/peer.h"
#include "image/digest.h"

#include <stdio.h>
#include <string.h>

_Static_assert(PUSH_BY_NAME_MAX == IDENTITY_NAME_MAX, "a push has room for any name");

struct caller *caller_new(enum caller_proof proof, struct identity *identity)
{
    struct caller *caller = xcalloc(1, sizeof *caller);
    atomic_init(&caller->references, 1);
    caller->proof = proof;
    caller->identity = *identity;
    *identity = (struct identity)IDENTITY_INIT;
    return caller;
}

struct caller *caller_ref(struct caller *caller)
{
    if (caller)
        atomic_fetch_add(&caller->references, 1);
    return caller;
}

void caller_unref(struct caller *caller)
{
    if (caller == NULL || atomic_fetch_sub(&caller->references, 1) > 1)
        return;
    for (size_t i = 0; i < caller->grant_count; i++)
        free(caller->grants[i].repository);
    free(caller->grants);
    identity_deinit(&caller->identity);
    if (caller->rules)
        caller->let_go(caller->rules);
    free(caller);
}

bool caller_share(const struct caller *caller, struct net_address *out)
{
    const struct identity *identity = &caller->identity;
    if (identity->name == NULL)
        return false;
    autofree char *text = xasprintf("%s %s", identity_kind_name(identity->kind), identity->name);
    const struct digest digest = digest_of(DIGEST_SHA256, text, strlen(text));
    memcpy(out->bytes, digest.bytes, sizeof out->bytes);
    out->bytes[0] = PEER_SHARE_PREFIX;
    return true;
}

void caller_by(const struct caller *caller, struct push_by *out)
{
    *out = (struct push_by){.kind = ""};
    if (caller == NULL)
        return;
    const struct identity *identity = &caller->identity;
    snprintf(out->kind, sizeof out->kind, "%s", identity_kind_name(identity->kind));
    snprintf(out->name, sizeof out->name, "%s", identity->name ? identity->name : "");
}

void caller_grant(struct caller *caller, const char *repository, unsigned operations)
{
    if (caller->grant_count == CALLER_GRANTS_MAX)
        return;
    if (caller->grants == NULL)
        caller->grants = xcalloc(CALLER_GRANTS_MAX, sizeof *caller->grants);
    caller->grants[caller->grant_count++] =
        (struct caller_grant){.repository = xstrdup(repository), .operations = operations};
}

bool caller_is_granted(const struct caller *caller, enum operation operation,
                       const char *repository)
{
    unsigned wanted = 1U << (operation == OPERATION_TAG_MOVE ? OPERATION_PUSH : operation);
    if (caller->proof != PROOF_TOKEN)
        return true;
    for (size_t i = 0; i < caller->grant_count; i++)
        if ((caller->grants[i].operations & wanted) &&
            strcmp(caller->grants[i].repository, repository) == 0)
            return true;
    return false;
}
