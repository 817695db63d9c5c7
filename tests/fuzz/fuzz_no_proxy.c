/* NO_PROXY and a URL, the first line of the input. */
#include "net/proxy.h"

#include "base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = xstrndup((const char *)data, size);
    autourl struct url url = {0};
    struct error err = ERROR_INIT;
    char *list = strchr(text, '\n');
    if (list == NULL)
        return 0;
    *list++ = '\0';
    if (url_parse(text, &url, &err) == ERR_OK)
        proxy_excepts(list, &url);
    return 0;
}
