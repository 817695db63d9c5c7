#include "gateway/access/policy.h"

#include "base/mem.h"
#include "base/net.h"
#include "base/pattern.h"
#include "config/settings_table.h"
#include "gateway/access/target_name.h"

#include <assert.h>
#include <string.h>

static_assert(OPERATION_COUNT == SETTING_OPERATION_COUNT, "one name for each operation");

/* The settings hold the rules; only the targets are not as they stand there. */
struct policy {
    const struct settings *settings; /* borrowed */
    struct targets {
        char **patterns; /* owned, with canonical hosts, as many as the rule has targets */
    } * rules;           /* one for each rule */
};

const char *operation_name(enum operation operation)
{
    return setting_operations[operation];
}

bool operation_by_name(const char *name, enum operation *out)
{
    for (unsigned i = 0; i < OPERATION_COUNT; i++)
        if (strcmp(setting_operations[i], name) == 0) {
            *out = (enum operation)i;
            return true;
        }
    return false;
}

struct policy *policy_new(const struct settings *settings)
{
    if (settings->policy_count == 0)
        return NULL;
    struct policy *policy = xcalloc(1, sizeof *policy);
    policy->settings = settings;
    policy->rules = xcalloc(settings->policy_count, sizeof *policy->rules);
    for (size_t i = 0; i < settings->policy_count; i++) {
        const struct setting_list *targets = &settings->policy[i].targets;
        policy->rules[i].patterns = xcalloc(targets->count, sizeof *policy->rules[i].patterns);
        for (size_t j = 0; j < targets->count; j++)
            policy->rules[i].patterns[j] = target_pattern(targets->items[j]);
    }
    return policy;
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    for (size_t i = 0; i < policy->settings->policy_count; i++) {
        for (size_t j = 0; j < policy->settings->policy[i].targets.count; j++)
            free(policy->rules[i].patterns[j]);
        free(policy->rules[i].patterns);
    }
    free(policy->rules);
    free(policy);
}

/* ---- who ---- */

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* A name that says its kind is of nobody of another one, whatever a file of users has in it. */
static bool is_called(const struct identity *who, const char *name)
{
    if (who->name == NULL || strcmp(who->name, name) != 0)
        return false;
    return begins(name, "robot:") == (who->kind == IDENTITY_ROBOT) &&
           begins(name, "cert:") == (who->kind == IDENTITY_CERTIFICATE);
}

static bool list_calls(const struct setting_list *names, const struct identity *who)
{
    for (size_t i = 0; i < names->count; i++)
        if (is_called(who, names->items[i]))
            return true;
    return false;
}

static bool is_in_group(const struct settings *settings, const struct identity *who,
                        const char *group)
{
    if (begins(group, "robot:") || begins(group, "cert:"))
        return false;
    for (size_t i = 0; i < who->group_count; i++)
        if (strcmp(who->groups[i], group) == 0)
            return true;
    for (size_t i = 0; i < settings->clients.groups.count; i++) {
        const struct setting_named_list *known = &settings->clients.groups.items[i];
        if (strcmp(known->name, group) == 0)
            return list_calls(&known->list, who);
    }
    return false;
}

static bool rule_is_for(const struct policy *policy, const struct policy_setting *rule,
                        const struct identity *who)
{
    for (size_t i = 0; i < rule->who.count; i++) {
        const char *name = rule->who.items[i];
        bool anonymous = who->kind == IDENTITY_ANONYMOUS;
        if (strcmp(name, "anonymous") == 0 || strcmp(name, "authenticated") == 0) {
            if (anonymous == (name[1] == 'n'))
                return true;
        } else if (!anonymous &&
                   (is_called(who, name) || is_in_group(policy->settings, who, name))) {
            return true;
        }
    }
    return false;
}

/* ---- the two questions ---- */

static const struct policy_verdict anything = {.allowed = true};

static bool asks_nobody(const struct policy *policy, const struct identity *who)
{
    return policy == NULL || who->kind == IDENTITY_OPERATOR;
}

static bool any_matches(char *const *patterns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (pattern_matches(patterns[i], name))
            return true;
    return false;
}

struct policy_verdict policy_may(const struct policy *policy, const struct identity *who,
                                 enum operation operation, const char *repository)
{
    if (asks_nobody(policy, who))
        return anything;
    for (size_t i = 0; i < policy->settings->policy_count; i++) {
        const struct policy_setting *rule = &policy->settings->policy[i];
        if ((rule->may & (1U << operation)) && rule_is_for(policy, rule, who) &&
            any_matches(rule->repositories.items, rule->repositories.count, repository))
            return (struct policy_verdict){.allowed = !rule->deny, .rule = (int)i + 1};
    }
    return (struct policy_verdict){.allowed = false};
}

static bool is_for_pushes(const struct policy_setting *rule)
{
    return rule->may == 0 || (rule->may & (1U << OPERATION_PUSH));
}

bool policy_may_push_somewhere(const struct policy *policy, const struct identity *who)
{
    bool any = asks_nobody(policy, who);
    for (size_t i = 0; !any && i < policy->settings->policy_count; i++) {
        const struct policy_setting *rule = &policy->settings->policy[i];
        any = !rule->deny && rule->targets.count > 0 && is_for_pushes(rule) &&
              rule_is_for(policy, rule, who);
    }
    return any;
}

struct policy_verdict policy_may_push_to(const struct policy *policy, const struct identity *who,
                                         const struct reference *target)
{
    if (asks_nobody(policy, who))
        return anything;
    autofree char *name = policy_target_name(target);
    for (size_t i = 0; i < policy->settings->policy_count; i++) {
        const struct policy_setting *rule = &policy->settings->policy[i];
        if (is_for_pushes(rule) && rule_is_for(policy, rule, who) &&
            any_matches(policy->rules[i].patterns, rule->targets.count, name))
            return (struct policy_verdict){.allowed = !rule->deny, .rule = (int)i + 1};
    }
    return (struct policy_verdict){.allowed = false};
}

char *policy_target_name(const struct reference *target)
{
    return target_name(target->host, target->path);
}

bool policy_names_host(const struct policy *policy, const char *host)
{
    if (policy == NULL)
        return false;
    autofree char *wanted = target_host(host, strlen(host));
    for (size_t i = 0; i < policy->settings->policy_count; i++) {
        const struct policy_setting *rule = &policy->settings->policy[i];
        for (size_t j = 0; !rule->deny && j < rule->targets.count; j++) {
            const char *pattern = policy->rules[i].patterns[j];
            size_t size = strcspn(pattern, "/");
            if (pattern[size] == '/' && size == strlen(wanted) &&
                memchr(pattern, '*', size) == NULL && memcmp(pattern, wanted, size) == 0)
                return true;
        }
    }
    return false;
}

/* ---- anywhere ---- */

#define WITNESS "0zz0" /* a component that no pattern is likely to name */
#define WITNESS_DEPTH 4

/* The pattern with its `*` as one such component and its `**` as `depth` of them; owned. */
static char *witness(const char *pattern, size_t depth)
{
    char *name = xstrdup("");
    for (const char *at = pattern; *at;) {
        size_t fixed = strcspn(at, "*");
        size_t stars = strspn(at + fixed, "*");
        char *longer = xasprintf("%s%.*s", name, (int)fixed, at);
        for (size_t i = 0; i < (stars == 2 ? depth : stars); i++) {
            char *more = xasprintf("%s%s%s", longer, i ? "/" : "", WITNESS);
            free(longer);
            longer = more;
        }
        free(name);
        name = longer;
        at += fixed + stars;
    }
    return name;
}

static bool may_within(const struct policy *policy, const struct identity *who,
                       enum operation operation, const char *pattern)
{
    for (size_t depth = 0; depth <= WITNESS_DEPTH; depth++) {
        autofree char *name = witness(pattern, depth);
        if (policy_may(policy, who, operation, name).allowed)
            return true;
    }
    return false;
}

bool policy_may_anywhere(const struct policy *policy, const struct identity *who,
                         enum operation operation)
{
    if (asks_nobody(policy, who))
        return true;
    for (size_t i = 0; i < policy->settings->policy_count; i++) {
        const struct policy_setting *rule = &policy->settings->policy[i];
        if (rule->deny || !(rule->may & (1U << operation)) || !rule_is_for(policy, rule, who))
            continue;
        for (size_t j = 0; j < rule->repositories.count; j++)
            if (may_within(policy, who, operation, rule->repositories.items[j]))
                return true;
    }
    return false;
}
