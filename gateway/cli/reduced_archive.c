#include "gateway/cli/reduced_archive.h"

#include "base/mem.h"
#include "image/archive.h"
#include "image/tar_header.h"
#include "image/tar_write.h"

#define HEADER_LIMIT_BYTES ((size_t)16 << 10)

struct reduced_archive {
    struct archive_reader *reader;
    archive_filter *leaves_out;
    void *self;
    struct buf out;       /* what is not content: given before more is read */
    bool in_file;         /* its content is next */
    const uint8_t *start; /* of that, as far as it was read */
    size_t start_size;
    uint64_t padding; /* behind it */
    bool ended;
};

enum errc reduced_archive_open(struct source archive, archive_filter *leaves_out, void *self,
                               struct reduced_archive **out, struct error *err)
{
    struct archive_reader *reader = NULL;
    if (source_rewind(&archive, err) != ERR_OK ||
        archive_reader_open(archive, UINT64_MAX, &reader, err) != ERR_OK)
        return err->code;
    struct reduced_archive *reduced = xcalloc(1, sizeof *reduced);
    *reduced = (struct reduced_archive){.reader = reader,
                                        .leaves_out = leaves_out,
                                        .self = self,
                                        .out = BUF_INIT(HEADER_LIMIT_BYTES)};
    *out = reduced;
    return ERR_OK;
}

void reduced_archive_close(struct reduced_archive *reduced)
{
    if (reduced == NULL)
        return;
    archive_reader_close(reduced->reader);
    buf_deinit(&reduced->out);
    free(reduced);
}

static void add_zeros(struct reduced_archive *reduced, size_t size)
{
    static const uint8_t zeros[TAR_END_BYTES];
    buf_append(&reduced->out, zeros, size);
}

static bool stays(const struct reduced_archive *reduced, const struct archive_entry_info *info)
{
    return info->target || !reduced->leaves_out(reduced->self, info->name, info->size,
                                                reduced->start, reduced->start_size);
}

/* The next entry that stays; *end when there is none. */
static enum errc find_entry(struct reduced_archive *reduced, struct archive_entry_info *info,
                            bool *end, struct error *err)
{
    do {
        reduced->start_size = 0;
        if (archive_reader_next(reduced->reader, info, end, err) != ERR_OK ||
            (!*end && info->target == NULL &&
             archive_reader_read(reduced->reader, &reduced->start, &reduced->start_size, err) !=
                 ERR_OK))
            return err->code;
    } while (!*end && !stays(reduced, info));
    return ERR_OK;
}

static enum errc begin_entry(struct reduced_archive *reduced, struct error *err)
{
    struct archive_entry_info info;
    bool end = false;
    if (find_entry(reduced, &info, &end, err) != ERR_OK)
        return err->code;
    if (end) {
        reduced->ended = true;
        add_zeros(reduced, TAR_END_BYTES);
        return ERR_OK;
    }
    reduced->in_file = info.target == NULL;
    reduced->padding = info.target ? 0 : tar_padding(info.size);
    return tar_write_header(&reduced->out, info.name, info.size, info.target, err);
}

static bool take_start(struct reduced_archive *reduced, const uint8_t **data, size_t *size)
{
    *data = reduced->start;
    *size = reduced->start_size;
    reduced->start_size = 0;
    return *size > 0;
}

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct reduced_archive *reduced = self;
    buf_clear(&reduced->out);
    *size = 0;
    if (reduced->in_file && take_start(reduced, data, size))
        return ERR_OK;
    if (reduced->in_file) {
        if (archive_reader_read(reduced->reader, data, size, err) != ERR_OK || *size > 0)
            return err->code;
        reduced->in_file = false;
        add_zeros(reduced, (size_t)reduced->padding);
    }
    while (reduced->out.size == 0 && !reduced->ended)
        if (begin_entry(reduced, err) != ERR_OK)
            return err->code;
    *data = (const uint8_t *)buf_cstr(&reduced->out);
    *size = reduced->out.size;
    return ERR_OK;
}

struct source reduced_archive_source(struct reduced_archive *reduced)
{
    return (struct source){.pull = pull, .self = reduced};
}
