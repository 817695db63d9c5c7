#include "gateway/ingest/ingest.h"

#include "base/mem.h"
#include "gateway/ingest/contents.h"
#include "gateway/ingest/stream_tables.h"
#include "image/archive.h"
#include "image/oci_layout.h"

struct ingest {
    struct cancel *cancel;
    const struct layer_watch *watch;
    bool streams;                /* no table can be read before the files */
    bool unlisted;               /* then what no table names is watched, too */
    struct contents *contents;   /* NULL when the archive is not looked at beforehand */
    struct stream_tables tables; /* of one that is not */
    struct batch *batch;
    struct archive_reader *reader;
    struct file_intake *files;
    struct catalog *catalog;
};

/* More of the file at hand; *size 0 at its end. */
static enum errc read_more(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct ingest *ingest = self;
    if (cancel_check(ingest->cancel, err) != ERR_OK)
        return err->code;
    return archive_reader_read(ingest->reader, data, size, err);
}

static enum named_layer named(const struct ingest *ingest, const char *name)
{
    return ingest->streams ? stream_tables_names(&ingest->tables, name)
                           : contents_names_layer(ingest->contents, name);
}

static enum errc take_content(struct ingest *ingest, const struct file_promise *promise,
                              const char *name, struct layer_result *content, struct error *err)
{
    struct source source = {.pull = read_more, .self = ingest};
    if (file_intake_take(ingest->files, source, promise, content, err) != ERR_OK ||
        archive_reader_skip(ingest->reader, err) != ERR_OK)
        return err->code;
    if (promise->digest.algorithm != DIGEST_NONE &&
        !digest_equal(&promise->digest, &content->raw)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, ERR_DIGEST_MISMATCH, 0,
                    "the bytes of entry \"%s\" have the digest %s, not that of its name", name,
                    digest_text(&content->raw, text));
    }
    return ERR_OK;
}

/* What follows may be named by it. */
static void see_table(struct ingest *ingest, const char *name, const struct layer_result *content)
{
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    size_t most = stream_tables_wants(&ingest->tables, name);
    if (most == 0)
        return;
    if (content->size > most || batch_read_all(ingest->batch, &content->digest, most, "table",
                                               &data, &size, &ignored) != ERR_OK)
        size = 0;
    stream_tables_see(&ingest->tables, name, size > 0 ? data : "", size);
}

static enum errc take_file(struct ingest *ingest, const struct archive_entry_info *info,
                           struct error *err)
{
    autofree char *name = xstrdup(info->name);
    struct file_promise promise = {.digest = layout_blob_digest(name),
                                   .size = info->size,
                                   .passable = archive_reader_seeks(ingest->reader),
                                   .diff_id = contents_diff_id(ingest->contents, name),
                                   .named = named(ingest, name)};
    if (promise.named != LAYER_NOT_NAMED || ingest->unlisted)
        promise.watch = ingest->watch;
    struct layer_result content;
    enum errc rc = take_content(ingest, &promise, name, &content, err);
    if (promise.watch)
        promise.watch->ended(promise.watch->self, rc == ERR_OK ? &content : NULL);
    if (rc != ERR_OK)
        return rc;
    if (ingest->watch && ingest->streams)
        see_table(ingest, name, &content);
    return catalog_add_file(ingest->catalog, name, &content, err);
}

static enum errc take_entries(struct ingest *ingest, struct error *err)
{
    for (;;) {
        struct archive_entry_info info;
        bool end = false;
        if (archive_reader_next(ingest->reader, &info, &end, err) != ERR_OK)
            return err->code;
        if (end)
            return catalog_check_links(ingest->catalog, err);
        enum errc rc = info.target ? catalog_add_link(ingest->catalog, info.name, info.target, err)
                                   : take_file(ingest, &info, err);
        if (rc != ERR_OK)
            return rc;
    }
}

enum errc ingest_archive(const struct ingest_options *options, struct source source,
                         struct cancel *cancel, struct batch *batch, struct catalog **out,
                         struct error *err)
{
    struct ingest ingest = {.cancel = cancel, .watch = options->watch, .batch = batch};
    if (contents_read(source, options->limit_bytes, options->watch != NULL, cancel,
                      &ingest.contents, err) != ERR_OK)
        return err->code;
    enum errc rc = archive_reader_open(source, options->limit_bytes, &ingest.reader, err);
    if (rc == ERR_OK) {
        ingest.streams = source.rewind == NULL || !archive_reader_seeks(ingest.reader);
        ingest.unlisted = ingest.streams && options->watch && options->watch->unlisted;
        ingest.catalog = catalog_new();
        ingest.files = file_intake_new(&options->files, cancel, batch);
        rc = take_entries(&ingest, err);
        file_intake_free(ingest.files);
        archive_reader_close(ingest.reader);
    }
    contents_free(ingest.contents);
    stream_tables_deinit(&ingest.tables);
    if (rc != ERR_OK) {
        catalog_free(ingest.catalog);
        return rc;
    }
    *out = ingest.catalog;
    return ERR_OK;
}
