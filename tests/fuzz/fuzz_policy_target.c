/* Lines: as a reference, whose canonical name is one that canonical forms do not change and that
 * every other spelling of its host has, too; as the pattern of a rule, which has one canonical
 * form. */
#include "base/mem.h"
#include "config/settings_pattern.h"
#include "gateway/access/policy.h"
#include "gateway/access/target_name.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same_name(const struct reference *target, const char *host, const char *name)
{
    struct reference other = *target;
    if (strlen(host) >= sizeof other.host)
        return;
    strcpy(other.host, host);
    autofree char *again = policy_target_name(&other);
    assert(strcmp(again, name) == 0);
}

static void check_target(const char *text)
{
    struct reference target;
    struct error ignored = ERROR_INIT;
    if (reference_parse(text, &target, &ignored) != ERR_OK)
        return;
    autofree char *name = policy_target_name(&target);
    autofree char *host = target_host(target.host, strlen(target.host));
    autofree char *upper = xstrdup(target.host);
    for (char *at = upper; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    expect_same_name(&target, host, name);
    expect_same_name(&target, upper, name);
    if (strchr(target.host, ':') == NULL) {
        autofree char *port = xasprintf("%s:443", target.host);
        autofree char *dot = xasprintf("%s.", target.host);
        expect_same_name(&target, port, name);
        expect_same_name(&target, dot, name);
    }
    autofree char *pattern = target_pattern(name);
    assert(strcmp(pattern, name) == 0);
}

static void check_pattern(const char *text)
{
    struct setting_wildcards ignored;
    struct error err = ERROR_INIT;
    if (setting_target_pattern_check(text, &ignored, &err) != ERR_OK)
        return;
    autofree char *once = target_pattern(text);
    autofree char *twice = target_pattern(once);
    assert(strcmp(once, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = xstrndup((const char *)data, size);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        check_target(line);
        check_pattern(line);
    }
    return 0;
}
