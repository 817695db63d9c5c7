#include "base/mem.h"
#include "store/local/batch_local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A durable blob's pages are sent to the disk while more is written, so that the sync at commit has
 * little left to wait for. */
#define FLUSH_BYTES ((uint64_t)8 << 20)

struct blob_writer {
    struct batch *batch;
    int fd; /* -1: it is in `small` */
    uint32_t number;
    uint8_t *small; /* STAGE_SMALL_BYTES; NULL: nothing was written, or it is in the file */
    bool aside;
    bool reused; /* bytes of one that was given up may lie behind `size` */
    uint64_t size;
    uint64_t flushed;
    struct error error;
};

static enum errc create_file(struct batch *batch, struct blob_writer *file, struct error *err)
{
    return stage_create(batch, file->number, &file->fd, err) == ERR_OK
               ? ERR_OK
               : store_tell(batch->store, err);
}

/* Until then it is in memory. */
static enum errc put_into_file(struct blob_writer *writer, struct error *err)
{
    if (writer->fd >= 0)
        return ERR_OK;
    if (create_file(writer->batch, writer, err) != ERR_OK)
        return err->code;
    if (file_write_all(writer->fd, writer->small, (size_t)writer->size, err) != ERR_OK) {
        error_wrap(err, "write a blob to the store");
        return store_tell(writer->batch->store, err);
    }
    free(mem_take(&writer->small));
    return ERR_OK;
}

/* Layers that are put aside only until they are known come one after another: each writes over the
 * one before, whose pages are there already. */
static bool take_spare(struct stage *stage, struct blob_writer *file)
{
    if (stage->spare_fd < 0 || lseek(stage->spare_fd, 0, SEEK_SET) != 0)
        return false;
    file->fd = stage->spare_fd;
    file->number = stage->spare_number;
    file->reused = true;
    stage->spare_fd = -1;
    return true;
}

static enum errc open_writer(struct batch *batch, bool aside, struct blob_writer **out,
                             struct error *err)
{
    struct blob_writer file = {.batch = batch, .fd = -1, .aside = aside};
    bool spare = aside && take_spare(batch->stage, &file);
    if (!spare)
        file.number = batch->stage->next_number++;
    if (aside && !spare && create_file(batch, &file, err) != ERR_OK)
        return err->code;
    struct blob_writer *writer = xcalloc(1, sizeof *writer);
    *writer = file;
    batch->open_writers++;
    *out = writer;
    return ERR_OK;
}

enum errc blob_writer_reader(struct blob_writer *writer, int *fd, struct error *err)
{
    char name[STAGE_NAME_MAX];
    if (put_into_file(writer, err) != ERR_OK)
        return err->code;
    *fd = openat(writer->batch->stage->folder_fd, stage_file_name(writer->number, name),
                 O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? ERR_OK : fail(err, ERR_IO, errno, "read a blob that is being written");
}

enum errc blob_writer_open(struct batch *batch, struct blob_writer **out, struct error *err)
{
    return open_writer(batch, false, out, err);
}

enum errc blob_writer_open_aside(struct batch *batch, struct blob_writer **out, struct error *err)
{
    return open_writer(batch, true, out, err);
}

static void flush_behind(struct blob_writer *writer)
{
    uint64_t fresh = writer->size - writer->flushed;
    if (writer->batch->durability != BATCH_DURABLE || fresh < FLUSH_BYTES)
        return;
    /* Only a hint: what fails here fails again, and is seen, in the commit's fsync. */
    sync_file_range(writer->fd, (off_t)writer->flushed, (off_t)fresh, SYNC_FILE_RANGE_WRITE);
    writer->flushed = writer->size;
}

static enum errc write_bytes(struct blob_writer *writer, const void *data, size_t size,
                             struct error *err)
{
    if (writer->fd < 0 && writer->size + size <= STAGE_SMALL_BYTES) {
        if (writer->small == NULL)
            writer->small = xmalloc(STAGE_SMALL_BYTES);
        memcpy(writer->small + writer->size, data, size);
        return ERR_OK;
    }
    if (put_into_file(writer, err) != ERR_OK)
        return err->code;
    if (file_write_all(writer->fd, data, size, err) == ERR_OK)
        return ERR_OK;
    error_wrap(err, "write a blob to the store");
    return store_tell(writer->batch->store, err);
}

enum errc blob_writer_write(struct blob_writer *writer, const void *data, size_t size,
                            struct error *err)
{
    if (writer->error.code == ERR_OK &&
        store_check_room_at(writer->batch->store, writer->batch->written_bytes, size,
                            &writer->error) == ERR_OK &&
        batch_count_write(writer->batch, size, &writer->error) == ERR_OK) {
        if (write_bytes(writer, data, size, &writer->error) == ERR_OK) {
            writer->size += size;
            flush_behind(writer);
            return ERR_OK;
        }
    }
    *err = writer->error;
    return err->code;
}

static enum errc sink(void *self, const void *data, size_t size, struct error *err)
{
    return blob_writer_write(self, data, size, err);
}

struct sink blob_writer_sink(struct blob_writer *writer)
{
    return (struct sink){.write = sink, .self = writer};
}

static void writer_free(struct blob_writer *writer)
{
    writer->batch->open_writers--;
    file_close_at(&writer->fd);
    free(writer->small);
    free(writer);
}

/* A small one may stay in memory, as far as its batch has room for that. */
static enum errc settle(struct blob_writer *writer, struct error *err)
{
    size_t size = (size_t)writer->size;
    if (writer->fd >= 0)
        return ERR_OK;
    if (writer->batch->stage->small_bytes + size > STAGE_SMALL_ALL_BYTES)
        return put_into_file(writer, err);
    stage_keep(writer->batch, writer->number, xrealloc(mem_take(&writer->small), size + 1, 1),
               size);
    return ERR_OK;
}

enum errc blob_writer_commit(struct blob_writer *writer, const struct digest *digest,
                             struct error *err)
{
    if (writer->error.code != ERR_OK || settle(writer, &writer->error) != ERR_OK) {
        *err = writer->error;
        blob_writer_abort(writer);
        return err->code;
    }
    if (writer->reused && ftruncate(writer->fd, (off_t)writer->size) != 0) {
        fail(err, ERR_IO, errno, "end a blob in the store");
        store_tell(writer->batch->store, err);
        blob_writer_abort(writer);
        return err->code;
    }
    enum errc rc = batch_add_blob(writer->batch, digest, writer->size, writer->number, err);
    writer_free(writer);
    return rc;
}

void blob_writer_abort(struct blob_writer *writer)
{
    if (writer == NULL)
        return;
    struct stage *stage = writer->batch->stage;
    if (writer->aside && stage->spare_fd < 0 && writer->error.code == ERR_OK) {
        stage->spare_fd = writer->fd;
        stage->spare_number = writer->number;
        writer->fd = -1;
    } else if (writer->fd >= 0) {
        stage_drop(writer->batch, writer->number);
    }
    writer_free(writer);
}
