#include "upstream/push/blob_push.h"

#include "base/clock.h"
#include "store/blob_proof.h"
#include "upstream/client/registry.h"

#define TELL_EVERY_MS 200
#define DOUBT_MS ((int64_t)10 * 60 * 1000)

enum errc blob_check(struct target_push *push, struct registry_client *client,
                     const struct descriptor *blob, bool *exists, struct error *err)
{
    struct error refused = ERROR_INIT;
    bool there = false;
    if (registry_blob_exists(client, &blob->digest, &there, &refused) != ERR_OK &&
        !(refused.hints & HINT_ABSENT)) {
        *err = refused;
        return err->code;
    }
    *exists = there;
    if (*exists)
        target_push_learn(push, &blob->digest);
    return ERR_OK;
}

/* Turns the bytes of one upload into events, not too many of them. */
struct meter {
    const struct target_push *push;
    const char *id;
    uint64_t total;
    int64_t next_ms;
};

static void meter_sent(void *arg, uint64_t bytes)
{
    struct meter *meter = arg;
    int64_t now_ms = clock_ms();
    if (now_ms < meter->next_ms)
        return;
    meter->next_ms = now_ms + TELL_EVERY_MS;
    target_push_tell_bytes(meter->push, meter->id, bytes, meter->total);
}

/* Whether a registry refused bytes that are ours. One whose answer says nothing of them is not
 * believed that often. */
static enum errc judge(struct target_push *push, const struct digest *digest, struct error *err)
{
    struct error wrong = ERROR_INIT;
    bool of_bytes =
        err->code == ERR_BLOB_CORRUPT || err->code == ERR_PUSHED_DIGEST || err->hints & HINT_BYTES;
    if (err->code != ERR_BLOB_CORRUPT && (error_party(err->code) != PARTY_REGISTRY ||
                                          err->code == ERR_DENIED || err->hints & HINT_WHO))
        return err->code;
    if (blob_prove(push->store, digest, of_bytes ? 0 : DOUBT_MS, &push->cancel, &wrong) ==
        ERR_BLOB_CORRUPT)
        *err = wrong;
    return err->code;
}

enum errc blob_send(struct target_push *push, struct registry_client *client,
                    struct unfinished_upload *upload, const struct descriptor *blob, const char *id,
                    struct error *err)
{
    autoblob struct blob file = BLOB_INIT;
    if (blob_prove(push->store, &blob->digest, BLOB_PROOF_DAY_MS, &push->cancel, err) != ERR_OK)
        return err->code;
    if (blob_open(push->store, &blob->digest, &file, err) != ERR_OK)
        return err->code;
    if (file.size != blob->size)
        return fail(err, ERR_BLOB_CORRUPT, 0, "the store holds %llu bytes of %llu",
                    (unsigned long long)file.size, (unsigned long long)blob->size);

    struct meter meter = {.push = push, .id = id, .total = blob->size};
    const struct http_body body = {.fd = file.fd, .size = file.size};
    const struct upload_blob what = {
        .digest = &blob->digest,
        .body = &body,
        .sent = id ? meter_sent : NULL,
        .sent_arg = &meter,
    };
    if (upload_blob(client, upload, &what, err) != ERR_OK)
        return judge(push, &blob->digest, err);
    if (id)
        target_push_tell_bytes(push, id, blob->size, blob->size);
    target_push_learn(push, &blob->digest);
    return ERR_OK;
}
