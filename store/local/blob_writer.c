#include "base/mem.h"
#include "store/local/batch_local.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A durable blob's pages are sent to the disk while more is written, so that the sync at commit has
 * little left to wait for. */
#define FLUSH_BYTES ((uint64_t)8 << 20)

struct blob_writer {
    struct batch *batch;
    int fd;
    uint32_t number;
    bool aside;
    bool reused; /* bytes of one that was given up may lie behind `size` */
    uint64_t size;
    uint64_t flushed;
    struct error error;
};

static enum errc create_file(struct batch *batch, struct blob_writer *file, struct error *err)
{
    char name[STAGE_NAME_MAX];
    if (stage_open(batch, err) != ERR_OK)
        return store_tell(batch->store, err);
    file->number = batch->stage->next_number++;
    file->fd = openat(batch->stage->folder_fd, stage_file_name(file->number, name),
                      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd >= 0)
        return ERR_OK;
    fail(err, ERR_IO, errno, "create a blob in the store");
    return store_tell(batch->store, err);
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
    struct blob_writer file = {.batch = batch, .aside = aside};
    if (!(aside && take_spare(batch->stage, &file)) && create_file(batch, &file, err) != ERR_OK)
        return err->code;
    struct blob_writer *writer = xcalloc(1, sizeof *writer);
    *writer = file;
    batch->open_writers++;
    *out = writer;
    return ERR_OK;
}

enum errc blob_writer_reader(const struct blob_writer *writer, int *fd, struct error *err)
{
    char name[STAGE_NAME_MAX];
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

enum errc blob_writer_write(struct blob_writer *writer, const void *data, size_t size,
                            struct error *err)
{
    if (writer->error.code == ERR_OK &&
        store_check_room_at(writer->batch->store, writer->batch->written_bytes, size,
                            &writer->error) == ERR_OK &&
        batch_count_write(writer->batch, size, &writer->error) == ERR_OK) {
        if (file_write_all(writer->fd, data, size, &writer->error) == ERR_OK) {
            writer->size += size;
            flush_behind(writer);
            return ERR_OK;
        }
        error_wrap(&writer->error, "write a blob to the store");
        store_tell(writer->batch->store, &writer->error);
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
    free(writer);
}

enum errc blob_writer_commit(struct blob_writer *writer, const struct digest *digest,
                             struct error *err)
{
    if (writer->error.code != ERR_OK) {
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
    } else {
        stage_drop(writer->batch, writer->number);
    }
    writer_free(writer);
}
