/*
 * /token: who shows a password, a proof of an identity provider, a refresh token or nothing gets a
 * token for what it asked for and may do (distribution docs/spec/auth/token.md and oauth.md;
 * RFC 8693).
 *
 *     GET  scope (any number), offline_token=true; with Basic, or as anonymous. A "+" is a space,
 *          as programs write it that make the query of a form
 *     POST a form: scope, access_type=offline, and grant_type
 *          password: username, password
 *          refresh_token: refresh_token
 *          urn:ietf:params:oauth:grant-type:token-exchange: subject_token, subject_token_type
 *
 * Less than was asked for is no error: the answer says in `scope` what is granted. A body that is
 * no form is 404 and another method 405, after which clients ask by GET; another grant is 400. A
 * login that does not count is 401, and one that was not looked at, after too many of those, is 429
 * with Retry-After. Answers are not to be kept (Cache-Control: no-store).
 *
 * All tokens of a login end with it: TOKEN_LOGIN_S after it, or earlier where its source says so.
 *
 * Usage: one struct for the life of a configuration, filled in by whoever has the parts; the route
 * of TOKEN_PATH calls token_endpoint_answer() as a handler does, on an HTTP thread, without asking
 * for credentials before. What is asked is a job, since passwords take time and tokens may wait for
 * the disk: brief, or JOB_ADMIT where a password is to be verified; a form, which has a body to
 * wait for, is JOB_FORM.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_TOKEN_ENDPOINT_H
#define SLIPWAY_GATEWAY_ACCESS_TOKEN_ENDPOINT_H

#include "gateway/access/audit.h"
#include "gateway/access/token.h"
#include "gateway/http/jobs.h"
#include "gateway/http/request.h"

#define TOKEN_FORM_MAX ((size_t)64 << 10)

/* All borrowed until the last job is over. */
struct token_endpoint {
    struct token_issuer issuer;
    const struct sources *sources;
    struct rights rights;
    struct jobs *jobs;
    struct audit *audit; /* NULL: there is none */
    int64_t token_ttl_s; /* of access tokens */
    /* What a job has while it runs, where this is not for the life of the server; or NULL. */
    void (*hold)(void *owner);
    void (*release)(void *owner);
    void *owner;
};

/* As answer() of struct request_handler (gateway/http/exchange.h). */
struct job *token_endpoint_answer(const struct token_endpoint *endpoint,
                                  const struct request *request, struct reply *reply);

#endif
