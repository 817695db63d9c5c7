#include "gateway/access/rules.h"

#include "base/mem.h"

static bool may_at_all(void *self, const struct identity *who, enum operation operation,
                       const char *repository)
{
    const struct rules *rules = self;
    return repository ? policy_may(rules->policy, who, operation, repository).allowed
                      : policy_may_anywhere(rules->policy, who, operation);
}

static void hold(void *self)
{
    rules_ref(self);
}

static void release(void *self)
{
    rules_unref(self);
}

static void open_tokens(struct rules *rules, const struct rules_parts *parts)
{
    const struct settings *settings = rules->settings;
    rules->tokens = (struct token_endpoint){
        .issuer = {.keys = parts->keys,
                   .issuer = parts->issuer,
                   .service = settings->hosts.count > 0 ? settings->hosts.items[0] : "slipway"},
        .sources = &rules->interface,
        .rights = {may_at_all, rules},
        .jobs = parts->jobs,
        .audit = parts->audit,
        .token_ttl_s = settings->clients.token_ttl_ms / 1000,
        .hold = hold,
        .release = release,
        .owner = rules};
}

enum errc rules_new(const struct settings *settings, const struct rules_parts *parts,
                    const struct rules *before, struct rules **out, struct error *err)
{
    struct rules *rules = xcalloc(1, sizeof *rules);
    atomic_init(&rules->references, 1);
    rules->settings = settings_ref(settings);
    rules->policy = policy_new(settings);
    if (identity_sources_open(settings, parts->store, before ? before->sources : NULL,
                              &rules->sources, err) != ERR_OK) {
        rules_unref(rules);
        return err->code;
    }
    rules->interface = identity_sources_interface(rules->sources);
    open_tokens(rules, parts);
    *out = rules;
    return ERR_OK;
}

struct rules *rules_ref(struct rules *rules)
{
    atomic_fetch_add(&rules->references, 1);
    return rules;
}

void rules_unref(struct rules *rules)
{
    if (rules == NULL || atomic_fetch_sub(&rules->references, 1) > 1)
        return;
    identity_sources_close(rules->sources);
    policy_free(rules->policy);
    settings_free(rules->settings);
    free(rules);
}
