#include "gateway/access/token_keys.h"

#include "base/base64.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/signing_keys.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define ID_BYTES 12

struct live_key {
    char id[SIGNING_KEY_ID_MAX];
    int64_t created_s;
    EVP_PKEY *key; /* owned */
};

struct token_keys {
    struct store *store;
    int64_t period_s;
    int64_t longest_s;
    pthread_rwlock_t lock;                  /* of all below */
    bool rotating;                          /* somebody makes a successor */
    struct live_key ring[SIGNING_KEYS_MAX]; /* the oldest first */
    size_t count;
    struct jwks public;
};

/* ---- the ring ---- */

/* Nothing that it signed can count any more: its successor signs for so long. */
static bool is_over(const struct token_keys *keys, size_t i, int64_t now_s)
{
    return i + 1 < keys->count && keys->ring[i + 1].created_s + keys->longest_s < now_s;
}

static bool is_due(const struct token_keys *keys, int64_t now_s)
{
    return keys->count == 0 || now_s - keys->ring[keys->count - 1].created_s >= keys->period_s;
}

static bool make_public(struct token_keys *keys)
{
    bool good = true;
    jwks_deinit(&keys->public);
    for (size_t i = 0; i < keys->count; i++) {
        unsigned char raw[32];
        size_t size = sizeof raw;
        good = EVP_PKEY_get_raw_public_key(keys->ring[i].key, raw, &size) == 1 &&
               jwks_add_ed25519(&keys->public, keys->ring[i].id, raw) && good;
    }
    return good;
}

static bool add(struct token_keys *keys, const struct signing_key *made)
{
    struct live_key *live = &keys->ring[keys->count];
    live->key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, made->secret, sizeof made->secret);
    if (live->key == NULL)
        return false;
    snprintf(live->id, sizeof live->id, "%s", made->id);
    live->created_s = (int64_t)made->created_s;
    keys->count++;
    return true;
}

/* The oldest go while they are over; also one that is not when there is no room for another. */
static size_t count_over(const struct token_keys *keys, int64_t now_s)
{
    size_t over = 0;
    while (is_over(keys, over, now_s))
        over++;
    return over == 0 && keys->count == SIGNING_KEYS_MAX ? 1 : over;
}

static void drop(struct token_keys *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        EVP_PKEY_free(keys->ring[i].key);
    keys->count -= count;
    memmove(keys->ring, keys->ring + count, keys->count * sizeof keys->ring[0]);
}

/* ---- rotation ---- */

static bool make_key(int64_t now_s, struct signing_key *out)
{
    unsigned char id[ID_BYTES];
    if (RAND_bytes(id, sizeof id) != 1 || RAND_priv_bytes(out->secret, sizeof out->secret) != 1)
        return false;
    autofree char *text = base64url_encode(id, sizeof id);
    snprintf(out->id, sizeof out->id, "%s", text);
    out->created_s = (uint64_t)now_s;
    return true;
}

static enum errc take_in(struct token_keys *keys, const struct signing_key *made, size_t over,
                         struct error *err)
{
    pthread_rwlock_wrlock(&keys->lock);
    drop(keys, over);
    bool good = add(keys, made) && make_public(keys);
    pthread_rwlock_unlock(&keys->lock);
    return good ? ERR_OK : fail(err, ERR_INTERNAL, 0, "OpenSSL does not take an Ed25519 key");
}

/* By one thread at a time, without the lock: nobody else changes the ring. */
static enum errc rotate(struct token_keys *keys, int64_t now_s, struct error *err)
{
    struct signing_key made = {.id = ""};
    const char *gone[SIGNING_KEYS_MAX];
    size_t over = count_over(keys, now_s);
    for (size_t i = 0; i < over; i++)
        gone[i] = keys->ring[i].id;
    if (!make_key(now_s, &made))
        return fail(err, ERR_INTERNAL, 0, "there are no random numbers for a key");
    if (signing_keys_change(keys->store, &made, gone, over, err) == ERR_OK)
        take_in(keys, &made, over, err);
    explicit_bzero(&made, sizeof made);
    return err->code;
}

static void rotate_if_due(struct token_keys *keys, int64_t now_s)
{
    struct error err = ERROR_INIT;
    pthread_rwlock_wrlock(&keys->lock);
    bool mine = !keys->rotating && is_due(keys, now_s);
    keys->rotating = keys->rotating || mine;
    pthread_rwlock_unlock(&keys->lock);
    if (!mine)
        return;
    if (rotate(keys, now_s, &err) != ERR_OK)
        log_error("the key that signs tokens is due for a successor, and goes on: %s", err.text);
    pthread_rwlock_wrlock(&keys->lock);
    keys->rotating = false;
    pthread_rwlock_unlock(&keys->lock);
}

/* ---- lifecycle ---- */

static enum errc load(struct token_keys *keys, int64_t now_s, struct error *err)
{
    struct signing_keys stored = {.count = 0};
    bool good = true;
    if (signing_keys_get(keys->store, &stored, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < stored.count; i++)
        good = add(keys, &stored.items[i]) && good;
    signing_keys_wipe(&stored);
    if (!good || !make_public(keys))
        return fail(err, ERR_INTERNAL, 0, "OpenSSL does not take an Ed25519 key");
    return keys->count == 0 ? rotate(keys, now_s, err) : ERR_OK;
}

enum errc token_keys_open(struct store *store, int64_t period_s, int64_t longest_s, int64_t now_s,
                          struct token_keys **out, struct error *err)
{
    struct token_keys *keys = xcalloc(1, sizeof *keys);
    keys->store = store;
    keys->period_s = period_s;
    keys->longest_s = longest_s;
    pthread_rwlock_init(&keys->lock, NULL);
    if (load(keys, now_s, err) != ERR_OK) {
        token_keys_close(keys);
        return error_wrap(err, "the keys that sign tokens");
    }
    *out = keys;
    return ERR_OK;
}

void token_keys_close(struct token_keys *keys)
{
    if (keys == NULL)
        return;
    drop(keys, keys->count);
    jwks_deinit(&keys->public);
    pthread_rwlock_destroy(&keys->lock);
    free(keys);
}

/* ---- tokens ---- */

enum errc token_keys_sign(struct token_keys *keys, int64_t now_s, const char *type,
                          const json_t *claims, char **token, struct error *err)
{
    rotate_if_due(keys, now_s);
    pthread_rwlock_rdlock(&keys->lock);
    const struct live_key *youngest = &keys->ring[keys->count - 1];
    char *signed_token = jwt_sign(type, youngest->id, youngest->key, claims);
    pthread_rwlock_unlock(&keys->lock);
    if (signed_token == NULL)
        return fail(err, ERR_INTERNAL, 0, "OpenSSL cannot sign a token");
    *token = signed_token;
    return ERR_OK;
}

enum errc token_keys_verify(struct token_keys *keys, const char *token,
                            const struct jwt_rules *rules, json_t **claims, enum jwt_check *failed,
                            struct error *err)
{
    struct jwt_rules ours = *rules;
    ours.keys = &keys->public;
    ours.algorithms = JWT_BIT(JWT_EDDSA);
    pthread_rwlock_rdlock(&keys->lock);
    enum errc code = jwt_verify(token, &ours, claims, failed, err);
    pthread_rwlock_unlock(&keys->lock);
    return code;
}
