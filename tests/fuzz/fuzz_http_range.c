/*
 * Range and Content-Range: what is answered with lies within the whole, and no size wraps around.
 * The first eight bytes are the size of the whole.
 */
#include "base/mem.h"
#include "gateway/http/http_range.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct byte_range range = {0};
    uint64_t total = 0;
    if (size < sizeof total)
        return 0;
    memcpy(&total, data, sizeof total);
    autofree char *text = xstrndup((const char *)data + sizeof total, size - sizeof total);
    if (http_range(text, total, &range) == RANGE_PART) {
        assert(range.size > 0);
        assert(range.first < total && range.size <= total - range.first);
    }
    if (content_range_parse(text, &range, &err) == ERR_OK) {
        assert(range.size > 0);
        assert(range.first + range.size > range.first);
    } else {
        assert(err.code == ERR_UPLOAD_INVALID && strpbrk(err.text, "\n\r\x1b") == NULL);
    }
    return 0;
}
