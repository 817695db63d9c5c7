/*
 * Queries: within their limits whatever they hold, and the same when written out and parsed again.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "gateway/http/query.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct query *query)
{
    struct buf text = BUF_INIT((size_t)16 << 20);
    for (size_t i = 0; i < query->count; i++) {
        buf_query_escape(&text, query->items[i].name);
        buf_text(&text, "=");
        buf_query_escape(&text, query->items[i].value);
        buf_text(&text, "&");
    }
    assert(!text.overflowed);
    return buf_take(&text);
}

static void check_query(const struct query *query)
{
    struct error err = ERROR_INIT;
    struct query again;
    assert(query->count <= QUERY_PARAMETERS_MAX);
    autofree char *text = written(query);
    assert(query_parse(text, &again, &err) == ERR_OK);
    assert(again.count == query->count);
    for (size_t i = 0; i < query->count; i++) {
        assert(strcmp(again.items[i].name, query->items[i].name) == 0);
        assert(strcmp(again.items[i].value, query->items[i].value) == 0);
        assert(query_value(query, query->items[i].name, NULL) != NULL);
    }
    query_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct query query;
    autofree char *text = xstrndup((const char *)data, size);
    if (query_parse(text, &query, &err) != ERR_OK) {
        assert(err.code == ERR_BAD_REQUEST && strpbrk(err.text, "\n\r\x1b") == NULL);
        return 0;
    }
    check_query(&query);
    query_deinit(&query);
    return 0;
}
