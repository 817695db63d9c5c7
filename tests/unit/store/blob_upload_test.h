/*
 * Upload sessions of the repository "app", for the tests of store/blob_upload.h.
 */
#ifndef SLIPWAY_TESTS_BLOB_UPLOAD_TEST_H
#define SLIPWAY_TESTS_BLOB_UPLOAD_TEST_H

#include "tests/unit/store/store_test.h"

#include "store/blob_upload.h"
#include "store/local/internal.h"
#include "store/repositories.h"

/* Before anything here began. */
#define LONG_AGO 0

struct session {
    char id[BLOB_UPLOAD_ID_SIZE + 1];
};

static inline struct session begin(struct store *store)
{
    struct error err = ERROR_INIT;
    struct session session;
    assert_ok(blob_upload_begin(store, "app", "", DIGEST_NONE, session.id, &err), &err);
    assert_int_equal(strspn(session.id, "0123456789abcdef"), BLOB_UPLOAD_ID_SIZE);
    assert_int_equal(strlen(session.id), BLOB_UPLOAD_ID_SIZE);
    return session;
}

static inline struct blob_upload *open_upload(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    assert_ok(blob_upload_open(store, "app", session->id, NULL, &upload, &err), &err);
    return upload;
}

static inline void write_text(struct store *store, const struct session *session, const char *text)
{
    struct error err = ERROR_INIT;
    struct blob_upload *upload = open_upload(store, session);
    uint64_t before = blob_upload_size(upload);
    assert_ok(blob_upload_write(upload, text, strlen(text), &err), &err);
    assert_true(blob_upload_size(upload) == before + strlen(text));
    blob_upload_close(upload);
}

static inline uint64_t offset(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    uint64_t at = UINT64_MAX;
    assert_ok(blob_upload_offset(store, "app", session->id, &at, &err), &err);
    return at;
}

static inline void assert_over(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    uint64_t at = 0;
    struct blob_upload *upload = NULL;
    char name[64];
    assert_code(blob_upload_offset(store, "app", session->id, &at, &err), ERR_NO_UPLOAD, &err);
    assert_code(blob_upload_open(store, "app", session->id, NULL, &upload, &err), ERR_NO_UPLOAD,
                &err);
    assert_code(blob_upload_cancel(store, "app", session->id, &err), ERR_NO_UPLOAD, &err);
    snprintf(name, sizeof name, "uploads/%s", session->id);
    assert_false(path_exists(store->path, name));
}

static inline size_t count_records(struct store *store)
{
    struct error err = ERROR_INIT;
    struct kv_slice key;
    struct kv_slice value;
    size_t count = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_cursor_open(&txn, KV_SESSIONS, (struct kv_slice){NULL, 0}, &cursor, &err), &err);
    for (bool more = true; more; count += more)
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
    return count;
}

/* What had no request since then (clock_ms()). */
static inline size_t expire(struct store *store, int64_t since_ms)
{
    struct error err = ERROR_INIT;
    size_t count = 99;
    assert_ok(blob_uploads_expire(store, since_ms, &count, &err), &err);
    return count;
}

/* Finish with the digest of `content` and commit into the repository "app". */
static inline void finish(struct store *store, const struct session *session, const char *content,
                          enum digest_algorithm algorithm)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of(algorithm, content, strlen(content));
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(blob_upload_finish(open_upload(store, session), batch, &digest, &err), &err);
    batch_put_member(batch, "app", &digest);
    assert_ok(batch_commit(batch, &err), &err);
    autofree char *data = NULL;
    size_t size = 0;
    assert_ok(blob_read_all(store, &digest, 1 << 20, "blob", &data, &size, &err), &err);
    assert_string_equal(data, content);
    bool held = false;
    assert_ok(repository_has_blob(store, "app", &digest, &held, &err), &err);
    assert_true(held);
    assert_over(store, session);
    assert_int_equal(count_records(store), 0);
}

#endif
