#include "store/blob.h"

#include "base/clock.h"
#include "store/local/blob_files.h"
#include "store/local/leases.h"
#include "store/local/quarantine_local.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum errc blob_find(struct store *store, const struct digest *digest, bool *found,
                    struct blob_record *out, struct error *err)
{
    struct record_key key = blob_key(digest);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    struct kv_slice value;
    bool held = false;
    if (kv_get(&txn, KV_BLOBS, record_key_slice(&key), &value, &held, err) != ERR_OK)
        return err->code;
    if (held && blob_decode(value, out, err) != ERR_OK)
        return quarantine_note(store, KV_BLOBS, record_key_slice(&key), value, err);
    *found = held;
    return ERR_OK;
}

/* Once noted, a collection sees it; what it has deleted before that is seen by the second look.
 * What is not there is not noted, so that asking for it takes no room. */
enum errc blob_find_leased(struct store *store, const char *repository, const struct digest *digest,
                           bool *found, struct blob_record *out, struct error *err)
{
    if (blob_find(store, digest, found, out, err) != ERR_OK || !*found)
        return err->code;
    *found = leases_note(store->leases, repository, digest, (uint64_t)clock_wall_s());
    return *found ? blob_find(store, digest, found, out, err) : ERR_OK;
}

static enum errc recorded_size(struct store *store, const struct digest *digest, uint64_t *size,
                               struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct blob_record record;
    bool found = false;
    if (blob_find(store, digest, &found, &record, err) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_BLOB_UNKNOWN, 0, "blob %s is not held", digest_text(digest, text));
    *size = record.size;
    return ERR_OK;
}

enum errc blob_stat(struct store *store, const struct digest *digest, uint64_t *size,
                    struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    uint64_t recorded = 0;
    if (recorded_size(store, digest, &recorded, err) != ERR_OK)
        return err->code;
    if (!blob_file_is_there(store->blobs_fd, digest, recorded))
        return fail(err, ERR_BLOB_CORRUPT, 0, "blob %s has lost its bytes",
                    digest_text(digest, text));
    *size = recorded;
    return ERR_OK;
}

enum errc blob_open(struct store *store, const struct digest *digest, struct blob *out,
                    struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    char path[BLOB_PATH_MAX];
    uint64_t recorded = 0;
    if (recorded_size(store, digest, &recorded, err) != ERR_OK)
        return err->code;
    autoblob struct blob blob = BLOB_INIT;
    blob.fd = openat(store->blobs_fd, blob_path(digest, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (blob.fd < 0)
        return fail(err, errno == ENOENT ? ERR_BLOB_CORRUPT : ERR_IO, errno, "open blob %s", path);
    struct stat st;
    if (fstat(blob.fd, &st) != 0)
        return fail(err, ERR_IO, errno, "look at blob %s", path);
    blob.size = (uint64_t)st.st_size;
    if (blob.size != recorded)
        return fail(err, ERR_BLOB_CORRUPT, 0, "blob %s has %llu bytes instead of %llu",
                    digest_text(digest, text), (unsigned long long)blob.size,
                    (unsigned long long)recorded);
    *out = blob;
    blob.fd = -1;
    return ERR_OK;
}
