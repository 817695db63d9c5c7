/* WWW-Authenticate fields, one a line as registries may send several. */
#include "base/mem.h"
#include "upstream/auth/challenge.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = xstrndup((const char *)data, size);
    static struct challenge_list list;
    list.count = 0;
    char *rest = NULL;
    for (char *field = strtok_r(text, "\n", &rest); field; field = strtok_r(NULL, "\n", &rest))
        challenge_parse(field, &list);
    assert(list.count <= CHALLENGES_MAX);
    for (size_t i = 0; i < list.count; i++) {
        assert(list.items[i].scheme != AUTH_NONE);
        assert(strlen(list.items[i].realm) < sizeof list.items[i].realm);
        assert(strlen(list.items[i].scope) < sizeof list.items[i].scope);
    }
    const struct challenge *chosen = challenge_choose(&list);
    assert(chosen == NULL || chosen->scheme == AUTH_BASIC || chosen->realm[0]);
    return 0;
}
