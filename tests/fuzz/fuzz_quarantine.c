/*
 * Descriptions in the quarantine, which a damaged disk or a person may have changed, and the body
 * of POST /v1/check. The first byte says which. What is taken is within the bounds of its struct.
 */
#include "gateway/api/check.h"
#include "store/quarantine.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quarantine_item item = {.id = ""};
    struct error err = ERROR_INIT;
    bool repair = false;
    if (size == 0)
        return 0;
    if (data[0] % 2) {
        check_parse((const char *)data + 1, size - 1, &repair, &err);
    } else if (quarantine_item_parse(data + 1, size - 1, &item, &err) == ERR_OK) {
        assert(memchr(item.name, '\0', sizeof item.name) != NULL);
        assert(memchr(item.reason, '\0', sizeof item.reason) != NULL);
        assert(memchr(item.what, '\0', sizeof item.what) != NULL);
    } else {
        assert(err.code == ERR_STORE);
    }
    return 0;
}
