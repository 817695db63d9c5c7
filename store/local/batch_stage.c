#include "base/log.h"
#include "base/mem.h"
#include "store/local/batch_local.h"
#include "store/local/leases.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

void stage_begin(struct batch *batch)
{
    struct stage *stage = xcalloc(1, sizeof *stage);
    stage->folder_fd = -1;
    stage->spare_fd = -1;
    stage->serial = (uint64_t)atomic_fetch_add(&batch->store->next_batch, 1);
    snprintf(stage->name, sizeof stage->name, "%" PRIu64, stage->serial);
    batch->stage = stage;
}

static void remove_folder(struct batch *batch)
{
    struct error err = ERROR_INIT;
    file_close_at(&batch->stage->folder_fd);
    if (file_remove_tree(batch->store->staging_fd, batch->stage->name, &err) != ERR_OK)
        log_warn("clean up after a batch: %s", err.text);
}

/* Their bytes are in a blob, or nobody waits for them. What stays here a process that dies before
 * leaves: a session, or, after the commit, a file that blob_uploads_expire() removes. */
static void remove_session_files(const struct batch *batch)
{
    for (size_t i = 0; i < batch->session_count; i++)
        unlinkat(batch->store->uploads_fd, batch->sessions[i].id, 0);
}

void stage_end(struct batch *batch)
{
    remove_session_files(batch);
    file_close_at(&batch->stage->spare_fd);
    if (batch->stage->folder_fd >= 0)
        remove_folder(batch);
    for (size_t i = 0; i < batch->stage->hold_count; i++)
        leases_let_go(batch->store->leases, &batch->stage->holds[i]);
    free(batch->stage->holds);
    free(batch->stage);
}

const char *stage_file_name(uint32_t number, char name[STAGE_NAME_MAX])
{
    snprintf(name, STAGE_NAME_MAX, "%" PRIu32, number);
    return name;
}

void stage_drop(struct batch *batch, uint32_t number)
{
    char name[STAGE_NAME_MAX];
    unlinkat(batch->stage->folder_fd, stage_file_name(number, name), 0);
}

enum errc stage_open(struct batch *batch, struct error *err)
{
    struct stage *stage = batch->stage;
    int staging_fd = batch->store->staging_fd;
    if (stage->folder_fd >= 0)
        return ERR_OK;
    if (mkdirat(staging_fd, stage->name, 0700) != 0)
        return fail(err, ERR_IO, errno, "make folder staging/%s", stage->name);
    int fd = openat(staging_fd, stage->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fail(err, ERR_IO, errno, "open folder staging/%s", stage->name);
        unlinkat(staging_fd, stage->name, AT_REMOVEDIR);
        return err->code;
    }
    stage->folder_fd = fd;
    return ERR_OK;
}

enum errc stage_open_blob(const struct batch *batch, const struct batch_blob *blob,
                          struct blob *out, struct error *err)
{
    char name[STAGE_NAME_MAX];
    int fd =
        openat(batch->stage->folder_fd, stage_file_name(blob->number, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open a blob of the batch");
    *out = (struct blob){.fd = fd, .size = blob->size};
    return ERR_OK;
}

enum errc batch_take_file(struct batch *batch, int folder_fd, const char *name, uint64_t size,
                          const struct digest *digest, struct error *err)
{
    char own_name[STAGE_NAME_MAX];
    if (batch_find(batch, digest) != NULL)
        return ERR_OK;
    if (batch_make_room(batch, err) != ERR_OK || stage_open(batch, err) != ERR_OK)
        return err->code;
    uint32_t number = batch->stage->next_number++;
    stage_file_name(number, own_name);
    if (linkat(folder_fd, name, batch->stage->folder_fd, own_name, 0) != 0)
        return fail(err, ERR_IO, errno, "take a file into the batch");
    return batch_add_blob(batch, digest, size, number, err);
}

enum errc stage_share_blob(struct batch *batch, const struct batch_blob *blob, struct batch *other,
                           struct error *err)
{
    char name[STAGE_NAME_MAX];
    stage_hold(batch, &blob->digest);
    return batch_take_file(other, batch->stage->folder_fd, stage_file_name(blob->number, name),
                           blob->size, &blob->digest, err);
}

void stage_hold(struct batch *batch, const struct digest *digest)
{
    struct stage *stage = batch->stage;
    leases_hold(batch->store->leases, digest);
    stage->holds =
        mem_grow(stage->holds, stage->hold_count, &stage->hold_capacity, sizeof *stage->holds);
    stage->holds[stage->hold_count++] = *digest;
}

enum errc backend_hold_blob(struct batch *batch, const struct digest *digest, bool *held,
                            struct error *err)
{
    struct blob_record record;
    stage_hold(batch, digest);
    return blob_find(batch->store, digest, held, &record, err);
}
