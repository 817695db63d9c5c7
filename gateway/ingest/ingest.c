#include "gateway/ingest/ingest.h"

#include "base/mem.h"
#include "image/archive.h"

#include <stdio.h>
#include <string.h>

struct ingest {
    struct cancel *cancel;
    struct archive_reader *reader;
    struct file_intake *files;
    struct catalog *catalog;
};

/* `blobs/ALG/HEX`: the digest that the name promises; DIGEST_NONE for any other name, which
 * promises nothing (`blobs/sha256/HEX.tar.gz` of Bazel, `blobs/sha256/._HEX` of macOS). */
static struct digest promised_digest(const char *name)
{
    struct digest digest = {0};
    struct error no_digest = ERROR_INIT;
    char algorithm[16];
    int at = 0;
    if (sscanf(name, "blobs/%15[a-z0-9]/%n", algorithm, &at) == 1 && at > 0 &&
        digest_parse_parts(algorithm, name + at, &digest, &no_digest) != ERR_OK)
        digest = (struct digest){0};
    return digest;
}

/* More of the file at hand; *size 0 at its end. */
static enum errc read_more(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct ingest *ingest = self;
    if (cancel_check(ingest->cancel, err) != ERR_OK)
        return err->code;
    return archive_reader_read(ingest->reader, data, size, err);
}

static enum errc take_file(struct ingest *ingest, const struct archive_entry_info *info,
                           struct error *err)
{
    autofree char *name = xstrdup(info->name);
    const struct file_promise promise = {.digest = promised_digest(name), .size = info->size};
    struct layer_result content;
    struct source source = {.pull = read_more, .self = ingest};
    if (file_intake_take(ingest->files, source, &promise, &content, err) != ERR_OK)
        return err->code;
    if (promise.digest.algorithm != DIGEST_NONE && !digest_equal(&promise.digest, &content.raw)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, ERR_DIGEST_MISMATCH, 0,
                    "the bytes of entry \"%s\" have the digest %s, not that of its name", name,
                    digest_text(&content.raw, text));
    }
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
    struct ingest ingest = {.cancel = cancel};
    if (archive_reader_open(source, options->limit_bytes, &ingest.reader, err) != ERR_OK)
        return err->code;
    ingest.catalog = catalog_new();
    ingest.files = file_intake_new(&options->files, cancel, batch);
    enum errc rc = take_entries(&ingest, err);
    file_intake_free(ingest.files);
    archive_reader_close(ingest.reader);
    if (rc != ERR_OK) {
        catalog_free(ingest.catalog);
        return rc;
    }
    *out = ingest.catalog;
    return ERR_OK;
}
