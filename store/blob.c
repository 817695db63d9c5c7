#include "store/blob.h"

#include "base/mem.h"

void blob_close(struct blob *blob)
{
    file_close_at(&blob->fd);
    blob->fd = -1;
}

enum errc blob_slurp(const struct blob *blob, size_t limit_bytes, const char *what, char **data,
                     size_t *size, struct error *err)
{
    if (blob->size > limit_bytes)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "%s has %llu bytes, over the limit of %zu", what,
                    (unsigned long long)blob->size, limit_bytes);
    size_t expected = (size_t)blob->size;
    void *room = NULL;
    if (mem_try_alloc(expected + 1, 1, limit_bytes + 1, what, &room, err) != ERR_OK)
        return err->code;
    autofree char *bytes = room;
    size_t got = 0;
    if (file_read_at(blob->fd, bytes, expected, 0, &got, err) != ERR_OK)
        return error_wrap(err, "%s", what);
    if (got != expected)
        return fail(err, ERR_BLOB_CORRUPT, 0, "%s ends after %zu of %zu bytes", what, got,
                    expected);
    *data = mem_take(&bytes);
    *size = got;
    return ERR_OK;
}

enum errc blob_read_all(struct store *store, const struct digest *digest, size_t limit_bytes,
                        const char *what, char **data, size_t *size, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    enum errc rc = blob_open(store, digest, &blob, err);
    if (rc == ERR_BLOB_CORRUPT)
        blob_refute(store, digest, NULL, err);
    if (rc != ERR_OK)
        return error_wrap(err, "%s", what);
    autofree char *bytes = NULL;
    size_t got = 0;
    if (blob_slurp(&blob, limit_bytes, what, &bytes, &got, err) != ERR_OK)
        return err->code;
    struct digest is = digest_of(digest->algorithm, bytes, got);
    if (!digest_equal(&is, digest)) {
        blob_refute(store, digest, &blob, err);
        return error_wrap(err, "%s", what);
    }
    *data = mem_take(&bytes);
    *size = got;
    return ERR_OK;
}
