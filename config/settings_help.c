#include "config/settings.h"

#include "base/buf.h"
#include "config/settings_table.h"
#include "config/settings_text.h"

#include <inttypes.h>

#define HELP_LIMIT ((size_t)64 * 1024)

static void describe_choices(struct buf *out, const char *const *choices)
{
    for (size_t i = 0; choices[i] != NULL; i++)
        buf_format(out, "%s%s", i ? ", " : "", choices[i]);
}

static void describe_limits(struct buf *out, const struct setting_row *row)
{
    char least[SETTING_SIZE_TEXT_MAX];
    char most[SETTING_SIZE_TEXT_MAX];
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
        buf_format(out, "text of %" PRIu64 " to %" PRIu64 " bytes", row->least, row->most);
        return;
    case SETTING_OUTPUT:
        buf_text(out, "path, or -");
        return;
    case SETTING_ADDRESS:
        buf_text(out, "IP:PORT");
        return;
    case SETTING_FOLDER:
    case SETTING_FILE:
    case SETTING_SECRET_FILE:
        buf_text(out, "path");
        return;
    case SETTING_SECRET_ENV:
        buf_text(out, "name of a variable");
        return;
    case SETTING_BOOL:
        buf_text(out, "true, false");
        return;
    case SETTING_COUNT:
        buf_format(out, "%" PRIu64 " to %" PRIu64, row->least, row->most);
        return;
    case SETTING_SIZE:
        buf_format(out, "%s to %s", setting_size_text(row->least, least),
                   setting_size_text(row->most, most));
        return;
    case SETTING_DURATION:
        buf_format(out, "%s to %s%s%s", setting_duration_text(row->least, least),
                   setting_duration_text(row->most, most), row->choices ? ", or " : "",
                   row->choices ? row->choices[0] : "");
        return;
    case SETTING_CHOICE:
        describe_choices(out, row->choices);
        return;
    case SETTING_CHOICES:
        buf_text(out, "list of ");
        describe_choices(out, row->choices);
        return;
    case SETTING_TEXTS:
        buf_format(out, "list of %" PRIu64 " to %" PRIu64 " texts", row->least, row->most);
        return;
    case SETTING_LISTS:
        buf_format(out, "object of %" PRIu64 " to %" PRIu64 " lists of texts", row->least,
                   row->most);
        return;
    case SETTING_URLS:
        buf_format(out, "list of %" PRIu64 " to %" PRIu64 " URLs", row->least, row->most);
        return;
    case SETTING_HOSTS:
        buf_format(out, "list of %" PRIu64 " to %" PRIu64 " hosts", row->least, row->most);
        return;
    case SETTING_NETWORKS:
        buf_format(out, "list of %" PRIu64 " to %" PRIu64 " addresses and networks", row->least,
                   row->most);
        return;
    }
}

static void describe_rows(struct buf *out, const char *prefix, const struct setting_row *rows,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_format(out, "%s%s (", prefix, rows[i].path);
        describe_limits(out, &rows[i]);
        if (rows[i].initial != NULL)
            buf_format(out, "; default %s", rows[i].initial);
        buf_format(out, ")\n    %s\n", rows[i].prose);
    }
}

char *settings_describe(void)
{
    autobuf struct buf out = BUF_INIT(HELP_LIMIT);
    describe_rows(&out, "", settings_rows, settings_row_count);
    describe_rows(&out, "registries.HOST.", registry_rows, registry_row_count);
    describe_rows(&out, "clients.oidc[].", oidc_rows, oidc_row_count);
    describe_rows(&out, "clients.oidc[].mappings[].", mapping_rows, mapping_row_count);
    describe_rows(&out, "policy[].", policy_rows, policy_row_count);
    describe_rows(&out, "keep.rules[].", keep_rows, keep_row_count);
    describe_rows(&out, "mirrors[].", mirror_rows, mirror_row_count);
    describe_rows(&out, "mirrors[].to[].", mirror_target_rows, mirror_target_row_count);
    return buf_take(&out);
}
