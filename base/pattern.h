/*
 * Patterns of names. `*` matches within one component of a name, `**` across components; both match
 * nothing, too. In a second pattern that is filled in, the first `*` stands for what the first `*`
 * matched, and so on, the same for `**`. Where a name can be divided in several ways, each wildcard
 * takes as much as it can, from left to right. A match costs at most the product of both lengths.
 *
 * Pure functions.
 */
#ifndef SLIPWAY_BASE_PATTERN_H
#define SLIPWAY_BASE_PATTERN_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

#define PATTERN_MAX 255      /* bytes of a pattern; a longer one matches nothing */
#define PATTERN_NAME_MAX 255 /* bytes of a name; a longer one is not matched */

/* Does it match the whole of `name`? */
bool pattern_matches(const char *pattern, const char *name);

/* `target` with what the wildcards of `pattern` matched of `name`, appended to `out`.
 * ERR_REFERENCE_INVALID when the pattern does not match, or has fewer wildcards than `target`. */
enum errc pattern_expand(const char *pattern, const char *name, const char *target, struct buf *out,
                         struct error *err);

#endif
