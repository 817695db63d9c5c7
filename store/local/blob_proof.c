#include "store/blob_proof.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/internal.h"
#include "store/local/proofs.h"
#include "store/local/quarantine_local.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20)
#define TRIES 8
#define ASIDE_NAME_MAX 32

/* ---- a blob that is none ---- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Another batch may put the right bytes in its place at any moment, so what is there is moved away
 * first and looked at then. */
static enum errc remove_file(struct store *store, const struct digest *digest,
                             const struct stat *wrong, struct error *err)
{
    char path[BLOB_PATH_MAX];
    char aside[ASIDE_NAME_MAX];
    struct stat st;
    snprintf(aside, sizeof aside, "wrong-%" PRIu64,
             (uint64_t)atomic_fetch_add(&store->next_batch, 1));
    if (renameat(store->blobs_fd, blob_path(digest, path), store->staging_fd, aside) != 0)
        return errno == ENOENT ? ERR_OK : fail(err, ERR_IO, errno, "move blob %s away", path);
    if (fstatat(store->staging_fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_same_file(&st, wrong) &&
        quarantine_file(store, store->staging_fd, aside, "blob", path,
                        "it has other bytes than its digest says", err) == ERR_OK)
        return ERR_OK;
    if (renameat2(store->staging_fd, aside, store->blobs_fd, path, RENAME_NOREPLACE) == 0 ||
        errno == ENOENT)
        return err->code;
    if (errno != EEXIST)
        return fail(err, ERR_IO, errno, "move blob %s back", path);
    unlinkat(store->staging_fd, aside, 0);
    return err->code;
}

/* The record goes as it was found, while its file is not there: whoever brings the blob meanwhile
 * puts another one, or the file. */
static enum errc drop_record(struct store *store, const struct digest *digest, struct error *err)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct blob_record record;
        bool found = false;
        if (blob_find(store, digest, &found, &record, err) != ERR_OK)
            return err->code;
        if (!found || blob_file_is_there(store->blobs_fd, digest, record.size))
            return ERR_OK;
        struct record_key key = blob_key(digest);
        struct record_value value = blob_value(&record);
        autochange struct change change;
        change_init(&change);
        change.durable = true;
        change.essential = true;
        change_delete_same(&change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
        if (writer_submit(store->writer, &change, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc fail_corrupt(const struct digest *digest, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    return fail(err, ERR_BLOB_CORRUPT, 0,
                "the data folder had other bytes of blob %s than its digest says; it is not held "
                "any more: send it again",
                digest_text(digest, text));
}

enum errc blob_refute(struct store *store, const struct digest *digest, const struct blob *blob,
                      struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct stat wrong;
    struct error undone = ERROR_INIT;
    proofs_refute(store->proofs, digest);
    if (blob != NULL && fstat(blob->fd, &wrong) == 0)
        remove_file(store, digest, &wrong, &undone);
    if (undone.code == ERR_OK)
        drop_record(store, digest, &undone);
    log_event(
        LOG_ERROR, "blob.corrupt",
        LOG_FIELDS(log_text("digest", digest_text(digest, text)), log_text("error", undone.text)),
        "a blob in the data folder has other bytes than its digest says: %s",
        undone.code == ERR_OK ? "it is dropped" : "it could not be dropped");
    return fail_corrupt(digest, err);
}

/* ---- one that is to be proved ---- */

static enum errc hash(const struct blob *blob, enum digest_algorithm algorithm,
                      const struct cancel *cancel, struct digest *out, struct error *err)
{
    autofree uint8_t *bytes = xmalloc(READ_BYTES);
    struct digester *digester = digester_new(algorithm);
    enum errc rc = ERR_OK;
    size_t got = READ_BYTES;
    for (uint64_t at = 0; rc == ERR_OK && at < blob->size && got > 0; at += got) {
        rc = cancel_check(cancel, err);
        if (rc == ERR_OK)
            rc = file_read_at(blob->fd, bytes, READ_BYTES, at, &got, err);
        if (rc == ERR_OK)
            digester_update(digester, bytes, got);
    }
    if (rc == ERR_OK)
        *out = digester_finish(digester);
    digester_free(digester);
    return rc;
}

static enum errc prove(struct store *store, const struct digest *digest,
                       const struct cancel *cancel, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct digest is;
    enum errc rc = blob_open(store, digest, &blob, err);
    /* Whoever waited for another one's proof gets what that one got. */
    if (rc == ERR_BLOB_UNKNOWN && proofs_refuted(store->proofs, digest))
        return fail_corrupt(digest, err);
    if (rc != ERR_OK)
        return rc == ERR_BLOB_CORRUPT ? blob_refute(store, digest, NULL, err) : rc;
    if (hash(&blob, digest->algorithm, cancel, &is, err) != ERR_OK)
        return err->code;
    return digest_equal(&is, digest) ? ERR_OK : blob_refute(store, digest, &blob, err);
}

enum errc blob_prove(struct store *store, const struct digest *digest, int64_t age_ms,
                     const struct cancel *cancel, struct error *err)
{
    struct proof proof;
    bool wanted = false;
    if (proofs_begin(store->proofs, digest, age_ms, cancel, &proof, &wanted, err) != ERR_OK)
        return err->code;
    if (!wanted)
        return ERR_OK;
    enum errc rc = prove(store, digest, cancel, err);
    proofs_end(store->proofs, &proof, rc == ERR_OK);
    return rc;
}
