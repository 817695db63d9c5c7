#include "store/blob_upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/blob_upload_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

/* As for any blob that will be durable: the disk has little left to do when the last byte is in. */
#define FLUSH_BYTES ((uint64_t)8 << 20)
#define READ_BYTES ((size_t)1 << 20)

struct blob_upload {
    struct store *store;
    struct upload_slot *slot; /* held */
    int fd;                   /* -1: no byte has come yet, so there is no file */
    uint64_t size;
    uint64_t flushed;
    bool shared;        /* a blob may have the same file: see open_file() */
    bool over;          /* nothing is left of the session */
    struct error error; /* of the write that failed */
};

static enum errc make_id(char id[BLOB_UPLOAD_ID_SIZE + 1], struct error *err)
{
    uint8_t chance[BLOB_UPLOAD_ID_SIZE / 2];
    if (getrandom(chance, sizeof chance, 0) != sizeof chance)
        return fail(err, ERR_IO, errno, "get random bytes");
    for (size_t i = 0; i < sizeof chance; i++)
        snprintf(id + 2 * i, 3, "%02x", chance[i]);
    return ERR_OK;
}

/* The record of a new session takes the place of one that ends for it. */
static enum errc make_record(struct store *store, const char *repository,
                             const struct upload_slot *slot, const struct upload_slot *yields,
                             struct error *err)
{
    struct session_record record = {.created_s = (uint64_t)clock_wall_s()};
    snprintf(record.repository, sizeof record.repository, "%s", repository);
    struct record_key key = session_key(slot->id);
    struct record_value value = session_value(&record);
    autochange struct change change;
    change_init(&change);
    if (yields != NULL)
        upload_delete_record(&change, yields->id);
    change_put(&change, KV_SESSIONS, record_key_slice(&key), record_value_slice(&value));
    return writer_submit(store->writer, &change, err);
}

enum errc blob_upload_begin(struct store *store, const char *repository, const char *client,
                            enum digest_algorithm algorithm, char id[BLOB_UPLOAD_ID_SIZE + 1],
                            struct error *err)
{
    char made[BLOB_UPLOAD_ID_SIZE + 1];
    struct upload_table *table = store->uploads;
    struct upload_slot *slot = NULL;
    struct upload_slot *yields = NULL;
    if (!repository_name_fits(repository))
        return fail(err, ERR_NAME_INVALID, 0, "a repository's name has 1 to %d characters",
                    REPOSITORY_NAME_MAX);
    if (make_id(made, err) != ERR_OK ||
        upload_table_add(table, made, repository, client, &slot, &yields, err) != ERR_OK)
        return err->code;
    if (algorithm != DIGEST_NONE)
        slot->algorithm = algorithm;
    if (make_record(store, repository, slot, yields, err) != ERR_OK) {
        upload_table_end(table, slot);
        if (yields != NULL)
            upload_table_release(table, yields);
        return err->code;
    }
    upload_table_release(table, slot);
    if (yields != NULL)
        upload_table_end(table, yields);
    memcpy(id, made, sizeof made);
    return ERR_OK;
}

enum errc blob_upload_offset(struct store *store, const char *repository, const char *id,
                             uint64_t *offset, struct error *err)
{
    struct stat st = {.st_size = 0};
    if (!upload_table_touch(store->uploads, repository, id))
        return upload_fail_unknown(repository, id, err);
    if (fstatat(store->uploads_fd, id, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT)
        return fail(err, ERR_IO, errno, "look at an upload");
    *offset = (uint64_t)st.st_size;
    return ERR_OK;
}

static enum errc open_file(struct blob_upload *upload, struct error *err)
{
    struct stat st = {.st_size = 0};
    upload->fd = openat(upload->store->uploads_fd, upload->slot->id,
                        O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (upload->fd < 0 ? errno != ENOENT : fstat(upload->fd, &st) != 0)
        return fail(err, ERR_IO, errno, "open an upload");
    upload->size = upload->flushed = (uint64_t)st.st_size;
    /* A process died while the session's end was under way (batch_take_file()). */
    upload->shared = st.st_nlink > 1;
    if (upload->slot->hashed != upload->size)
        upload_slot_reset(upload->slot);
    if (upload->size == 0 && upload->slot->digester == NULL)
        upload->slot->digester = digester_new(upload->slot->algorithm);
    return ERR_OK;
}

static enum errc make_file(struct blob_upload *upload, struct error *err)
{
    upload->fd = openat(upload->store->uploads_fd, upload->slot->id,
                        O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return upload->fd >= 0 ? ERR_OK : fail(err, ERR_IO, errno, "create the file of an upload");
}

static enum errc need_file(struct blob_upload *upload, struct error *err)
{
    return upload->fd >= 0 ? ERR_OK : make_file(upload, err);
}

/* In place of one that it shares with a blob. Where that fails the session has what was copied. */
static enum errc copy_file(struct blob_upload *upload, struct error *err)
{
    autofd int from = upload->fd;
    autofree uint8_t *bytes = xmalloc(READ_BYTES);
    uint64_t size = upload->size;
    size_t got = 0;
    upload->fd = -1;
    upload->size = 0;
    if (unlinkat(upload->store->uploads_fd, upload->slot->id, 0) != 0)
        return fail(err, ERR_IO, errno, "remove the file of an upload");
    if (make_file(upload, err) != ERR_OK)
        return err->code;
    upload->shared = false;
    for (; upload->size < size; upload->size += got) {
        if (file_read_at(from, bytes, READ_BYTES, upload->size, &got, err) != ERR_OK ||
            file_write_all(upload->fd, bytes, got, err) != ERR_OK)
            return err->code;
        if (got == 0)
            return fail(err, ERR_IO, 0, "an upload has become shorter while it was read");
    }
    return ERR_OK;
}

/* One of its own, to write to. */
static enum errc need_own_file(struct blob_upload *upload, struct error *err)
{
    return upload->shared ? copy_file(upload, err) : need_file(upload, err);
}

enum errc blob_upload_open(struct store *store, const char *repository, const char *id,
                           const struct overtaken *overtaken, struct blob_upload **out,
                           struct error *err)
{
    struct upload_slot *slot = NULL;
    if (upload_table_take(store->uploads, repository, id, overtaken, BLOB_UPLOAD_OVERTAKE_MS, &slot,
                          err) != ERR_OK)
        return err->code;
    struct blob_upload *upload = xcalloc(1, sizeof *upload);
    upload->store = store;
    upload->slot = slot;
    if (open_file(upload, err) != ERR_OK) {
        blob_upload_close(upload);
        return err->code;
    }
    *out = upload;
    return ERR_OK;
}

uint64_t blob_upload_size(const struct blob_upload *upload)
{
    return upload->size;
}

static void add_to_digest(struct blob_upload *upload, const void *data, size_t size)
{
    struct upload_slot *slot = upload->slot;
    if (slot->digester == NULL || slot->hashed != upload->size)
        return;
    digester_update(slot->digester, data, size);
    slot->hashed += size;
}

static void flush_behind(struct blob_upload *upload)
{
    uint64_t fresh = upload->size - upload->flushed;
    if (fresh < FLUSH_BYTES)
        return;
    /* Only a hint: what fails here fails again, and is seen, in the commit's fsync. */
    sync_file_range(upload->fd, (off_t)upload->flushed, (off_t)fresh, SYNC_FILE_RANGE_WRITE);
    upload->flushed = upload->size;
}

enum errc blob_upload_write(struct blob_upload *upload, const void *data, size_t size,
                            struct error *err)
{
    if (size == 0 && upload->error.code == ERR_OK)
        return ERR_OK;
    if (upload->error.code == ERR_OK &&
        store_check_room_at(upload->store, upload->size, size, &upload->error) == ERR_OK) {
        if (need_own_file(upload, &upload->error) == ERR_OK &&
            file_write_all(upload->fd, data, size, &upload->error) == ERR_OK) {
            add_to_digest(upload, data, size);
            upload->size += size;
            flush_behind(upload);
            return ERR_OK;
        }
        error_wrap(&upload->error, "write to an upload");
        store_tell(upload->store, &upload->error);
        /* Where this fails, too, the next request sees the file's length and hashes it again. */
        if (upload->fd >= 0 && ftruncate(upload->fd, (off_t)upload->size) != 0)
            log_warn("an upload keeps part of a failed write: %s", strerror(errno));
    }
    *err = upload->error;
    return err->code;
}

void blob_upload_close(struct blob_upload *upload)
{
    if (upload == NULL)
        return;
    file_close_at(&upload->fd);
    if (upload->over)
        upload_table_end(upload->store->uploads, upload->slot);
    else
        upload_table_release(upload->store->uploads, upload->slot);
    free(upload);
}

/* Add the file's bytes from `from` on. */
static enum errc hash_file(const struct blob_upload *upload, uint64_t from,
                           struct digester *digester, struct error *err)
{
    autofree uint8_t *bytes = xmalloc(READ_BYTES);
    for (uint64_t at = from; at < upload->size;) {
        size_t got = 0;
        if (file_read_at(upload->fd, bytes, READ_BYTES, at, &got, err) != ERR_OK)
            return err->code;
        if (got == 0)
            return fail(err, ERR_IO, 0, "an upload has become shorter while it was read");
        digester_update(digester, bytes, got);
        at += got;
    }
    return ERR_OK;
}

static enum errc digest_upload(struct blob_upload *upload, enum digest_algorithm algorithm,
                               struct digest *out, struct error *err)
{
    struct upload_slot *slot = upload->slot;
    struct digester *digester = NULL;
    uint64_t hashed = 0;
    if (algorithm == slot->algorithm && slot->digester != NULL) {
        digester = slot->digester;
        hashed = slot->hashed;
        slot->digester = NULL;
    } else {
        digester = digester_new(algorithm);
    }
    upload_slot_reset(slot);
    enum errc rc = hash_file(upload, hashed, digester, err);
    if (rc == ERR_OK)
        *out = digester_finish(digester);
    digester_free(digester);
    return rc;
}

static enum errc fail_digest(const struct digest *got, const struct digest *wanted,
                             struct error *err)
{
    char got_text[DIGEST_TEXT_MAX];
    char wanted_text[DIGEST_TEXT_MAX];
    return fail(err, ERR_DIGEST_INVALID, 0, "the upload's bytes have the digest %s, not %s",
                digest_text(got, got_text), digest_text(wanted, wanted_text));
}

static enum errc finish(struct blob_upload *upload, struct batch *batch,
                        const struct digest *digest, struct error *err)
{
    struct digest got;
    if (upload->error.code != ERR_OK) {
        *err = upload->error;
        return err->code;
    }
    if (digest_upload(upload, digest->algorithm, &got, err) != ERR_OK)
        return error_wrap(err, "complete an upload");
    if (!digest_equal(&got, digest))
        return fail_digest(&got, digest, err);
    if (need_file(upload, err) != ERR_OK ||
        batch_take_file(batch, upload->store->uploads_fd, upload->slot->id, upload->size, digest,
                        err) != ERR_OK)
        return store_tell(upload->store, err);
    batch_end_session(batch, upload->slot->id);
    upload->over = true;
    return ERR_OK;
}

/* Nothing can come of the session any more. */
static void drop_session(struct blob_upload *upload)
{
    struct error err = ERROR_INIT;
    if (upload_remove(upload->store, upload->slot, &err) != ERR_OK)
        log_warn("end an upload: %s", err.text);
    file_close_at(&upload->fd);
    free(upload);
}

enum errc blob_upload_finish(struct blob_upload *upload, struct batch *batch,
                             const struct digest *digest, struct error *err)
{
    enum errc rc = finish(upload, batch, digest, err);
    if (rc == ERR_DIGEST_INVALID)
        drop_session(upload);
    else
        blob_upload_close(upload);
    return rc;
}
