/*
 * Reading JSON that a stranger sent: a byte limit before parsing, no duplicate keys, and error
 * texts that name the document, line and column. Jansson bounds the nesting (2048 levels). A parsed
 * value takes up to a hundred times the bytes of its text ("[{},{},"), so the number of values is
 * limited too: JSON_VALUES_MAX of them need about 35 MiB at worst.
 *
 * Many documents at once would take that many times, so those that are larger than most are parsed
 * in turn, over all of the process (json_turn_take): whoever parses what a stranger sent takes a
 * turn for as long as it has the value.
 *
 * json_start() seeds the hash tables; call it once before other threads start.
 */
#ifndef SLIPWAY_BASE_JSON_H
#define SLIPWAY_BASE_JSON_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

#define autojson __attribute__((cleanup(json_decref_at)))

static inline void json_decref_at(json_t **at)
{
    json_decref(*at);
}

#define JSON_VALUES_MAX 140000 /* 4 MiB of layers with a title each */

void json_start(void);

/* A turn for a document of `size` bytes; one of less than JSON_TURN_BYTES needs none. It ends with
 * its scope, behind the value that is parsed in it:
 *
 *     autoturn struct json_turn turn = json_turn_take(size);
 *     autojson json_t *root = NULL;
 *
 * Who has the turn may take it again. It waits as long as those before it compute, some tens of
 * milliseconds each, so nothing may be waited for within one, and no HTTP thread takes one. */
#define JSON_TURN_BYTES ((size_t)16 << 10)
struct json_turn {
    bool taken;
};
struct json_turn json_turn_take(size_t size);
void json_turn_give(struct json_turn *turn);
#define autoturn __attribute__((unused, cleanup(json_turn_give)))

/* Parse `size` bytes into an owned value. `what` names the document in messages. ERR_JSON_TOO_LARGE
 * over `limit_bytes` or JSON_VALUES_MAX, ERR_JSON_INVALID (not JSON, duplicate key, trailing bytes,
 * too deep). */
enum errc json_parse(const void *data, size_t size, size_t limit_bytes, const char *what,
                     json_t **out, struct error *err);

/* The string member `key` of `object`, borrowed until `object` goes; NULL when absent or no string.
 */
const char *json_text(const json_t *object, const char *key);

/* Set the member `key` of `object`. A text that is not valid UTF-8 has no place in JSON: the member
 * says so. */
void json_put_text(json_t *object, const char *key, const char *text);
void json_put_number(json_t *object, const char *key, uint64_t number);

/* The value as compact JSON text, owned. Keys keep their order of insertion. */
char *json_compact(const json_t *value);
/* The same; `value` is taken. */
char *json_compact_take(json_t *value);

#endif
