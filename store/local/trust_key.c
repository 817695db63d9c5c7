#include "store/trust_key.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/local/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* *text NULL when there is none. */
static enum errc read_key(const struct store *store, char **text, struct error *err)
{
    autofd int fd = openat(store->root_fd, TRUST_KEY_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    *text = NULL;
    if (fd < 0)
        return errno == ENOENT
                   ? ERR_OK
                   : fail(err, ERR_IO, errno, "open %s/%s", store->path, TRUST_KEY_NAME);
    char *bytes = xcalloc(TRUST_KEY_LIMIT_BYTES + 1, 1);
    size_t got = 0;
    if (file_read_at(fd, bytes, TRUST_KEY_LIMIT_BYTES, 0, &got, err) != ERR_OK) {
        free(bytes);
        return error_wrap(err, "%s/%s", store->path, TRUST_KEY_NAME);
    }
    *text = bytes;
    return ERR_OK;
}

static enum errc write_draft(const struct store *store, const char *draft, const char *text,
                             struct error *err)
{
    autofd int fd = openat(store->staging_fd, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "make %s/staging/%s", store->path, draft);
    if (file_write_all(fd, text, strlen(text), err) != ERR_OK)
        return error_wrap(err, "%s/staging/%s", store->path, draft);
    return file_sync(fd, draft, err);
}

/* A link instead of a rename: the first of several keys stays. */
static enum errc publish(const struct store *store, const char *draft, struct error *err)
{
    if (linkat(store->staging_fd, draft, store->root_fd, TRUST_KEY_NAME, 0) != 0 && errno != EEXIST)
        return fail(err, ERR_IO, errno, "make %s/%s", store->path, TRUST_KEY_NAME);
    return file_sync(store->root_fd, "the data folder", err);
}

static enum errc make_key(struct store *store, const char *text, struct error *err)
{
    autofree char *draft = xasprintf("%s.%llu", TRUST_KEY_NAME,
                                     (unsigned long long)atomic_fetch_add(&store->next_batch, 1));
    if (write_draft(store, draft, text, err) == ERR_OK)
        publish(store, draft, err);
    unlinkat(store->staging_fd, draft, 0);
    return store_tell(store, err);
}

enum errc trust_key_get(struct store *store, enum errc (*make)(char **text, struct error *err),
                        char **text, struct error *err)
{
    char *held = NULL;
    char *made = NULL;
    enum errc code = read_key(store, &held, err);
    if (code == ERR_OK && held == NULL) {
        code = make(&made, err);
        if (code == ERR_OK)
            code = make_key(store, made, err);
        if (code == ERR_OK)
            code = read_key(store, &held, err);
        if (code == ERR_OK && held == NULL)
            code = fail(err, ERR_STORE, 0, "%s/%s vanished", store->path, TRUST_KEY_NAME);
    }
    if (made)
        explicit_bzero(made, strlen(made));
    free(made);
    if (code == ERR_OK)
        *text = held;
    return code;
}
