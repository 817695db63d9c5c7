/*
 * What the gateway asks about its clients: who is it, may it do this?
 *
 *     access_new -> { access_admit -> access_ask... }... -> access_free
 *                     access_prepare -> access_use
 *
 * Without a policy in the configuration nobody is asked for anything: every caller may do
 * everything, and credentials that are shown are not looked at.
 *
 * Two answers to who it is: what is known at once (no credentials, a token of the gateway, a
 * password that was verified lately, a certificate, control.sock), on the HTTP thread; and what
 * takes time, in a job of class JOB_ADMIT, after which the first one is asked again.
 *
 * Any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_ACCESS_H
#define SLIPWAY_GATEWAY_ACCESS_ACCESS_H

#include "gateway/access/requester.h"
#include "gateway/http/jobs.h"
#include "store/store.h"

struct access;

struct access_options {
    const struct settings *settings; /* copied (a reference) */
    struct store *store;
    struct jobs *jobs;
    struct audit *audit; /* borrowed; NULL: there is none */
};

/* ERR_SETTINGS where a source of identities cannot be read. */
enum errc access_new(const struct access_options *options, struct access **out, struct error *err);
void access_free(struct access *access); /* NULL is a no-op */

/* Is there a policy? The same until access_free(). */
bool access_is_on(const struct access *access);

/* Another configuration, in two steps: what can go wrong, and then what counts for requests that
 * begin afterwards. One thread at a time. ERR_SETTINGS where a source of identities cannot be read,
 * and where there was no policy and is one, or the other way round. *out, which is NULL without a
 * policy, is taken by access_use(), or given back by rules_unref(). */
struct rules;
enum errc access_prepare(const struct access *access, const struct settings *settings,
                         struct rules **out, struct error *err);
void access_use(struct access *access, struct rules *rules);

/* As admit() of struct request_handler; *caller is a struct caller with one reference. */
struct job *access_admit(struct access *access, const struct request *request, void **caller,
                         struct reply *reply);

/* As a handler: the token endpoint (token_endpoint.h), where there is a policy. */
struct job *access_token(struct access *access, const struct request *request, struct reply *reply);

enum access_answer {
    ACCESS_YES,
    ACCESS_LOGIN, /* not without credentials */
    ACCESS_WIDER, /* not with this token; one with the right scope would be given */
    ACCESS_NO,
};

/* May it do this in this repository ("": what belongs to none)? *rule (may be NULL) is the rule of
 * the policy that decided, 0 for none. `caller` NULL is nobody: requests that the gateway itself
 * makes, which may do everything. */
enum access_answer access_ask(const struct access *access, const struct caller *caller,
                              enum operation operation, const char *repository, int *rule);

/* In some repository; a push: or to some target. No rule decides a refusal. */
enum access_answer access_ask_anywhere(const struct access *access, const struct caller *caller,
                                       enum operation operation);

/* May it push there, with what is or would be in this repository ("": none)? ERR_FORBIDDEN, which
 * is told as by access_tell_denied(); also for a target that a client names whose host is a private
 * address, unless the configuration writes it out. */
enum errc access_check_target(const struct access *access, const struct requester *by,
                              const char *repository, const struct reference *target,
                              struct error *err);

/* Why not, for an answer other than ACCESS_YES: ERR_UNAUTHENTICATED or ERR_FORBIDDEN. The rule goes
 * to the log, not to the client. */
enum errc access_explain(enum access_answer answer, const struct caller *caller,
                         enum operation operation, const char *repository, struct error *err);

/* A line of the log (policy.denied) and one of the audit stream: this rule denied the operation, 0:
 * none allowed it. Where the answer is ACCESS_WIDER, the policy denied nothing. */
void access_tell_denied(const struct access *access, const struct requester *by,
                        enum operation operation, const char *repository, int rule,
                        const struct error *why);

/* The header that goes with ACCESS_LOGIN and ACCESS_WIDER: a Bearer challenge whose scope is
 * `operations` (bits) in the repository (NULL: without a scope), and below /v1/ also Basic. */
void access_challenge(const struct access *access, const struct request *request,
                      enum access_answer answer, const char *repository, unsigned operations,
                      struct reply *reply);

#endif
