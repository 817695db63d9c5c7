/*
 * Lists of referrers as strangers wrote them: the first line is a JSON object of facts, whose
 * entries are wanted and known by turns; the rest is the list. A list that was brought up to the
 * facts has all that is wanted and nothing that is gone, is a list again, and stays as it is.
 */
#include "base/mem.h"
#include "image/referrer_list.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(const json_t *facts, json_t *wanted, json_t *known)
{
    const char *digest;
    json_t *value;
    bool turn = false;
    json_object_foreach((json_t *)(uintptr_t)facts, digest, value)
    {
        turn = !turn;
        if (json_is_null(value))
            json_object_set(known, digest, value);
        else if (json_is_object(value)) {
            json_object_set_new(value, "digest", json_string(digest));
            json_object_set(turn ? wanted : known, digest, value);
        }
    }
}

static void check(json_t *list, const json_t *wanted, const json_t *known)
{
    autojson json_t *have = json_object();
    const char *digest;
    json_t *value;
    referrer_list_update(list, wanted, known);
    assert(!referrer_list_update(list, wanted, known));
    referrer_list_collect(list, have);
    json_object_foreach((json_t *)(uintptr_t)wanted, digest, value)
        assert(json_object_get(have, digest) || json_is_null(json_object_get(known, digest)));
    json_object_foreach((json_t *)(uintptr_t)known, digest, value)
        assert(!json_is_null(value) || !json_object_get(have, digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    autojson json_t *facts = NULL;
    autojson json_t *list = NULL;
    autojson json_t *wanted = json_object();
    autojson json_t *known = json_object();
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t line = end ? (size_t)(end - data) : 0;
    size_t skip = end ? line + 1 : 0;
    if (json_parse(data, line, MANIFEST_LIMIT_BYTES, "facts", &facts, &err) != ERR_OK)
        error_clear(&err);
    if (referrer_list_parse((const char *)data + skip, size - skip, &list, &err) != ERR_OK)
        return 0;
    split(facts, wanted, known);
    check(list, wanted, known);
    return 0;
}
