/*
 * Lines of the audit stream of what strangers write: one line of printable ASCII, which is JSON of
 * a bounded size, whatever their texts are.
 */
#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/audit_line.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LINE_LIMIT_BYTES ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input's lines, in turn; the last one has the rest. */
static char *take(const uint8_t **data, size_t *left)
{
    const uint8_t *end = memchr(*data, '\n', *left);
    size_t size = end ? (size_t)(end - *data) : *left;
    char *text = xstrndup((const char *)*data, size);
    *data += size + (end ? 1 : 0);
    *left -= size + (end ? 1 : 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct audit_origin origin = {.address = "192.0.2.1", .request = "r"};
    autofree char *agent = take(&data, &size);
    autofree char *object = take(&data, &size);
    autofree char *name = take(&data, &size);
    autofree char *claims = take(&data, &size);
    const struct identity actor = {.kind = IDENTITY_CI, .name = name, .claims = claims};
    snprintf(origin.agent, sizeof origin.agent, "%s", agent);
    const struct audit_event event = {.action = AUDIT_LOGIN,
                                      .outcome = AUDIT_DENIED,
                                      .actor = &actor,
                                      .origin = &origin,
                                      .reason = object,
                                      .object = object};
    autofree char *line = audit_line(&event, "0123456789abcdef-1", "2026-01-31T12:00:00.123Z");
    size_t length = strlen(line);
    for (size_t i = 0; i + 1 < length; i++)
        assert(line[i] >= ' ' && line[i] < '\x7f');
    assert(line[length - 1] == '\n');
    autojson json_t *value = NULL;
    assert(json_parse(line, length, LINE_LIMIT_BYTES, "the line", &value, &err) == ERR_OK);
    assert(strcmp(json_text(value, "action"), "login") == 0);
    return 0;
}
