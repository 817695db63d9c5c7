#include "gateway/registry/page.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define LINK_MAX_BYTES ((size_t)8 << 10)

static enum errc parse_count(const char *text, size_t *out, struct error *err)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "n is \"%.100s\", not a number of entries", text);
    size_t count = 0;
    for (size_t i = 0; i < digits && count < V2_PAGE_MAX; i++)
        count = count * 10 + (size_t)(text[i] - '0');
    *out = count < V2_PAGE_MAX ? count : V2_PAGE_MAX;
    return ERR_OK;
}

enum errc v2_page_parse(const struct query *query, struct v2_page *out, struct error *err)
{
    bool n_twice = false, last_twice = false;
    const char *n = query_value(query, "n", &n_twice);
    const char *last = query_value(query, "last", &last_twice);
    if (n_twice || last_twice)
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%s\" is there twice",
                    n_twice ? "n" : "last");
    struct v2_page page = {.limit = V2_PAGE_MAX, .last = last && *last ? last : NULL};
    if (n && parse_count(n, &page.limit, err) != ERR_OK)
        return err->code;
    *out = page;
    return ERR_OK;
}

int v2_tag_compare(const char *a, const char *b)
{
    int order = strcasecmp(a, b);
    return order != 0 ? order : strcmp(a, b);
}

static int compare_at(const void *a, const void *b)
{
    return v2_tag_compare(*(char *const *)a, *(char *const *)b);
}

static bool behind_last(const struct v2_page *page, const char *tag)
{
    return page->last == NULL || v2_tag_compare(tag, page->last) > 0;
}

void v2_page_of_tags(const struct v2_page *page, struct name_list *some, struct name_list *out)
{
    out->names = xrealloc(out->names, out->count + some->count + 1, sizeof *out->names);
    for (size_t i = 0; i < some->count; i++) {
        if (behind_last(page, some->names[i]))
            out->names[out->count++] = mem_take(&some->names[i]);
    }
    name_list_deinit(some);
    qsort(out->names, out->count, sizeof *out->names, compare_at);
    while (out->count > page->limit) {
        free(out->names[--out->count]);
        out->more = true;
    }
}

static void put_parameter(struct buf *link, const char *name, const char *value)
{
    buf_text(link, strchr(buf_cstr(link), '?') ? "&" : "?");
    buf_text(link, name);
    buf_text(link, "=");
    buf_query_escape(link, value);
}

char *v2_page_link(const char *path, size_t limit, const char *filter, const char *last)
{
    autobuf struct buf link = BUF_INIT(LINK_MAX_BYTES);
    buf_format(&link, "<%s", path);
    if (limit > 0) {
        autofree char *n = xasprintf("%zu", limit);
        put_parameter(&link, "n", n);
    }
    if (filter)
        put_parameter(&link, "artifactType", filter);
    put_parameter(&link, "last", last);
    buf_text(&link, ">; rel=\"next\"");
    return buf_take(&link);
}
