/*
 * Whom a request is of and what was shown for it: found out when its headers are there (access.h),
 * the same until the request ends. What goes on after its exchange takes a reference.
 *
 * A token that ends while its request runs changes nothing: it was valid when the request began.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CALLER_H
#define SLIPWAY_GATEWAY_ACCESS_CALLER_H

#include "base/net.h"
#include "gateway/access/identity.h"
#include "gateway/access/policy.h"
#include "store/push.h"

#include <stdatomic.h>

enum caller_proof {
    PROOF_NONE,        /* nothing: anonymous */
    PROOF_PASSWORD,    /* Basic: a password, or what stands in its place */
    PROOF_TOKEN,       /* Bearer: a token of the gateway */
    PROOF_CERTIFICATE, /* of the client, of the connection */
    PROOF_SOCKET,      /* control.sock */
};

/* What a token gives: these operations in one repository, as bits (1U << OPERATION_PULL). */
struct caller_grant {
    char *repository; /* owned */
    unsigned operations;
};

#define CALLER_GRANTS_MAX 64

struct rules;

struct caller {
    atomic_uint references;
    struct identity identity; /* owned */
    enum caller_proof proof;
    struct caller_grant *grants; /* owned; of PROOF_TOKEN */
    size_t grant_count;
    struct rules *rules;                 /* by which it is judged; NULL: by those that count now */
    void (*let_go)(struct rules *rules); /* of the rules; not NULL with them */
};

/* With one reference. `identity` is taken. */
struct caller *caller_new(enum caller_proof proof, struct identity *identity);
struct caller *caller_ref(struct caller *caller); /* NULL stays NULL */
void caller_unref(struct caller *caller);         /* NULL is a no-op */

/* What places are shared by (gateway/http/peer.h): the same for all requests of its identity, and
 * no other's. False for those that are nobody in particular. */
bool caller_share(const struct caller *caller, struct net_address *out);

/* As what it asks for remembers it; NULL: that nobody was asked. */
void caller_by(const struct caller *caller, struct push_by *out);

/* Of PROOF_TOKEN; more than CALLER_GRANTS_MAX are left out. */
void caller_grant(struct caller *caller, const char *repository, unsigned operations);
/* Does its token, if that is what it has shown, give this? Moving a tag is part of a push there. */
bool caller_is_granted(const struct caller *caller, enum operation operation,
                       const char *repository);

#endif
