/* A pattern, a name and a target, each on a line: whatever they are, what comes out is a
 * repository, only for a name that matches; and a pattern in the place of the name gives the name
 * back. */
#include "base/mem.h"
#include "base/pattern.h"
#include "gateway/push/mirrors.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *pattern = xstrndup((const char *)data, size);
    char *name = strchr(pattern, '\n');
    char *target = name ? strchr(name + 1, '\n') : NULL;
    if (target == NULL)
        return 0;
    *name++ = '\0';
    *target++ = '\0';
    struct error err = ERROR_INIT;
    struct reference found;
    bool matches = pattern_matches(pattern, name);
    if (mirror_expand(pattern, name, target, &found, &err) == ERR_OK) {
        assert(matches && found.path[0] && found.tag[0] == '\0');
        assert(found.digest.algorithm == DIGEST_NONE);
    } else {
        assert(err.code == ERR_REFERENCE_INVALID);
    }
    /* Only when the three stars that the configuration refuses are not there. */
    autofree char *same = xasprintf("r.x/%s", pattern);
    autofree char *wanted = xasprintf("r.x/%s", name);
    error_clear(&err);
    if (matches && strstr(pattern, "***") == NULL &&
        mirror_expand(pattern, name, same, &found, &err) == ERR_OK) {
        char text[REFERENCE_NAME_MAX + 1];
        assert(strcmp(reference_name(&found, text), wanted) == 0);
    }
    return 0;
}
