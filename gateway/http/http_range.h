/*
 * Ranges of bytes in requests.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_HTTP_RANGE_H
#define SLIPWAY_GATEWAY_HTTP_HTTP_RANGE_H

#include "base/error.h"

#include <stdint.h>

struct byte_range {
    uint64_t first;
    uint64_t size;
};

/* What a Range header asks for of `total` bytes (RFC 9110, 14.2). RANGE_WHOLE: no header, another
 * unit, several ranges, or a malformed one, all of which are answered with the whole; RANGE_PART:
 * *out; RANGE_NONE: none of it is there, or it ends before it begins (416). */
enum range_answer { RANGE_WHOLE, RANGE_PART, RANGE_NONE };
enum range_answer http_range(const char *header, uint64_t total, struct byte_range *out);

/* The Content-Range of a chunk that a client sends: "FIRST-LAST" (distribution-spec), also with
 * "bytes=" or "bytes " before and a total ("/N", "/" and a star) behind, as some clients write it.
 * ERR_UPLOAD_INVALID.
 */
enum errc content_range_parse(const char *header, struct byte_range *out, struct error *err);

#endif
