#include "gateway/registry/registry.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/registry/page.h"
#include "image/manifest.h"

#include <string.h>

#define TAGS_AT_A_TIME 10000
#define REPOSITORIES_AT_A_TIME 1000
#define FILTER_MAX 256

/* A list is looked through by a worker: it may be long. */
struct list_job {
    struct store *store;
    struct gateway *gateway;
    struct caller *caller; /* a reference */
    struct v2_path path;
    char name[REPOSITORY_NAME_MAX + 1]; /* of the repository that is looked at */
    char *uri;                          /* owned; the path as it came */
    struct query query;                 /* owned */
    enum errc (*list)(const struct list_job *self, struct reply *reply, struct error *err);
};

/* ---- tags and repositories ---- */

static char *list_text(const char *name, const char *member, const struct name_list *list)
{
    json_t *names = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(names, json_string(list->names[i]));
    autojson json_t *root = json_object();
    if (name)
        json_object_set_new(root, "name", json_string(name));
    json_object_set_new(root, member, names);
    return json_compact(root);
}

/* Names as JSON, with a Link when there are more behind them. `list` is taken. */
static void answer_list(const struct list_job *self, const struct v2_page *page, char *text,
                        struct name_list *list, struct reply *reply)
{
    reply->status = 200;
    reply_json(reply, text);
    if (list->more && list->count > 0) {
        autofree char *link =
            v2_page_link(self->uri, page->limit, NULL, list->names[list->count - 1]);
        reply_header(reply, "Link", "%s", link);
    }
    name_list_deinit(list);
}

/* The order of tags is not the store's, so for each page all of them are looked at; what cannot be
 * on it is dropped on the way. */
static enum errc find_tags(struct store *store, const char *repository, const struct v2_page *page,
                           struct name_list *out, struct error *err)
{
    autofree char *after = NULL;
    bool more = true;
    while (more) {
        struct name_list some = {.count = 0};
        if (repository_tags(store, repository, after, TAGS_AT_A_TIME, &some, err) != ERR_OK) {
            name_list_deinit(out);
            return err->code;
        }
        more = some.more && some.count > 0;
        if (more) {
            free(after);
            after = xstrdup(some.names[some.count - 1]);
        }
        v2_page_of_tags(page, &some, out);
    }
    return ERR_OK;
}

/* distribution-spec, "Listing Tags" */
static enum errc list_tags(const struct list_job *self, struct reply *reply, struct error *err)
{
    struct store *store = self->store;
    const char *repository = self->path.repository;
    struct v2_page page;
    struct name_list tags = {.count = 0};
    bool held = false;
    if (v2_page_parse(&self->query, &page, err) != ERR_OK ||
        repository_held(store, self->name, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        return fail(err, ERR_REPOSITORY_NOT_HELD, 0, "there is no repository %s", repository);
    if (find_tags(store, repository, &page, &tags, err) != ERR_OK)
        return err->code;
    answer_list(self, &page, list_text(repository, "tags", &tags), &tags, reply);
    return ERR_OK;
}

static bool may_pull(const struct list_job *self, const char *name)
{
    return access_ask(self->gateway->access, self->caller, OPERATION_PULL, name, NULL) ==
           ACCESS_YES;
}

/* The names that the caller may pull. What it may not see takes no place on a page. `some` is
 * taken. */
static void add_visible(const struct list_job *self, size_t limit, struct name_list *some,
                        struct name_list *out)
{
    if (out->names == NULL)
        out->names = xcalloc(limit, sizeof *out->names);
    for (size_t i = 0; i < some->count && !out->more; i++) {
        if (!may_pull(self, some->names[i]))
            continue;
        out->more = out->count == limit;
        if (!out->more)
            out->names[out->count++] = mem_take(&some->names[i]);
    }
    name_list_deinit(some);
}

static enum errc find_repositories(const struct list_job *self, const struct v2_page *page,
                                   struct name_list *out, struct error *err)
{
    if (!access_is_on(self->gateway->access))
        return repositories_list(self->store, page->last, page->limit, out, err);
    autofree char *after = page->last ? xstrdup(page->last) : NULL;
    for (bool more = true; more && !out->more;) {
        struct name_list some = {.count = 0};
        if (repositories_list(self->store, after, REPOSITORIES_AT_A_TIME, &some, err) != ERR_OK) {
            name_list_deinit(out);
            return err->code;
        }
        more = some.more && some.count > 0;
        if (more) {
            free(after);
            after = xstrdup(some.names[some.count - 1]);
        }
        add_visible(self, page->limit, &some, out);
    }
    return ERR_OK;
}

/* As registries of the Docker kind have it; the specification has no such list. */
static enum errc list_repositories(const struct list_job *self, struct reply *reply,
                                   struct error *err)
{
    struct v2_page page;
    struct name_list names = {.count = 0};
    if (v2_page_parse(&self->query, &page, err) != ERR_OK)
        return err->code;
    if (page.limit > 0 && find_repositories(self, &page, &names, err) != ERR_OK)
        return err->code;
    answer_list(self, &page, list_text(NULL, "repositories", &names), &names, reply);
    return ERR_OK;
}

/* ---- referrers ---- */

struct referrers_page {
    const char *filter; /* an artifactType; NULL: all */
    struct digest last; /* after this one, unless DIGEST_NONE */
};

static enum errc parse_referrers_page(const struct query *query, struct referrers_page *out,
                                      struct error *err)
{
    bool twice = false;
    const char *filter = query_value(query, "artifactType", &twice);
    if (twice || (filter && strlen(filter) >= FILTER_MAX))
        return fail(err, ERR_BAD_REQUEST, 0,
                    "\"artifactType\" is there once, with less than %d bytes", FILTER_MAX);
    struct referrers_page page = {.filter = filter && *filter ? filter : NULL};
    if (query_value(query, "last", NULL) &&
        v2_query_digest(query, "last", &page.last, err) != ERR_OK)
        return err->code;
    *out = page;
    return ERR_OK;
}

static bool wanted(const struct referrers_page *page, const json_t *descriptor)
{
    const char *type = json_text(descriptor, "artifactType");
    return page->filter == NULL || (type && strcmp(type, page->filter) == 0);
}

/* An index is built up to the size that one may have. */
struct index_text {
    struct buf text;
    char *last; /* owned; the digest of the last descriptor that was looked at */
};

#define INDEX_BEGIN "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":["
#define INDEX_END "]}"

/* False when it is full. */
static bool add_descriptor(struct index_text *index, const struct referrers_page *page,
                           const char *text)
{
    autojson json_t *descriptor = json_loads(text, 0, NULL);
    const char *digest = json_text(descriptor, "digest");
    if (digest == NULL)
        return true;
    if (wanted(page, descriptor)) {
        if (index->text.size + strlen(text) + sizeof INDEX_END > MANIFEST_LIMIT_BYTES)
            return false;
        buf_text(&index->text, index->text.size > strlen(INDEX_BEGIN) ? "," : "");
        buf_text(&index->text, text);
    }
    free(index->last);
    index->last = xstrdup(digest);
    return true;
}

/* The index as text (owned); *last is set (owned) when there is more behind it. */
static char *index_of(const struct referrers_page *page, const struct name_list *list, char **last)
{
    struct index_text index = {.text = BUF_INIT(MANIFEST_LIMIT_BYTES)};
    size_t i = 0;
    buf_text(&index.text, INDEX_BEGIN);
    while (i < list->count && add_descriptor(&index, page, list->names[i]))
        i++;
    buf_text(&index.text, INDEX_END);
    if (i < list->count || list->more)
        *last = mem_take(&index.last);
    free(index.last);
    return buf_take(&index.text);
}

/* distribution-spec, "Listing Referrers" */
static enum errc list_referrers(const struct list_job *self, struct reply *reply, struct error *err)
{
    struct referrers_page page = {.filter = NULL};
    struct name_list list = {.count = 0};
    if (parse_referrers_page(&self->query, &page, err) != ERR_OK ||
        repository_referrers(self->store, self->name, &self->path.digest,
                             page.last.algorithm == DIGEST_NONE ? NULL : &page.last, &list,
                             err) != ERR_OK)
        return err->code;
    autofree char *last = NULL;
    char *text = index_of(&page, &list, &last);
    name_list_deinit(&list);
    reply->status = 200;
    reply_bytes(reply, text, strlen(text));
    reply_header(reply, "Content-Type", MEDIA_OCI_INDEX);
    if (page.filter)
        reply_header(reply, "OCI-Filters-Applied", "artifactType");
    if (last) {
        autofree char *link = v2_page_link(self->uri, 0, page.filter, last);
        reply_header(reply, "Link", "%s", link);
    }
    return ERR_OK;
}

/* ---- the jobs ---- */

static void run(struct job *job, void *arg)
{
    const struct list_job *self = arg;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(0);
    if (self->list(self, &reply, &err) == ERR_OK)
        v2_answer(job, &reply);
    else
        v2_answer_error(job, &err);
}

static void drop(void *arg)
{
    struct list_job *self = arg;
    query_deinit(&self->query);
    caller_unref(self->caller);
    free(self->uri);
    free(self);
}

static struct job *start(struct v2_request *front,
                         enum errc (*list)(const struct list_job *self, struct reply *reply,
                                           struct error *err),
                         struct reply *reply)
{
    struct list_job *self = xcalloc(1, sizeof *self);
    *self = (struct list_job){.store = front->gateway->runtime->store,
                              .gateway = front->gateway,
                              .caller = caller_ref(front->request->caller),
                              .path = front->path,
                              .uri = xstrdup(front->request->path),
                              .query = front->query,
                              .list = list};
    front->query = (struct query){.count = 0};
    v2_looked_in(front, self->name);
    return v2_start(front, JOB_LIST, run, drop, self, reply);
}

struct job *v2_list_tags(struct v2_request *front, struct reply *reply)
{
    return start(front, list_tags, reply);
}

struct job *v2_list_repositories(struct v2_request *front, struct reply *reply)
{
    return start(front, list_repositories, reply);
}

struct job *v2_list_referrers(struct v2_request *front, struct reply *reply)
{
    return start(front, list_referrers, reply);
}
