#include "base/mem.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_repositories.h"

void name_list_deinit(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct name_list){.names = NULL};
}

#define autolist __attribute__((cleanup(name_list_deinit)))

/* The text of the entry that the list shows, owned; NULL: it does not show this one. */
typedef enum errc text_fn(const struct kv_txn *txn, struct kv_slice key, struct kv_slice value,
                          char **text, struct error *err);

/* A repository stands for all manifests in it, so the next entry is behind them. A record that
 * cannot be read is left out. */
static enum errc collect(struct store *store, enum kv_table table, const struct kv_txn *txn,
                         struct kv_cursor *cursor, size_t limit, text_fn *text_of,
                         struct name_list *list, struct error *err)
{
    bool skip = table == KV_MANIFESTS;
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
        if (text_of(txn, key, value, &text, err) != ERR_OK &&
            (err->code != ERR_STORE || quarantine_skip(store, table, key, value, err) != ERR_OK))
            return err->code;
        if (text == NULL)
            continue;
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
    if (collect(store, table, &txn, &cursor, limit, text_of, &list, err) != ERR_OK)
        return err->code;
    *out = list;
    list = (struct name_list){.names = NULL};
    return ERR_OK;
}

static enum errc tag_text(const struct kv_txn *txn, struct kv_slice key, struct kv_slice value,
                          char **text, struct error *err)
{
    (void)txn;
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    if (tag_decode(key, value, tag, &digest, err) != ERR_OK)
        return err->code;
    *text = xstrdup(tag);
    return ERR_OK;
}

static enum errc repository_text(const struct kv_txn *txn, struct kv_slice key,
                                 struct kv_slice value, char **text, struct error *err)
{
    (void)txn, (void)value;
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    if (repository_digest_decode(key, name, &digest, err) != ERR_OK)
        return err->code;
    *text = xstrdup(name);
    return ERR_OK;
}

/* *held: the repository has the manifest that the record is of. */
static enum errc referrer_is_held(const struct kv_txn *txn, struct kv_slice key,
                                  struct digest *referrer, bool *held, struct error *err)
{
    char repository[REPOSITORY_NAME_MAX + 1];
    struct kv_slice ignored;
    if (referrer_key_decode(key, repository, referrer, err) != ERR_OK)
        return err->code;
    struct record_key manifest = repository_digest_key(repository, referrer);
    return kv_get(txn, KV_MANIFESTS, record_key_slice(&manifest), &ignored, held, err);
}

static enum errc referrer_text(const struct kv_txn *txn, struct kv_slice key, struct kv_slice value,
                               char **text, struct error *err)
{
    struct digest referrer;
    bool held = false;
    if (referrer_is_held(txn, key, &referrer, &held, err) != ERR_OK)
        return err->code;
    return held ? descriptor_decode(value, text, err) : ERR_OK;
}

static enum errc past_referrer_text(const struct kv_txn *txn, struct kv_slice key,
                                    struct kv_slice value, char **text, struct error *err)
{
    (void)value;
    struct digest referrer;
    char digest[DIGEST_TEXT_MAX];
    bool held = false;
    if (referrer_is_held(txn, key, &referrer, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        *text = xstrdup(digest_text(&referrer, digest));
    return ERR_OK;
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

static enum errc list_referrers(struct store *store, const char *repository,
                                const struct digest *subject, const struct digest *after,
                                text_fn *text_of, struct name_list *out, struct error *err)
{
    if (!repository_name_fits(repository)) {
        *out = (struct name_list){.names = NULL};
        return ERR_OK;
    }
    struct record_key prefix = referrers_prefix(repository, subject);
    struct record_key start = after ? referrer_end(repository, subject, after) : prefix;
    return read_list(store, KV_REFERRERS, record_key_slice(&prefix), &start, REFERRERS_MAX, text_of,
                     out, err);
}

enum errc repository_referrers(struct store *store, const char *repository,
                               const struct digest *subject, const struct digest *after,
                               struct name_list *out, struct error *err)
{
    return list_referrers(store, repository, subject, after, referrer_text, out, err);
}

enum errc repository_past_referrers(struct store *store, const char *repository,
                                    const struct digest *subject, struct name_list *out,
                                    struct error *err)
{
    return list_referrers(store, repository, subject, NULL, past_referrer_text, out, err);
}
