/* A file of users: refused with its name, or every user has a hash that is taken, and the message
 * never quotes what stands behind the name. */
#include "base/mem.h"
#include "gateway/access/htpasswd.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define FILE_NAME "fuzz.users"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct user_list *list = NULL;
    struct error err = ERROR_INIT;
    if (user_list_parse((const char *)data, size, FILE_NAME, &list, &err) != ERR_OK) {
        assert(err.code == ERR_SETTINGS && list == NULL);
        assert(strncmp(err.text, FILE_NAME, strlen(FILE_NAME)) == 0);
        return 0;
    }
    autofree char *name = xstrndup((const char *)data, size);
    name[strcspn(name, ":")] = '\0';
    const char *hash = user_list_hash(list, name);
    assert(hash == NULL || strncmp(hash, "$2", 2) == 0 || strncmp(hash, "$y$j", 4) == 0);
    user_list_free(list);
    return 0;
}
