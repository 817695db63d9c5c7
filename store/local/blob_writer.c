#include "base/mem.h"
#include "store/local/batch_local.h"

#include <errno.h>
#include <fcntl.h>

/* A durable blob's pages are sent to the disk while more is written, so that the sync at commit has
 * little left to wait for. */
#define FLUSH_BYTES ((uint64_t)8 << 20)

struct blob_writer {
    struct batch *batch;
    int fd;
    uint32_t number;
    uint64_t size;
    uint64_t flushed;
    struct error error;
};

enum errc blob_writer_open(struct batch *batch, struct blob_writer **out, struct error *err)
{
    char name[STAGE_NAME_MAX];
    if (stage_open(batch, err) != ERR_OK)
        return store_tell(batch->store, err);
    uint32_t number = batch->stage->next_number++;
    int fd = openat(batch->stage->folder_fd, stage_file_name(number, name),
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail(err, ERR_IO, errno, "create a blob in the store");
        return store_tell(batch->store, err);
    }
    struct blob_writer *writer = xcalloc(1, sizeof *writer);
    writer->batch = batch;
    writer->fd = fd;
    writer->number = number;
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
    enum errc rc = batch_add_blob(writer->batch, digest, writer->size, writer->number, err);
    writer_free(writer);
    return rc;
}

void blob_writer_abort(struct blob_writer *writer)
{
    if (writer == NULL)
        return;
    stage_drop(writer->batch, writer->number);
    writer_free(writer);
}
