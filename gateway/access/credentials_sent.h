/*
 * The credentials that a request brings in its header Authorization (RFC 9110, 11.6.2): a name and
 * a password (RFC 7617), or a token (RFC 6750).
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CREDENTIALS_SENT_H
#define SLIPWAY_GATEWAY_ACCESS_CREDENTIALS_SENT_H

#include "gateway/http/request.h"

enum credentials_kind { CREDENTIALS_NONE, CREDENTIALS_BASIC, CREDENTIALS_BEARER };

/* credentials_sent_deinit() wipes and frees what it has. */
struct credentials_sent {
    enum credentials_kind kind;
    char *name;   /* owned; of BASIC */
    char *secret; /* owned; the password, or the token */
};

/* ERR_BAD_REQUEST for several headers: which of them counts would be anybody's guess.
 * ERR_UNAUTHENTICATED for another scheme, or what is none. */
enum errc credentials_sent_read(const struct request *request, struct credentials_sent *out,
                                struct error *err);
/* The same of the one header's value. Pure. */
enum errc credentials_sent_parse(const char *value, struct credentials_sent *out,
                                 struct error *err);
void credentials_sent_deinit(struct credentials_sent *credentials);

#endif
