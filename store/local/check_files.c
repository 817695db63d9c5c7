#include "store/local/check_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/blob_upload.h"
#include "store/local/blob_files.h"
#include "store/local/proofs.h"
#include "store/local/records_repositories.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES ((size_t)1 << 20)

/* ---- what a file is ---- */

static bool parse_blob_path(const char *path, struct digest *out)
{
    struct error not_a_blob = ERROR_INIT;
    char text[DIGEST_TEXT_MAX];
    char is[BLOB_PATH_MAX];
    const char *name = strrchr(path, '/');
    size_t algorithm = strcspn(path, "/");
    if (name == NULL || algorithm >= sizeof text)
        return false;
    memcpy(text, path, algorithm);
    text[algorithm] = '\0';
    return digest_parse_parts(text, name + 1, out, &not_a_blob) == ERR_OK &&
           strcmp(blob_path(out, is), path) == 0;
}

bool check_blob_path(struct check *check, const char *path, struct digest *out)
{
    struct stat st;
    return fstatat(check->store->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && parse_blob_path(path, out);
}

/* One of the folders in which blobs are. */
static bool is_blob_folder(const char *path, const struct stat *st)
{
    const char *slash = strchr(path, '/');
    if (!S_ISDIR(st->st_mode))
        return false;
    if (slash == NULL)
        return digest_algorithm_find(path) != DIGEST_NONE;
    return strlen(slash + 1) == 2 && strspn(slash + 1, "0123456789abcdef") == 2;
}

static bool is_young(const struct check *check, const struct stat *st)
{
    return check->options.shared && (int64_t)st->st_ctime + CHECK_STRAY_AGE_S > clock_wall_s();
}

static enum errc look_at_blob_file(struct check *check, const char *path, const struct stat *st,
                                   struct finding *finding, struct error *err)
{
    struct digest digest;
    struct blob_record record;
    bool found = false;
    if (is_blob_folder(path, st))
        return ERR_OK;
    if (!S_ISREG(st->st_mode) || !parse_blob_path(path, &digest)) {
        check_finding_fill(finding, CHECK_STRAY, "no blob has this name");
        return ERR_OK;
    }
    enum errc rc = blob_find(check->store, &digest, &found, &record, err);
    if (rc == ERR_STORE) { /* there is one that cannot be read: found with the records */
        error_clear(err);
        return ERR_OK;
    }
    if (rc == ERR_OK && !found && !is_young(check, st))
        check_finding_fill(finding, CHECK_STRAY, "a file of %lld bytes without a record",
                           (long long)st->st_size);
    return rc;
}

static enum errc look_at_upload(struct check *check, const char *name, const struct stat *st,
                                struct finding *finding, struct error *err)
{
    struct kv_slice value;
    bool found = false;
    if (strlen(name) == BLOB_UPLOAD_ID_SIZE) {
        struct record_key key = session_key(name);
        autotxn struct kv_txn txn = KV_TXN_INIT;
        if (kv_begin_read(check->store->kv, &txn, err) != ERR_OK ||
            kv_get(&txn, KV_SESSIONS, record_key_slice(&key), &value, &found, err) != ERR_OK)
            return err->code;
    }
    if (!found && !is_young(check, st))
        check_finding_fill(finding, CHECK_STRAY, "%lld bytes of an upload that is over",
                           (long long)st->st_size);
    return ERR_OK;
}

enum errc check_look_file(struct check *check, struct finding *finding, struct error *err)
{
    const char *path = (const char *)finding->key.bytes;
    bool is_upload = finding->place == CHECK_UPLOAD_FILE;
    struct stat st;
    finding->kind = CHECK_WELL;
    if (fstatat(is_upload ? check->store->uploads_fd : check->store->blobs_fd, path, &st,
                AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_OK : fail(err, ERR_IO, errno, "look at %s", path);
    return is_upload ? look_at_upload(check, path, &st, finding, err)
                     : look_at_blob_file(check, path, &st, finding, err);
}

/* ---- folders ---- */

static enum errc look_at_name(struct check *check, enum check_place place, const char *folder,
                              const char *name, struct error *err)
{
    struct finding finding = {.place = place};
    int size = snprintf((char *)finding.key.bytes, sizeof finding.key.bytes, "%s%s%s", folder,
                        folder[0] ? "/" : "", name);
    finding.key.size = (size_t)size + 1;
    check->counts.files++;
    if (check_look_file(check, &finding, err) != ERR_OK || finding.kind == CHECK_WELL)
        return err->code;
    return check_found(check, &finding, err);
}

/* A folder that is not there has nothing in it. A file that is to be hashed ends the walk for now:
 * *again, and the folder is begun anew. */
static enum errc look_at_folder(struct check *check, enum check_place place, int parent_fd,
                                const char *path, bool *again, struct error *err)
{
    int fd =
        openat(parent_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return ERR_OK;
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        fail(err, ERR_IO, errno, "read folder %s", path);
        file_close_at(&fd);
        return err->code;
    }
    for (const struct dirent *entry;
         err->code == ERR_OK && !*again && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.') {
            look_at_name(check, place, path, entry->d_name, err);
            *again = check->hashing.digester != NULL;
        }
    closedir(folder);
    return err->code;
}

#define FOLDERS_OF_ALGORITHM (1 + BLOB_FOLDERS)

/* blobs/, then each algorithm's folder and those in it. */
static void folder_path(unsigned number, char path[BLOB_PATH_MAX])
{
    path[0] = '\0';
    if (number == 0)
        return;
    unsigned algorithm = (number - 1) / FOLDERS_OF_ALGORITHM + DIGEST_SHA256;
    unsigned within = (number - 1) % FOLDERS_OF_ALGORITHM;
    const char *name = digest_algorithm_name((enum digest_algorithm)algorithm);
    if (within == 0)
        snprintf(path, BLOB_PATH_MAX, "%s", name);
    else
        snprintf(path, BLOB_PATH_MAX, "%s/%02x", name, within - 1);
}

enum errc check_blob_folders(struct check *check, bool *more, struct error *err)
{
    char path[BLOB_PATH_MAX];
    bool again = false;
    folder_path(check->folder, path);
    if (look_at_folder(check, CHECK_BLOB_FILE, check->store->blobs_fd, path, &again, err) != ERR_OK)
        return err->code;
    check->folder += !again;
    *more = check->folder < 1 + DIGEST_SHA512 * FOLDERS_OF_ALGORITHM;
    return ERR_OK;
}

enum errc check_uploads(struct check *check, bool *more, struct error *err)
{
    bool again = false;
    *more = false;
    return look_at_folder(check, CHECK_UPLOAD_FILE, check->store->uploads_fd, "", &again, err);
}

/* ---- bytes ---- */

static void blob_finding(const struct check *check, struct finding *finding)
{
    const struct digest *digest = &check->hashing.digest;
    *finding = (struct finding){.table = KV_BLOBS, .key = blob_key(digest)};
    if (check->hashing.stray) {
        char path[BLOB_PATH_MAX];
        finding->place = CHECK_BLOB_FILE;
        finding->key.size = strlen(blob_path(digest, path)) + 1;
        memcpy(finding->key.bytes, path, finding->key.size);
    }
}

/* A file that nobody has a record of. */
static enum errc open_stray(struct check *check, struct error *err)
{
    char path[BLOB_PATH_MAX];
    struct stat st;
    struct blob *blob = &check->hashing.blob;
    blob->fd = openat(check->store->blobs_fd, blob_path(&check->hashing.digest, path),
                      O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (blob->fd < 0 || fstat(blob->fd, &st) != 0)
        return fail(err, errno == ENOENT ? ERR_BLOB_UNKNOWN : ERR_IO, errno, "open blob %s", path);
    blob->size = (uint64_t)st.st_size;
    return ERR_OK;
}

static void end_hashing(struct check *check)
{
    digester_free(check->hashing.digester);
    blob_close(&check->hashing.blob);
    check->hashing = (struct hashing){.blob = BLOB_INIT};
}

enum errc check_hash_begin(struct check *check, const struct digest *digest, bool stray,
                           struct error *err)
{
    struct finding finding;
    check->hashing.digest = *digest;
    check->hashing.stray = stray;
    enum errc rc =
        stray ? open_stray(check, err) : blob_open(check->store, digest, &check->hashing.blob, err);
    if (rc == ERR_OK) {
        check->hashing.digester = digester_new(digest->algorithm);
        check->hashing.at = 0;
        return ERR_OK;
    }
    blob_finding(check, &finding);
    end_hashing(check);
    if (rc == ERR_BLOB_CORRUPT) {
        check_finding_fill(&finding, err->sys == ENOENT ? CHECK_LOST : CHECK_CORRUPT, "%s",
                           err->text);
        error_clear(err);
        return check_found(check, &finding, err);
    }
    if (rc == ERR_BLOB_UNKNOWN || rc == ERR_STORE) /* deleted since; or found with the records */
        error_clear(err);
    return err->code;
}

/* The file that was read, and not one that somebody has put in its place since: then nothing is
 * wrong any more. */
static enum errc move_stray(struct check *check, const struct finding *finding, struct error *err)
{
    const struct hashing *hashing = &check->hashing;
    struct error refuted = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    blob_refute(check->store, &hashing->digest, &hashing->blob, &refuted);
    if (blob_find(check->store, &hashing->digest, &found, &record, err) != ERR_OK || found)
        return err->code;
    return check_report(check, finding, CHECK_QUARANTINED, err);
}

static enum errc conclude_stray(struct check *check, struct finding *finding, bool right,
                                struct error *err)
{
    const struct hashing *hashing = &check->hashing;
    bool adopted = false;
    check_finding_fill(finding, CHECK_STRAY, "a file without a record%s",
                       right ? "; its bytes are right" : ", with other bytes than its name says");
    if (!right)
        return move_stray(check, finding, err);
    if (check_adopt(check, &hashing->digest, hashing->blob.size, &adopted, err) != ERR_OK)
        return err->code;
    /* Not adopted: it came by itself, or went. */
    return adopted ? check_report(check, finding, CHECK_MENDED, err) : ERR_OK;
}

/* What is open is what was read: nothing is to be looked at again. */
static enum errc conclude_blob(struct check *check, struct finding *finding, bool right,
                               const char *why, struct error *err)
{
    const struct hashing *hashing = &check->hashing;
    enum check_action action = CHECK_LEFT;
    struct blob_record record;
    struct error refuted = ERROR_INIT;
    bool found = true;
    check->counts.blobs++;
    if (right) {
        proofs_note(check->store->proofs, &hashing->digest);
        return ERR_OK;
    }
    check_finding_fill(finding, CHECK_CORRUPT, "%s", why);
    if (check->options.repair) {
        blob_refute(check->store, &hashing->digest, &hashing->blob, &refuted);
        if (blob_find(check->store, &hashing->digest, &found, &record, err) != ERR_OK)
            return err->code;
        action = found ? CHECK_LEFT : CHECK_QUARANTINED;
    }
    return check_report(check, finding, action, err);
}

static enum errc conclude(struct check *check, bool right, const char *why, struct error *err)
{
    struct finding finding;
    bool stray = check->hashing.stray;
    blob_finding(check, &finding);
    /* The report of a stray one is not put off any more. */
    digester_free(check->hashing.digester);
    check->hashing.digester = NULL;
    enum errc rc = stray ? conclude_stray(check, &finding, right, err)
                         : conclude_blob(check, &finding, right, why, err);
    end_hashing(check);
    return rc;
}

enum errc check_hash_some(struct check *check, size_t *bytes, struct error *err)
{
    struct hashing *hashing = &check->hashing;
    autofree uint8_t *data = xmalloc(READ_BYTES);
    size_t got = READ_BYTES;
    while (got > 0 && hashing->at < hashing->blob.size && *bytes < CHECK_STEP_BYTES) {
        if (file_read_at(hashing->blob.fd, data, READ_BYTES, hashing->at, &got, err) != ERR_OK) {
            char why[ERROR_TEXT_MAX];
            if (err->sys != EIO)
                return err->code;
            snprintf(why, sizeof why, "the disk does not give its bytes: %.900s", err->text);
            error_clear(err);
            return conclude(check, false, why, err);
        }
        digester_update(hashing->digester, data, got);
        hashing->at += got;
        *bytes += got;
        check->counts.bytes += got;
    }
    if (got > 0 && hashing->at < hashing->blob.size)
        return ERR_OK;
    struct digest is = digester_finish(hashing->digester);
    return conclude(check, digest_equal(&is, &hashing->digest),
                    "it has other bytes than its digest says", err);
}
