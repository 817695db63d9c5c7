/*
 * Lists that come in pages: `n` and `last` of a request, the part of a list that they ask for, and
 * the Link to the next. OCI distribution-spec, "Listing Tags"; RFC 8288.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_PAGE_H
#define SLIPWAY_GATEWAY_REGISTRY_PAGE_H

#include "gateway/http/query.h"
#include "store/repositories.h"

/* The most names of one answer, whatever `n` says: what is left is behind the Link. */
#define V2_PAGE_MAX 10000

struct v2_page {
    size_t limit;     /* at most V2_PAGE_MAX; 0: an empty list without a Link */
    const char *last; /* NULL: from the first; borrowed from the query */
};

/* ERR_BAD_REQUEST for an `n` that is no whole number, or a parameter that is there twice. */
enum errc v2_page_parse(const struct query *query, struct v2_page *out, struct error *err);

/* The specification's order of tags: alphanumeric without regard to case. Tags that differ in
 * nothing else are in byte order, so the order is total. */
int v2_tag_compare(const char *a, const char *b);

/* Take some tags of a repository (in any order; the list is emptied) into *out, which keeps those
 * of the page in the order above; when all have been taken in, `more` tells whether some are behind
 * them. */
void v2_page_of_tags(const struct v2_page *page, struct name_list *some, struct name_list *out);

/* The value of the Link header that leads to what is behind `last`; owned. `path` is that of the
 * request; `limit` 0: without `n`; `filter` (may be NULL) is the artifactType asked for. */
char *v2_page_link(const char *path, size_t limit, const char *filter, const char *last);

#endif
