#include "upstream/push/growing_send.h"

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/upload/upload_by.h"

#include <stddef.h>

struct growing_send {
    struct target_push *push;
    struct growing_blob *blob;
    struct layer_set_waker waker;
    struct growing_watch watch;
    struct work work;

    /* the work's, or the owner's while there is none */
    struct upload_session session;

    pthread_mutex_t lock; /* guards what follows */
    enum growth growth;
    uint64_t bytes; /* that are there */
    uint64_t sent;
    uint64_t piece_bytes;
    bool working; /* submitted, or running */
    bool over;    /* nothing further is sent ahead */
    bool left;    /* its owner waits for the piece that is under way */
};

static struct registry_host *host_of(const struct growing_send *send)
{
    return send->push->repository->endpoint->host;
}

/* --- a piece --- */

static enum errc send_piece(struct growing_send *send, uint64_t bytes, struct error *err)
{
    /* It has no digest yet; the algorithm is all that opens a session. */
    static const struct digest unknown = {.algorithm = DIGEST_SHA256};
    const struct http_body body = {.fd = growing_blob_fd(send->blob), .size = bytes};
    const struct upload_blob blob = {.digest = &unknown, .body = &body};
    struct registry_client client;
    struct upload_memo none = {0};
    struct upload upload = {
        .client = &client, .blob = &blob, .session = &send->session, .memo = &none};
    registry_client_open(&client, send->push->repository, &send->push->cancel);
    enum errc code = upload_piece(&upload, bytes - send->session.offset, err);
    registry_client_close(&client);
    return code;
}

static void give_up(struct growing_send *send, const struct error *why)
{
    bool refused = send->session.offset == 0 && error_party(why->code) != PARTY_NETWORK &&
                   why->code != ERR_CANCELLED;
    log_debug("%s: nothing of a layer is sent ahead of its end: %s", send->push->target, why->text);
    if (refused)
        atomic_store(&host_of(send)->no_pieces, true);
    upload_session_cancel(send->push->repository, &send->session);
}

/* With the lock. */
static bool is_due(const struct growing_send *send)
{
    return !send->over && send->growth == BLOB_GROWS &&
           send->bytes - send->sent >= send->piece_bytes;
}

/* With the lock. */
static void go_on(struct growing_send *send)
{
    if (send->working)
        return;
    if (is_due(send)) {
        send->working = true;
        work_submit(host_of(send)->transfers, &send->work);
    } else if (send->growth != BLOB_GROWS || send->left) {
        send->waker.wake(send->waker.self);
    }
}

static void on_work(struct work *work)
{
    struct growing_send *send =
        (struct growing_send *)((char *)work - offsetof(struct growing_send, work));
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&send->lock);
    uint64_t bytes =
        send->bytes < send->sent + send->piece_bytes ? send->bytes : send->sent + send->piece_bytes;
    pthread_mutex_unlock(&send->lock);
    bool failed = send_piece(send, bytes, &err) != ERR_OK;
    if (failed)
        give_up(send, &err);
    autolock pthread_mutex_t *held = lock_take(&send->lock);
    send->sent = send->session.offset;
    if (send->session.chunk_least > send->piece_bytes)
        send->piece_bytes = send->session.chunk_least;
    send->over |= failed;
    send->working = false;
    go_on(send);
}

/* --- its owner --- */

static void on_growth(void *self, enum growth growth, uint64_t bytes)
{
    struct growing_send *send = self;
    autolock pthread_mutex_t *held = lock_take(&send->lock);
    send->growth = growth;
    send->bytes = bytes;
    if (growth != BLOB_GROWS && send->working && work_cancel(host_of(send)->transfers, &send->work))
        send->working = false;
    go_on(send);
}

static bool takes_pieces(struct registry_host *host)
{
    enum upload_method selector = host->uploads.selector;
    return !atomic_load(&host->no_pieces) &&
           (selector == UPLOAD_METHOD_AUTO || selector == UPLOAD_METHOD_CHUNKED);
}

struct growing_send *growing_send_new(struct target_push *push, struct growing_blob *blob,
                                      struct layer_set_waker waker)
{
    struct registry_host *host = push->repository->endpoint->host;
    struct growing_send *send = xcalloc(1, sizeof *send);
    send->push = push;
    send->blob = blob;
    send->waker = waker;
    send->work.run = on_work;
    send->piece_bytes = host->uploads.chunk_bytes < GROWING_PIECE_BYTES ? host->uploads.chunk_bytes
                                                                        : GROWING_PIECE_BYTES;
    send->over = !takes_pieces(host);
    pthread_mutex_init(&send->lock, NULL);
    send->watch = (struct growing_watch){.call = on_growth, .self = send};
    growing_blob_watch(blob, &send->watch);
    return send;
}

enum growth growing_send_now(struct growing_send *send, struct descriptor *blob)
{
    uint64_t bytes = 0;
    enum growth growth = growing_blob_now(send->blob, &bytes, blob);
    autolock pthread_mutex_t *held = lock_take(&send->lock);
    return send->working ? BLOB_GROWS : growth;
}

void growing_send_take(struct growing_send *send, struct upload_session *session)
{
    *session = send->session;
    send->session = (struct upload_session){0};
}

bool growing_send_leave(struct growing_send *send)
{
    autolock pthread_mutex_t *held = lock_take(&send->lock);
    send->over = send->left = true;
    if (send->working && work_cancel(host_of(send)->transfers, &send->work))
        send->working = false;
    return !send->working;
}

void growing_send_free(struct growing_send *send)
{
    if (send == NULL)
        return;
    growing_blob_unwatch(send->blob, &send->watch);
    upload_session_cancel(send->push->repository, &send->session);
    pthread_mutex_destroy(&send->lock);
    free(send);
}
