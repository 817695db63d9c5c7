#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/records_front.h"

void name_list_deinit(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct name_list){.names = NULL};
}

#define autolist __attribute__((cleanup(name_list_deinit)))

/* The text of the entry that the list shows, owned. */
typedef enum errc text_fn(struct kv_slice key, struct kv_slice value, char **text,
                          struct error *err);

/* `skip`: an entry stands for all that begin with its text, so the next one is behind them. */
static enum errc collect(struct kv_cursor *cursor, size_t limit, text_fn *text_of, bool skip,
                         struct name_list *list, struct error *err)
{
    struct record_key behind;
    size_t capacity = 0;
    for (;;) {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        char *text = NULL;
        if (kv_cursor_next(cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        list->more = more;
        if (!more || list->count == limit)
            return ERR_OK;
        if (text_of(key, value, &text, err) != ERR_OK)
            return err->code;
        list->names = mem_grow(list->names, list->count, &capacity, sizeof *list->names);
        list->names[list->count++] = text;
        if (skip) {
            behind = repository_end(text);
            kv_cursor_seek(cursor, record_key_slice(&behind));
        }
    }
}

/* The entries of the table with this prefix from `start` (NULL: from the first). */
static enum errc read_list(struct store *store, enum kv_table table, struct kv_slice prefix,
                           const struct record_key *start, size_t limit, text_fn *text_of,
                           struct name_list *out, struct error *err)
{
    autolist struct name_list list = {.names = NULL};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, table, prefix, &cursor, err) != ERR_OK)
        return err->code;
    if (start != NULL)
        kv_cursor_seek(&cursor, record_key_slice(start));
    if (collect(&cursor, limit, text_of, table == KV_MANIFESTS, &list, err) != ERR_OK)
        return err->code;
    *out = list;
    list = (struct name_list){.names = NULL};
    return ERR_OK;
}

static enum errc tag_text(struct kv_slice key, struct kv_slice value, char **text,
                          struct error *err)
{
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    if (tag_decode(key, value, tag, &digest, err) != ERR_OK)
        return err->code;
    *text = xstrdup(tag);
    return ERR_OK;
}

static enum errc repository_text(struct kv_slice key, struct kv_slice value, char **text,
                                 struct error *err)
{
    (void)value;
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    if (repository_digest_decode(key, name, &digest, err) != ERR_OK)
        return err->code;
    *text = xstrdup(name);
    return ERR_OK;
}

static enum errc referrer_text(struct kv_slice key, struct kv_slice value, char **text,
                               struct error *err)
{
    (void)key;
    return descriptor_decode(value, text, err);
}

enum errc repository_tags(struct store *store, const char *repository, const char *after,
                          size_t limit, struct name_list *out, struct error *err)
{
    if (!repository_name_fits(repository)) {
        *out = (struct name_list){.names = NULL};
        return ERR_OK;
    }
    struct record_key prefix = repository_prefix(repository);
    struct record_key start = tag_end(repository, after == NULL ? "" : after);
    return read_list(store, KV_TAGS, record_key_slice(&prefix), &start, limit, tag_text, out, err);
}

enum errc repositories_list(struct store *store, const char *after, size_t limit,
                            struct name_list *out, struct error *err)
{
    struct record_key start = repository_end(after == NULL ? "" : after);
    return read_list(store, KV_MANIFESTS, (struct kv_slice){NULL, 0}, &start, limit,
                     repository_text, out, err);
}

enum errc repository_referrers(struct store *store, const char *repository,
                               const struct digest *subject, const struct digest *after,
                               struct name_list *out, struct error *err)
{
    if (!repository_name_fits(repository)) {
        *out = (struct name_list){.names = NULL};
        return ERR_OK;
    }
    struct record_key prefix = referrers_prefix(repository, subject);
    struct record_key start = after ? referrer_end(repository, subject, after) : prefix;
    return read_list(store, KV_REFERRERS, record_key_slice(&prefix), &start, REFERRERS_MAX,
                     referrer_text, out, err);
}
