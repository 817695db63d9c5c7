/*
 * The upload of one blob: OCI distribution-spec, "Pushing Blobs", in whichever way the registry
 * takes it, and what to do when something goes wrong on the way.
 *
 * The bytes are in the store and their digest is known beforehand. So they leave in the way that
 * the registry is known to take or, where nothing is known, in the first of the methods's ways that
 * it does not refuse (upstream/client/upload_methods.h); after any doubtful end the registry is
 * asked whether it has the digest before a byte is sent again; and what it has of a session is not
 * sent again. Only what can be mended at once is mended here: waiting and trying again are the
 * caller's, and a further attempt goes on where the registry says that the last one ended.
 *
 * What lives over the attempts is a struct unfinished_upload. It belongs to whoever makes the
 * attempts, in a push to the transfer (upstream/push/transfers.h): zeroed before the first one,
 * lent to each, and ended by upload_give_up() after the last one, however that went.
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_H
#define SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_H

#include "image/digest.h"
#include "upstream/client/upload_methods.h"
#include "upstream/upload/upload_memory.h"

/* One upload over the attempts at it; zeroed: nothing of it exists. One thread at a time. */
struct unfinished_upload {
    struct upload_session session; /* kept from a mount that failed, or from an attempt; or none */
    bool begun;                    /* an attempt broke off: bytes or the blob may have arrived */
    struct upload_choice choice;   /* begun: the way it was being sent */
    struct upload_memo memo;       /* what of it outlives the process; stays as its owner made it */
};

struct upload_blob {
    const struct digest *digest;
    const struct http_body *body;
    void (*sent)(void *arg, uint64_t bytes); /* as in http_request; may be NULL */
    void *sent_arg;
};

/*
 * One attempt; returns when the registry acknowledged the blob. A session that `unfinished` holds
 * is used, else one is opened where the way to send needs one. What an earlier attempt began is
 * taken up: the blob may be there by now; if not, the registry says how much of the session it has
 * and the rest follows; a session that it does not know, or gives no word on, is replaced.
 *
 * `unfinished` is zeroed on success, but for its memo. On failure it is begun when trouble that may
 * pass ended the attempt (of the network, 5xx, 408, 429) or a stop did, else zeroed: its session
 * has been taken back then. NULL: no attempt follows, nothing is kept. Errors: ERR_PUSHED_DIGEST
 * when the registry names another digest; ERR_REGISTRY_UNSUPPORTED when it takes blobs in none of
 * the ways that may be tried, with the first refusal's text and status; ERR_UPLOAD_UNKNOWN,
 * ERR_REGISTRY_*, ERR_UNAUTHORIZED, ERR_DENIED, ERR_NAME_UNKNOWN; those of exchange().
 */
enum errc upload_blob(struct registry_client *client, struct unfinished_upload *unfinished,
                      const struct upload_blob *blob, struct error *err);

/* Before the first attempt: go on with what the memo says that an earlier process, or transfer, has
 * left. */
void upload_recall(struct repository *repository, struct unfinished_upload *unfinished,
                   uint64_t blob_bytes);

/* No attempt follows: an open session is taken back as upload_session_cancel() does, nothing is
 * noted of it any more, and `unfinished` is zeroed, but for its memo. */
void upload_give_up(struct repository *repository, struct unfinished_upload *unfinished);

/* No attempt follows here, but upload_recall() may find it: the same without a word to the
 * registry, and what is noted stays. */
void upload_leave(struct repository *repository, struct unfinished_upload *unfinished);

#endif
