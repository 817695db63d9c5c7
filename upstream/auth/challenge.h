/*
 * What a registry asks for when it answers 401: the challenges of WWW-Authenticate.
 * RFC 9110 sections 11.2, 11.3 and 11.6.1 (challenge lists, auth-param, token68), RFC 6750 section
 * 3 (Bearer errors), and the Docker token specification (realm, service, scope).
 *
 * One field may carry several challenges, and the field may come several times: parse each into the
 * same list. What is malformed ends the parsing of that field; challenges before it are kept. A
 * challenge with a member longer than its place is dropped as a whole, as half a scope or realm
 * would be another one.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_CHALLENGE_H
#define SLIPWAY_UPSTREAM_AUTH_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>

#define CHALLENGES_MAX 8

enum auth_scheme { AUTH_NONE, AUTH_BASIC, AUTH_BEARER, AUTH_OTHER };

struct challenge {
    enum auth_scheme scheme;
    char name[32];     /* the scheme as it was written */
    char realm[2048];  /* of Bearer: the URL of the token server */
    char service[512]; /* "" when absent, as all of these */
    char scope[4096];  /* space separated */
    char error[64];    /* "insufficient_scope", "invalid_token" */
};

struct challenge_list {
    struct challenge items[CHALLENGES_MAX];
    size_t count;
};

/* Add the challenges of one field value. False when it is malformed or has too many. */
bool challenge_parse(const char *field, struct challenge_list *list);

/* The one that slipway answers: Bearer before Basic; NULL when neither is offered. */
const struct challenge *challenge_choose(const struct challenge_list *list);

#endif
