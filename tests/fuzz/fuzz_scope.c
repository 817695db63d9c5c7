/*
 * Scopes of strangers: within their limits, and the same when written out and read again, as text
 * and as the claim of a token.
 */
#include "base/mem.h"
#include "gateway/access/scope.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct scopes *one, const struct scopes *other)
{
    assert(one->count == other->count);
    for (size_t i = 0; i < one->count; i++)
        assert(one->items[i].actions != 0 &&
               scopes_actions(other, one->items[i].repository) == one->items[i].actions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct scopes scopes = {.count = 0};
    struct scopes again = {.count = 0};
    autofree char *text = xstrndup((const char *)data, size);
    if (scopes_add(&scopes, text, &err) != ERR_OK) {
        assert(err.code == ERR_BAD_REQUEST);
        scopes_deinit(&scopes);
        return 0;
    }
    autojson json_t *claim = scopes_json(&scopes);
    assert(scopes_from_json(claim, &again, &err) == ERR_OK);
    check_same(&scopes, &again);
    scopes_deinit(&again);
    autofree char *written = scopes_text(&scopes);
    again = (struct scopes){.count = 0};
    if (scopes_add(&again, written, &err) == ERR_OK)
        check_same(&scopes, &again);
    scopes_deinit(&again);
    scopes_deinit(&scopes);
    return 0;
}
