/* What the policy answers, for tests/integration/test_policy.py: each line of standard input is
 * {"settings": {...}, "asks": [{"kind", "name", "groups", "operation", "repository"} or
 * {..., "target"}, ...]}, and gives a line of pairs [allowed, rule] in the order of the asks. */
#include "base/json.h"
#include "base/mem.h"
#include "config/settings.h"
#include "gateway/access/policy.h"

#include <stdio.h>
#include <string.h>

static void identity_from(const json_t *ask, struct identity *out)
{
    const json_t *groups = json_object_get(ask, "groups");
    size_t count = json_array_size(groups);
    if (!identity_kind_by_name(json_text(ask, "kind"), &out->kind))
        exit(2);
    if (json_text(ask, "name"))
        out->name = xstrdup(json_text(ask, "name"));
    out->groups = xcalloc(count, sizeof *out->groups);
    for (; out->group_count < count; out->group_count++)
        out->groups[out->group_count] =
            xstrdup(json_string_value(json_array_get(groups, out->group_count)));
}

static struct policy_verdict answer(const struct policy *policy, const json_t *ask)
{
    autoidentity struct identity who = IDENTITY_INIT;
    struct reference target;
    enum operation operation;
    struct error err = ERROR_INIT;
    identity_from(ask, &who);
    if (json_text(ask, "target")) {
        if (reference_parse(json_text(ask, "target"), &target, &err) != ERR_OK)
            exit(3);
        return policy_may_push_to(policy, &who, &target);
    }
    if (!operation_by_name(json_text(ask, "operation"), &operation))
        exit(4);
    struct policy_verdict verdict =
        policy_may(policy, &who, operation, json_text(ask, "repository"));
    if (verdict.allowed && !policy_may_anywhere(policy, &who, operation))
        exit(5);
    return verdict;
}

static int answer_line(const char *line, size_t size)
{
    autojson json_t *root = NULL;
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    if (json_parse(line, size, size, "the line", &root, &err) != ERR_OK)
        return 6;
    autofree char *text = json_compact(json_object_get(root, "settings"));
    if (settings_parse(text, strlen(text), "settings", &settings, &err) != ERR_OK) {
        fprintf(stderr, "%s: %s\n", text, err.text);
        return 7;
    }
    struct policy *policy = policy_new(settings);
    json_t *answers = json_array();
    const json_t *asks = json_object_get(root, "asks");
    for (size_t i = 0; i < json_array_size(asks); i++) {
        struct policy_verdict verdict = answer(policy, json_array_get(asks, i));
        json_array_append_new(answers, json_pack("[bi]", verdict.allowed, verdict.rule));
    }
    autofree char *out = json_compact_take(answers);
    puts(out);
    policy_free(policy);
    settings_free(settings);
    return 0;
}

int main(void)
{
    autofree char *line = NULL;
    size_t capacity = 0;
    int status = 0;
    for (ssize_t size; status == 0 && (size = getline(&line, &capacity, stdin)) > 0;)
        status = answer_line(line, (size_t)size);
    return status;
}
