/* A client certificate, DER: its name is refused, or is one line of UTF-8 that begins with "cert:"
 * and is no longer than names of identities are. */
#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/access/certificates.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct certificate_bytes certificate = {data, size};
    struct error err = ERROR_INIT;
    autofree char *name = NULL;
    if (certificate_name(&certificate, &name, &err) != ERR_OK) {
        assert(err.code == ERR_UNAUTHENTICATED && name == NULL);
        return 0;
    }
    bool control = false;
    assert(strncmp(name, "cert:", 5) == 0 && name[5] && strlen(name) <= IDENTITY_NAME_MAX);
    for (const char *at = name; *at;) {
        size_t step = utf8_next(at, &control);
        assert(step > 0 && !control);
        at += step;
    }
    return 0;
}
