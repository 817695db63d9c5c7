#include "base/log.h"
#include "base/mem.h"
#include "store/local/batch_local.h"
#include "store/local/leases.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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
    for (size_t i = 0; i < batch->stage->small_count; i++)
        free(batch->stage->smalls[i].data);
    free(batch->stage->smalls);
    free(batch->stage->holds);
    free(batch->stage);
}

const char *stage_file_name(uint32_t number, char name[STAGE_NAME_MAX])
{
    snprintf(name, STAGE_NAME_MAX, "%" PRIu32, number);
    return name;
}

/* ---- what stays in memory ---- */

static int by_number(const void *a, const void *b)
{
    const struct stage_small *left = a;
    const struct stage_small *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* NULL when it is a file. */
static struct stage_small *find_small(const struct stage *stage, uint32_t number)
{
    const struct stage_small key = {.number = number};
    struct stage_small *found =
        stage->small_count > 0
            ? bsearch(&key, stage->smalls, stage->small_count, sizeof key, by_number)
            : NULL;
    return found && found->data ? found : NULL;
}

void stage_keep(struct batch *batch, uint32_t number, void *data, size_t size)
{
    struct stage *stage = batch->stage;
    stage->smalls =
        mem_grow(stage->smalls, stage->small_count, &stage->small_capacity, sizeof *stage->smalls);
    size_t at = stage->small_count++;
    for (; at > 0 && stage->smalls[at - 1].number > number; at--)
        stage->smalls[at] = stage->smalls[at - 1];
    stage->smalls[at] = (struct stage_small){.number = number, .data = data, .size = size};
    stage->small_bytes += size;
}

static void drop_small(struct stage *stage, struct stage_small *small)
{
    stage->small_bytes -= small->size;
    free(mem_take(&small->data));
}

enum errc stage_write_out(struct batch *batch, uint32_t number, struct error *err)
{
    struct stage_small *small = find_small(batch->stage, number);
    autofd int fd = -1;
    if (small == NULL)
        return ERR_OK;
    if (stage_create(batch, number, &fd, err) != ERR_OK)
        return err->code;
    if (file_write_all(fd, small->data, small->size, err) != ERR_OK) {
        char name[STAGE_NAME_MAX];
        unlinkat(batch->stage->folder_fd, stage_file_name(number, name), 0);
        return error_wrap(err, "write a blob to the store");
    }
    drop_small(batch->stage, small);
    return ERR_OK;
}

const void *stage_peek(const struct batch *batch, const struct batch_blob *blob)
{
    const struct stage_small *small = find_small(batch->stage, blob->number);
    return small ? small->data : NULL;
}

/* ---- files ---- */

void stage_drop(struct batch *batch, uint32_t number)
{
    char name[STAGE_NAME_MAX];
    struct stage_small *small = find_small(batch->stage, number);
    if (small) {
        drop_small(batch->stage, small);
        return;
    }
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

enum errc stage_create(struct batch *batch, uint32_t number, int *fd, struct error *err)
{
    char name[STAGE_NAME_MAX];
    if (stage_open(batch, err) != ERR_OK)
        return err->code;
    *fd = openat(batch->stage->folder_fd, stage_file_name(number, name),
                 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd >= 0 ? ERR_OK : fail(err, ERR_IO, errno, "create a blob in the store");
}

enum errc stage_open_blob(struct batch *batch, const struct batch_blob *blob, struct blob *out,
                          struct error *err)
{
    char name[STAGE_NAME_MAX];
    if (stage_write_out(batch, blob->number, err) != ERR_OK)
        return store_tell(batch->store, err);
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
    if (stage_write_out(batch, blob->number, err) != ERR_OK)
        return store_tell(batch->store, err);
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
