/*
 * Who a request is of, as a value: made by the source that has verified it (a password, a token, a
 * certificate, a proof of an identity provider), and what the policy is asked with.
 *
 * Names of users come from clients.htpasswd, those of robots from the store, those of CI jobs from
 * the mapping of clients.oidc that their claims met. A name says which kind it is of: "robot:NAME",
 * "cert:SUBJECT"; neither a user nor a mapping may be called so.
 *
 * Ownership: identity_deinit() frees what it points to; copies are deep. IDENTITY_INIT is nobody in
 * particular (anonymous). Any thread may read one that nobody writes.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_IDENTITY_H
#define SLIPWAY_GATEWAY_ACCESS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_NAME_MAX 255  /* bytes, with "robot:" and the like */
#define IDENTITY_GROUPS_MAX 64 /* that a mapping gives */

/* The numbers are in tokens and in the audit stream as names (identity_kind_name()). */
enum identity_kind {
    IDENTITY_ANONYMOUS,
    IDENTITY_USER,        /* a name of clients.htpasswd */
    IDENTITY_ROBOT,       /* "robot:NAME" of the store */
    IDENTITY_CI,          /* the identity of a mapping of clients.oidc */
    IDENTITY_CERTIFICATE, /* "cert:SUBJECT" or "cert:URI" of tls.client_ca */
    IDENTITY_OPERATOR,    /* whoever may open control.sock; may do everything */
};

struct identity {
    enum identity_kind kind;
    char *name;    /* owned; NULL for ANONYMOUS and OPERATOR */
    char *issuer;  /* owned; of CI: the name of the entry of clients.oidc; else NULL */
    char **groups; /* owned; those that a mapping gave; groups of clients.groups are not here */
    size_t group_count;
    char *claims; /* owned; of CI: the claims that the mapping looked at, as a JSON object; else
                     NULL: for the audit stream */
};

#define IDENTITY_INIT                                                                              \
    {                                                                                              \
        .kind = IDENTITY_ANONYMOUS                                                                 \
    }

void identity_deinit(struct identity *identity); /* leaves IDENTITY_INIT */
/* Whatever `out` held is not freed. */
void identity_copy(const struct identity *from, struct identity *out);
/* Its name for people and lines of the log: "ann", "anonymous", "operator". Borrowed. */
const char *identity_text(const struct identity *identity);
/* "anonymous", "user", "robot", "ci", "certificate", "operator". */
const char *identity_kind_name(enum identity_kind kind);
bool identity_kind_by_name(const char *name, enum identity_kind *out);

#define autoidentity __attribute__((cleanup(identity_deinit)))

#endif
