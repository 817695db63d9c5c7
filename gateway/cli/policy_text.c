#include "gateway/cli/policy_text.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/access/policy.h"

#include <stdio.h>

#define TEXT_LIMIT ((size_t)1 << 20) /* a configuration is no longer */

static void add_list(struct buf *out, const struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        buf_format(out, "%s%s", i ? ", " : "", list->items[i]);
}

static void add_operations(struct buf *out, unsigned may)
{
    const char *before = "";
    if (may == (1U << OPERATION_COUNT) - 1) {
        buf_text(out, "do everything");
        return;
    }
    for (unsigned i = 0; i < OPERATION_COUNT; i++)
        if (may & (1U << i)) {
            buf_format(out, "%s%s", before, operation_name((enum operation)i));
            before = ", ";
        }
}

char *policy_rule_text(const struct policy_setting *rule)
{
    autobuf struct buf out = BUF_INIT(TEXT_LIMIT);
    add_list(&out, &rule->who);
    buf_text(&out, rule->deny ? " may not " : " may ");
    if (rule->repositories.count > 0) {
        add_operations(&out, rule->may);
        buf_text(&out, " in ");
        add_list(&out, &rule->repositories);
    }
    if (rule->targets.count > 0) {
        buf_text(&out, rule->repositories.count == 0 ? "push to "
                       : rule->deny                  ? ", nor push to "
                                                     : ", and push to ");
        add_list(&out, &rule->targets);
    }
    return buf_take(&out);
}

void policy_print(const struct settings *settings)
{
    if (settings->policy_count == 0)
        puts("There is no policy: everybody may do everything.");
    for (size_t i = 0; i < settings->policy_count; i++) {
        autofree char *text = policy_rule_text(&settings->policy[i]);
        printf("%zu. %s\n", i + 1, text);
    }
    for (size_t i = 0; i < settings->clients.groups.count; i++) {
        autobuf struct buf members = BUF_INIT(TEXT_LIMIT);
        add_list(&members, &settings->clients.groups.items[i].list);
        printf("%s: %s\n", settings->clients.groups.items[i].name, buf_cstr(&members));
    }
}
