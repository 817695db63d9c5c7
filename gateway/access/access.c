#include "gateway/access/access.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "gateway/access/challenge.h"
#include "gateway/access/credentials_sent.h"
#include "gateway/access/rules.h"
#include "gateway/access/target_name.h"

#include <stdio.h>
#include <string.h>

#define BIT(OPERATION) (1U << (OPERATION))

struct access {
    struct audit *audit;
    struct rules_parts parts;
    struct token_keys *keys;
    char *issuer;
    bool on; /* there is a policy; a reload does not change that */
    pthread_mutex_t lock;
    struct rules *rules; /* under the lock; those of requests that begin now */
};

/* ---- start and end ---- */

static enum errc open_parts(struct access *access, const struct access_options *options,
                            struct error *err)
{
    int64_t longest_s = TOKEN_LOGIN_S + TOKEN_LEEWAY_S;
    access->on = options->settings->policy_count > 0;
    if (!access->on)
        return ERR_OK;
    access->issuer = xasprintf("slipway:%s", store_id(options->store));
    if (token_keys_open(options->store, TOKEN_KEYS_PERIOD_S, longest_s, clock_wall_s(),
                        &access->keys, err) != ERR_OK)
        return err->code;
    access->parts = (struct rules_parts){.store = options->store,
                                         .jobs = options->jobs,
                                         .audit = options->audit,
                                         .keys = access->keys,
                                         .issuer = access->issuer};
    return rules_new(options->settings, &access->parts, NULL, &access->rules, err);
}

enum errc access_new(const struct access_options *options, struct access **out, struct error *err)
{
    struct access *access = xcalloc(1, sizeof *access);
    access->audit = options->audit;
    pthread_mutex_init(&access->lock, NULL);
    if (open_parts(access, options, err) != ERR_OK) {
        access_free(access);
        return err->code;
    }
    *out = access;
    return ERR_OK;
}

void access_free(struct access *access)
{
    if (access == NULL)
        return;
    rules_unref(access->rules);
    token_keys_close(access->keys);
    pthread_mutex_destroy(&access->lock);
    free(access->issuer);
    free(access);
}

bool access_is_on(const struct access *access)
{
    return access && access->on;
}

/* ---- a reload ---- */

/* Those of its caller; without one, those that count now. A reference; NULL without a policy. */
static struct rules *rules_of(const struct access *access, const struct caller *caller)
{
    if (!access_is_on(access))
        return NULL;
    if (caller && caller->rules)
        return rules_ref(caller->rules);
    autolock pthread_mutex_t *held = lock_take(&((struct access *)(uintptr_t)access)->lock);
    return rules_ref(access->rules);
}

enum errc access_prepare(const struct access *access, const struct settings *settings,
                         struct rules **out, struct error *err)
{
    autorules struct rules *now = rules_of(access, NULL);
    if (access->on != (settings->policy_count > 0))
        return fail(err, ERR_SETTINGS, 0,
                    "policy: %s needs a restart: clients that are connected are asked for "
                    "credentials from their first request on, or never",
                    access->on ? "taking the last rule away" : "the first rule");
    if (!access->on) {
        *out = NULL;
        return ERR_OK;
    }
    return rules_new(settings, &access->parts, now, out, err);
}

void access_use(struct access *access, struct rules *rules)
{
    pthread_mutex_lock(&access->lock);
    struct rules *before = access->rules;
    access->rules = rules;
    pthread_mutex_unlock(&access->lock);
    rules_unref(before);
}

/* ---- who ---- */

static char *origin_of(const struct settings *settings, const struct request *request)
{
    return challenge_origin(request, settings->tls.certificate != NULL, settings->listen);
}

/* Clients of registries look for tokens: Basic beside it would take them from that. */
static bool takes_basic(const struct request *request)
{
    return strncmp(request->path, "/v2", 3) != 0;
}

static void put_challenge(const struct rules *rules, const char *origin, bool basic,
                          const char *scope, enum challenge_error why, struct reply *reply)
{
    autofree char *text = challenge_text(origin, rules->tokens.issuer.service, scope, why);
    reply_header(reply, "WWW-Authenticate", "%s", text);
    if (basic)
        reply_header(reply, "WWW-Authenticate", "Basic realm=\"slipway\", charset=\"UTF-8\"");
}

static void tell_refused(const struct access *access, const struct requester *by, const char *name,
                         const struct error *why)
{
    const struct audit_event event = {.action = AUDIT_LOGIN, .object = name};
    if (why->code == ERR_UNAUTHENTICATED)
        requester_tell(by, access->audit, event, why);
}

/* Credentials that do not count. */
static void refuse(const struct access *access, const struct rules *rules,
                   const struct request *request, const struct error *why, struct reply *reply)
{
    autofree char *origin = origin_of(rules->settings, request);
    autorequester struct requester by;
    requester_of(request, &by);
    tell_refused(access, &by, NULL, why);
    reply_error(reply, why);
    if (why->code == ERR_UNAUTHENTICATED)
        put_challenge(rules, origin, takes_basic(request), NULL, CHALLENGE_INVALID_TOKEN, reply);
}

/* A job that finds out whose password it is; the sources remember it for a while. */
struct login_job {
    const struct access *access;
    struct rules *rules; /* a reference */
    struct credentials_sent sent;
    struct net_address peer;
    struct requester by;
    char *origin; /* owned; of the gateway, for the challenge */
    bool basic;
};

static void free_login(void *arg)
{
    struct login_job *self = arg;
    credentials_sent_deinit(&self->sent);
    requester_deinit(&self->by);
    rules_unref(self->rules);
    free(self->origin);
    free(self);
}

static void run_login(struct job *job, void *arg)
{
    const struct login_job *self = arg;
    const struct sources *sources = &self->rules->interface;
    autologin struct login login = LOGIN_INIT;
    struct reply reply = REPLY_INIT(0);
    struct error err = ERROR_INIT;
    if (sources->password(sources->self, self->sent.name, self->sent.secret, &self->peer, &login,
                          &err) != ERR_OK) {
        tell_refused(self->access, &self->by, self->sent.name, &err);
        reply_error(&reply, &err);
        if (err.code == ERR_UNAUTHENTICATED)
            put_challenge(self->rules, self->origin, self->basic, NULL, CHALLENGE_NO_TOKEN, &reply);
        if (err.code == ERR_TOO_MANY)
            reply_retry_after(&reply, sources->retry_after_s(sources->self, &self->peer));
    }
    job_answer(job, &reply);
}

static struct job *start_login(const struct access *access, struct rules *rules,
                               const struct request *request, struct credentials_sent *sent,
                               struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    struct login_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {
        .class = JOB_ADMIT, .run = run_login, .free = free_login, .self = self};
    *self = (struct login_job){.access = access,
                               .rules = rules_ref(rules),
                               .sent = *sent,
                               .peer = request->peer.address,
                               .origin = origin_of(rules->settings, request),
                               .basic = takes_basic(request)};
    requester_of(request, &self->by);
    *sent = (struct credentials_sent){.kind = CREDENTIALS_NONE};
    if (job_start(rules->tokens.jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    free_login(self);
    reply_error(reply, &err);
    return NULL;
}

static unsigned operations_of(unsigned actions)
{
    return ((actions & SCOPE_PULL) ? BIT(OPERATION_PULL) : 0) |
           ((actions & SCOPE_PUSH) ? BIT(OPERATION_PUSH) : 0) |
           ((actions & SCOPE_DELETE) ? BIT(OPERATION_DELETE) : 0);
}

static struct caller *read_token(const struct rules *rules, const char *text, struct error *err)
{
    autotoken struct token token = {.kind = TOKEN_ACCESS};
    if (token_read(&rules->tokens.issuer, TOKEN_ACCESS, text, clock_wall_s(), &token, err) !=
        ERR_OK)
        return NULL;
    struct caller *caller = caller_new(PROOF_TOKEN, &token.identity);
    for (size_t i = 0; i < token.scopes.count; i++)
        if (token.scopes.items[i].repository)
            caller_grant(caller, token.scopes.items[i].repository,
                         operations_of(token.scopes.items[i].actions));
    return caller;
}

/* NULL where there is none, or it is nobody's: then it is as if none had been shown. */
static struct caller *read_certificate(const struct rules *rules, const struct request *request)
{
    struct request_certificate shown[CERTIFICATE_CHAIN_MAX];
    struct certificate_bytes chain[CERTIFICATE_CHAIN_MAX];
    struct identity identity = IDENTITY_INIT;
    struct error err = ERROR_INIT;
    size_t count = rules->settings->tls.client_ca
                       ? request_certificates(request, shown, CERTIFICATE_CHAIN_MAX)
                       : 0;
    if (count == 0)
        return NULL;
    for (size_t i = 0; i < count; i++)
        chain[i] = (struct certificate_bytes){shown[i].data, shown[i].size};
    if (identity_sources_certificate(rules->sources, chain, count, &identity, &err) == ERR_OK)
        return caller_new(PROOF_CERTIFICATE, &identity);
    log_event(LOG_INFO, "client.certificate", LOG_FIELDS(log_text("error", err.text)),
              "a client's certificate does not count");
    return NULL;
}

static struct caller *nobody(enum caller_proof proof, enum identity_kind kind)
{
    struct identity identity = {.kind = kind};
    return caller_new(proof, &identity);
}

static struct job *admit_sent(const struct access *access, struct rules *rules,
                              const struct request *request, struct credentials_sent *sent,
                              struct caller **caller, struct reply *reply)
{
    struct identity identity = IDENTITY_INIT;
    struct error err = ERROR_INIT;
    if (sent->kind == CREDENTIALS_BEARER) {
        *caller = read_token(rules, sent->secret, &err);
        if (*caller == NULL)
            refuse(access, rules, request, &err, reply);
        return NULL;
    }
    if (!identity_sources_known(rules->sources, sent->name, sent->secret, &identity))
        return start_login(access, rules, request, sent, reply);
    *caller = caller_new(PROOF_PASSWORD, &identity);
    return NULL;
}

/* Health is for everybody, and the token endpoint looks at credentials itself. */
static bool is_open(const char *path)
{
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0 ||
           strcmp(path, TOKEN_PATH) == 0;
}

static struct job *admit_by(const struct access *access, struct rules *rules,
                            const struct request *request, struct caller **caller,
                            struct reply *reply)
{
    struct credentials_sent sent = {.kind = CREDENTIALS_NONE};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (credentials_sent_read(request, &sent, &err) != ERR_OK)
        refuse(access, rules, request, &err, reply);
    else if (sent.kind != CREDENTIALS_NONE)
        job = admit_sent(access, rules, request, &sent, caller, reply);
    else if ((*caller = read_certificate(rules, request)) == NULL)
        *caller = nobody(PROOF_NONE, IDENTITY_ANONYMOUS);
    credentials_sent_deinit(&sent);
    if (*caller) {
        (*caller)->rules = rules_ref(rules);
        (*caller)->let_go = rules_unref;
    }
    return job;
}

struct job *access_admit(struct access *access, const struct request *request, void **caller,
                         struct reply *reply)
{
    struct caller *found = NULL;
    struct job *job = NULL;
    autorules struct rules *rules = rules_of(access, NULL);
    if (request->administrator)
        found = nobody(PROOF_SOCKET, IDENTITY_OPERATOR);
    else if (rules && !is_open(request->path))
        job = admit_by(access, rules, request, &found, reply);
    if (found)
        *caller = found;
    return job;
}

struct job *access_token(struct access *access, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    autorules struct rules *rules = rules_of(access, NULL);
    if (rules)
        return token_endpoint_answer(&rules->tokens, request, reply);
    fail(&err, ERR_NOT_FOUND, 0, "there is nothing at %.200s: nobody is asked for credentials",
         request->path);
    reply_error(reply, &err);
    return NULL;
}

/* ---- may it ---- */

static bool is_operator(const struct caller *caller)
{
    return caller == NULL || caller->identity.kind == IDENTITY_OPERATOR;
}

/* Anonymous, whether with a token or without. */
static bool is_nobody(const struct caller *caller)
{
    return caller->identity.kind == IDENTITY_ANONYMOUS;
}

/* Tokens are for what scopes can say; the rest needs a password or a certificate. */
static bool is_of_tokens(enum operation operation)
{
    return operation == OPERATION_PULL || operation == OPERATION_PUSH ||
           operation == OPERATION_DELETE || operation == OPERATION_TAG_MOVE;
}

static enum access_answer answer_for(const struct caller *caller, bool allowed, bool granted)
{
    if (!allowed)
        return is_nobody(caller) ? ACCESS_LOGIN : ACCESS_NO;
    return granted ? ACCESS_YES : ACCESS_WIDER;
}

enum access_answer access_ask(const struct access *access, const struct caller *caller,
                              enum operation operation, const char *repository, int *rule)
{
    struct policy_verdict verdict = {.allowed = true};
    if (rule)
        *rule = 0;
    if (!access_is_on(access) || is_operator(caller))
        return ACCESS_YES;
    autorules struct rules *rules = rules_of(access, caller);
    verdict = policy_may(rules->policy, &caller->identity, operation, repository);
    if (rule)
        *rule = verdict.rule;
    return answer_for(caller, verdict.allowed,
                      is_of_tokens(operation) ? caller_is_granted(caller, operation, repository)
                                              : caller->proof != PROOF_TOKEN);
}

enum access_answer access_ask_anywhere(const struct access *access, const struct caller *caller,
                                       enum operation operation)
{
    if (!access_is_on(access) || is_operator(caller))
        return ACCESS_YES;
    autorules struct rules *rules = rules_of(access, caller);
    bool allowed = policy_may_anywhere(rules->policy, &caller->identity, operation) ||
                   (operation == OPERATION_PUSH &&
                    policy_may_push_somewhere(rules->policy, &caller->identity));
    return answer_for(caller, allowed, is_of_tokens(operation) || caller->proof != PROOF_TOKEN);
}

/* Does a mirror's target write this host out? */
static bool mirrors_name_host(const struct settings *settings, const char *host)
{
    for (size_t m = 0; m < settings->mirror_count; m++)
        for (size_t t = 0; t < settings->mirrors[m].target_count; t++) {
            const char *target = settings->mirrors[m].targets[t].target;
            autofree char *named = target_host(target, strcspn(target, "/"));
            if (strcmp(named, host) == 0)
                return true;
        }
    return false;
}

static bool registries_name_host(const struct settings *settings, const char *host)
{
    for (size_t i = 0; i < settings->registry_count; i++) {
        const char *name = settings->registries[i].host;
        autofree char *named = target_host(name, strlen(name));
        if (strcmp(named, host) == 0)
            return true;
    }
    return false;
}

static enum errc check_address(const struct rules *rules, const struct reference *target,
                               struct error *err)
{
    autofree char *host = target_host(target->host, strlen(target->host));
    if (!net_host_is_private(host) || registries_name_host(rules->settings, host) ||
        mirrors_name_host(rules->settings, host) || policy_names_host(rules->policy, host))
        return ERR_OK;
    return fail(err, ERR_FORBIDDEN, 0,
                "%s is an address of the gateway's own network: such a host is a target only where "
                "the configuration names it (registries, mirrors, or targets of policy)",
                host);
}

enum errc access_check_target(const struct access *access, const struct requester *by,
                              const char *repository, const struct reference *target,
                              struct error *err)
{
    const struct caller *caller = by->caller;
    if (!access_is_on(access) || is_operator(caller))
        return ERR_OK;
    autorules struct rules *rules = rules_of(access, caller);
    struct policy_verdict verdict = policy_may_push_to(rules->policy, &caller->identity, target);
    autofree char *name = policy_target_name(target);
    if (!verdict.allowed)
        fail(err, ERR_FORBIDDEN, 0, "%s may not push to %s", identity_text(&caller->identity),
             name);
    else
        check_address(rules, target, err);
    if (err->code != ERR_OK)
        access_tell_denied(access, by, OPERATION_PUSH, repository, verdict.rule, err);
    return err->code;
}

enum errc access_explain(enum access_answer answer, const struct caller *caller,
                         enum operation operation, const char *repository, struct error *err)
{
    const char *who = caller ? identity_text(&caller->identity) : "anonymous";
    const char *what = operation_name(operation);
    const char *in = repository[0] ? " in " : "";
    switch (answer) {
    case ACCESS_LOGIN:
        return fail(err, ERR_UNAUTHENTICATED, 0, "log in: %s%s%s is not for everybody", what, in,
                    repository);
    case ACCESS_WIDER:
        if (!is_of_tokens(operation))
            return fail(err, ERR_UNAUTHENTICATED, 0,
                        "a token is not enough for %s: show the password itself", what);
        return fail(err, ERR_UNAUTHENTICATED, 0, "the token is not for %s%s%s", what, in,
                    repository);
    case ACCESS_NO:
    case ACCESS_YES:
        break;
    }
    return fail(err, ERR_FORBIDDEN, 0, "%s may not do %s%s%s", who, what, in, repository);
}

void access_tell_denied(const struct access *access, const struct requester *by,
                        enum operation operation, const char *repository, int rule,
                        const struct error *why)
{
    const struct identity nobody_asked = IDENTITY_INIT;
    const struct identity *who = by->caller ? &by->caller->identity : &nobody_asked;
    const struct audit_event event = {.action = AUDIT_DENY,
                                      .repository = repository,
                                      .operation = operation_name(operation),
                                      .rule = rule};
    log_event(LOG_INFO, "policy.denied",
              LOG_FIELDS(log_text("who", identity_text(who)),
                         log_text("operation", event.operation), log_text("repository", repository),
                         log_number("rule", (uint64_t)rule), log_text("error", why->text)),
              "the policy denied an operation");
    requester_tell(by, access->audit, event, why);
}

void access_challenge(const struct access *access, const struct request *request,
                      enum access_answer answer, const char *repository, unsigned operations,
                      struct reply *reply)
{
    unsigned actions = ((operations & BIT(OPERATION_PULL)) ? SCOPE_PULL : 0U) |
                       ((operations & BIT(OPERATION_PUSH)) ? SCOPE_PUSH : 0U) |
                       ((operations & BIT(OPERATION_DELETE)) ? SCOPE_DELETE : 0U);
    const struct caller *caller = request->caller;
    bool shown = answer == ACCESS_WIDER || (caller && caller->proof == PROOF_TOKEN);
    autofree char *scope = repository && actions ? scope_text(repository, actions) : NULL;
    autorules struct rules *rules = rules_of(access, caller);
    autofree char *origin = origin_of(rules->settings, request);
    put_challenge(rules, origin, takes_basic(request), scope,
                  shown ? CHALLENGE_INSUFFICIENT_SCOPE : CHALLENGE_NO_TOKEN, reply);
}
