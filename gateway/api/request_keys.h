/*
 * Requests that name themselves, so that a client that has no answer can send one again: the header
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07).
 *
 * A key is what the client wrote, 1 to 255 printable ASCII characters, quotes included; it goes for
 * all endpoints that push, and for the identity that sent it. What its request asked for is its
 * fingerprint: method, path, query, and the body where that is a document. An archive is not read
 * for it.
 *
 * While the first request with a key is not answered, another one is ERR_KEY_IN_USE. Once it has
 * made pushes they are its answer, good or bad, for as long as the history has them
 * (store/pushes.h), also after a restart. It has none, and the next request with the key is like
 * the first, where it was refused before it pushed, or where what the client waited for was broken
 * off by the end of the gateway. A request for something else is ERR_KEY_REUSED.
 *
 * Thread-safe.
 */
#ifndef SLIPWAY_GATEWAY_API_REQUEST_KEYS_H
#define SLIPWAY_GATEWAY_API_REQUEST_KEYS_H

#include "gateway/http/reply.h"
#include "gateway/http/request.h"
#include "gateway/service/gateway.h"
#include "store/push.h"

#include <sys/queue.h>

#define REQUEST_KEY_MAX 255

struct request_keys *request_keys_new(void);
void request_keys_free(struct request_keys *keys);

/* Of one request. */
struct request_claim {
    struct request_key key; /* for its pushes; without a name: the request has none */
    char id[PUSH_ID_MAX];   /* of its first push, or, with ERR_KEY_IN_USE, the other's; "": none */
    struct request_keys *keys; /* NULL: not claimed */
    TAILQ_ENTRY(request_claim) link;
};

/* What the head of a request says. ERR_BAD_REQUEST for a header that is no key, or there twice. */
enum errc request_claim_init(const struct request *request, struct request_claim *out,
                             struct error *err);

/* Before anything is done for the request; `body` is NULL where it is no document. On success the
 * claim is to be released, or *count is not 0 and the pushes are the answer: an owned array, each
 * to be deinited. Nothing is claimed without a key. Blocks. ERR_KEY_IN_USE, ERR_KEY_REUSED; the
 * store's own. */
enum errc request_claim_take(struct gateway *gateway, struct request_claim *claim, const char *body,
                             size_t size, struct push **pushes, size_t *count, struct error *err);

/* Its push has begun. */
void request_claim_pushes(struct request_claim *claim, const char *id);

/* Before the answer; again is a no-op. */
void request_claim_release(struct request_claim *claim);

/* Does the answer of these pushes stand? Not where one of them is missing, or was broken off. */
bool request_key_answered(const struct request_key *key, const struct push *pushes, size_t count);

#endif
